// Certificates for the tests, made when they are needed.
#pragma once

#include <sys/types.h>

#include <string>

namespace nets {

/// A key, and a certificate for "localhost" and 127.0.0.1 that it signed itself, so that it also vouches for itself.
struct Certificate {
  explicit Certificate(const std::string& name);
  ~Certificate();
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;

  pid_t maker;
  std::string directory;
  std::string file;
  std::string key;
  std::string encrypted_key;  ///< the same one
};

/// One for the whole program; nothing of it is left afterwards.
const Certificate& own_certificate();

}  // namespace nets
