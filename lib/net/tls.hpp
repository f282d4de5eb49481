// TLS around a socket, by OpenSSL.
#pragma once

#include <memory>
#include <string>

#include "brood/listener.hpp"
#include "net/greeting.hpp"
#include "net/stream.hpp"

typedef struct ssl_ctx_st SSL_CTX;

namespace brood::inline v1::net {

/// What all connections of one listener, or one connect(), share.
class TlsContext {
 public:
  /// Errors: UsageError if a file is missing or cannot be used.
  TlsContext(const TlsOptions& options, Role role);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  /// `name`: what must be in the other end's certificate, for a client; empty: anything.
  [[nodiscard]] std::unique_ptr<Stream> wrap(base::UniqueFd socket, const std::string& name) const;

 private:
  SSL_CTX* context_;
  Role role_;
};

}  // namespace brood::inline v1::net
