#include "net/tls.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <system_error>
#include <vector>

#include "base/made_once.hpp"
#include "brood/error.hpp"

namespace brood::inline v1::net {
namespace {

/// What one TLS record holds.
constexpr std::size_t kRecordBytes = 16384;
constexpr std::size_t kBindingBytes = 32;
constexpr char kBindingLabel[] = "EXPORTER-Channel-Binding";  // RFC 9266

/// What went wrong first; what follows it in the list only says where it was noticed.
std::string reason_of_failure() {
  const unsigned long code = ERR_peek_error();
  ERR_clear_error();
  if (code == 0) return "no reason given";
  if (ERR_SYSTEM_ERROR(code)) return std::generic_category().message(ERR_GET_REASON(code));
  const char* const reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "no reason given";
}

// --- OpenSSL's own socket BIO would let a write raise SIGPIPE. ---------------------------------------------------------

int bio_write(BIO* bio, const char* data, int size) {
  const int fd = static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
  BIO_clear_retry_flags(bio);
  for (;;) {
    const ssize_t sent = ::send(fd, data, static_cast<std::size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return static_cast<int>(sent);
    if (errno == EINTR) continue;
    if (errno == EAGAIN) BIO_set_retry_write(bio);
    return -1;
  }
}
int bio_read(BIO* bio, char* into, int size) {
  const int fd = static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
  BIO_clear_retry_flags(bio);
  for (;;) {
    const ssize_t got = ::recv(fd, into, static_cast<std::size_t>(size), MSG_DONTWAIT);
    if (got > 0) return static_cast<int>(got);
    if (got == 0) {
      BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
      return 0;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) BIO_set_retry_read(bio);
    return -1;
  }
}
long bio_control(BIO* bio, int command, long, void*) {
  switch (command) {
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP: return 1;
    case BIO_CTRL_EOF: return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
    default: return 0;
  }
}
int bio_create(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

struct SocketMethod {
  BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket without signals");
  SocketMethod() {
    if (method == nullptr) throw std::bad_alloc();
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_ctrl(method, bio_control);
    BIO_meth_set_create(method, bio_create);
  }
  SocketMethod(const SocketMethod&) = delete;
  SocketMethod& operator=(const SocketMethod&) = delete;
  ~SocketMethod() { BIO_meth_free(method); }
};
constinit base::MadeOnce<SocketMethod> g_socket_method;

BIO_METHOD* socket_method() {
  return g_socket_method.get([] { return std::make_unique<SocketMethod>(); }).method;
}

/// OpenSSL's objects are not for two threads at once, and sending and receiving share one: each call is short, since none
/// sleeps.
class TlsStream final : public Stream {
 public:
  TlsStream(base::UniqueFd socket, SSL_CTX* context, Role role, const std::string& name)
      : Stream(std::move(socket)), ssl_(SSL_new(context)) {
    BIO* const bio = ssl_ != nullptr ? BIO_new(socket_method()) : nullptr;
    if (bio == nullptr) {
      SSL_free(ssl_);
      throw std::bad_alloc();
    }
    BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(this->socket())));
    SSL_set_bio(ssl_, bio, bio);
    if (role == Role::listener) {
      SSL_set_accept_state(ssl_);
      return;
    }
    SSL_set_connect_state(ssl_);
    if (name.empty()) return;
    in6_addr number{};
    if (::inet_pton(AF_INET, name.c_str(), &number) == 1 || ::inet_pton(AF_INET6, name.c_str(), &number) == 1) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), name.c_str());
    } else {
      SSL_set_tlsext_host_name(ssl_, name.c_str());
      SSL_set1_host(ssl_, name.c_str());
    }
  }
  ~TlsStream() override { SSL_free(ssl_); }

  Io prepare() override {
    const std::scoped_lock guard(mutex_);
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_);
    if (result == 1) return {};
    Io io = outcome(result);
    if (io.is == Io::Is::wait) return io;
    const long verdict = SSL_get_verify_result(ssl_);
    std::string why = io.why;
    if (verdict != X509_V_OK) why = X509_verify_cert_error_string(verdict);
    else if (io.is != Io::Is::failed) why = "the other end closed the connection; it may not speak TLS";
    throw AuthenticationError("TLS handshake failed: " + why);
  }

  Io write(std::span<const iovec> pieces, std::span<const int>) override {
    const std::scoped_lock guard(mutex_);
    if (Io io = flush_staged(); io.is != Io::Is::done) return io;
    // A record that was begun has to be finished. So the last piece, which is the end of a message, is never in one record
    // with what is before it: until its turn has come the message can be taken back.
    const std::size_t count = std::max<std::size_t>(1, pieces.size() - 1);
    for (std::size_t i = 0; i < count && staged_.size() < kRecordBytes; ++i) {
      const auto* const bytes = static_cast<const std::byte*>(pieces[i].iov_base);
      const std::size_t size = std::min(pieces[i].iov_len, kRecordBytes - staged_.size());
      staged_.insert(staged_.end(), bytes, bytes + size);
    }
    const std::size_t taken = staged_.size();
    Io io = flush_staged();
    if (io.is == Io::Is::wait) io = {};
    io.bytes = taken;
    return io;
  }
  Io flush() override {
    const std::scoped_lock guard(mutex_);
    return flush_staged();
  }

  Io read(std::span<const iovec> places, Luggage&) override {
    const std::scoped_lock guard(mutex_);
    Io io;
    for (const iovec& place : places) {
      std::size_t got = 0;
      ERR_clear_error();
      const int result = SSL_read_ex(ssl_, place.iov_base, place.iov_len, &got);
      if (result != 1) {
        if (io.bytes == 0) io = outcome(result);
        return io;
      }
      io.bytes += got;
      if (got < place.iov_len) return io;
    }
    return io;
  }
  Io look() override {
    const std::scoped_lock guard(mutex_);
    char one = 0;
    std::size_t got = 0;
    ERR_clear_error();
    const int result = SSL_peek_ex(ssl_, &one, 1, &got);
    return result == 1 ? Io{} : outcome(result);
  }

  bool carries_descriptors() const noexcept override { return false; }
  bool is_tls() const noexcept override { return true; }

  std::string binding() override {
    std::string out(kBindingBytes, '\0');
    if (SSL_export_keying_material(ssl_, reinterpret_cast<unsigned char*>(out.data()), out.size(), kBindingLabel,
                                   sizeof kBindingLabel - 1, nullptr, 0, 0) != 1) {
      throw AuthenticationError("TLS has no secret to bind the handshake to: " + reason_of_failure());
    }
    return out;
  }

  void say_goodbye() noexcept override {
    const std::scoped_lock guard(mutex_);
    if (SSL_is_init_finished(ssl_) == 0) return;
    (void)flush_staged();
    ERR_clear_error();
    if (staged_.empty()) (void)SSL_shutdown(ssl_);
    ERR_clear_error();
  }

 private:
  Io flush_staged() {
    if (staged_.empty()) return {};
    std::size_t sent = 0;
    ERR_clear_error();
    const int result = SSL_write_ex(ssl_, staged_.data(), staged_.size(), &sent);
    if (result != 1) return outcome(result);
    staged_.clear();  // without SSL_MODE_ENABLE_PARTIAL_WRITE it is all or nothing
    return {};
  }

  /// Of an attempt that did not work.
  Io outcome(int result) {
    const int error = errno;
    switch (SSL_get_error(ssl_, result)) {
      case SSL_ERROR_WANT_READ: return {.is = Io::Is::wait, .events = POLLIN};
      case SSL_ERROR_WANT_WRITE: return {.is = Io::Is::wait, .events = POLLOUT};
      case SSL_ERROR_ZERO_RETURN: return {.is = Io::Is::end};
      case SSL_ERROR_SYSCALL:
        ERR_clear_error();
        return {.is = error == EPIPE || error == 0 ? Io::Is::end : Io::Is::reset, .error = error};
      default: return {.is = Io::Is::failed, .why = reason_of_failure()};
    }
  }

  SSL* ssl_;
  std::mutex mutex_;
  std::vector<std::byte> staged_;  ///< OpenSSL has begun to write this
};

}  // namespace

TlsContext::TlsContext(const TlsOptions& options, Role role)
    : context_(SSL_CTX_new(role == Role::listener ? TLS_server_method() : TLS_client_method())), role_(role) {
  if (context_ == nullptr) throw OsError(ENOMEM, "OpenSSL has no memory for a TLS context");
  const auto refuse = [&](const std::string& what) {
    const std::string reason = ERR_peek_error() != 0 ? " (" + reason_of_failure() + ")" : "";
    SSL_CTX_free(context_);
    throw UsageError("TlsOptions: " + what + reason);
  };
  // Else OpenSSL would ask on the terminal, and a server wait there.
  bool is_encrypted = false;
  SSL_CTX_set_default_passwd_cb_userdata(context_, &is_encrypted);
  SSL_CTX_set_default_passwd_cb(context_, [](char*, int, int, void* asked) {
    *static_cast<bool*>(asked) = true;
    return -1;
  });
  ERR_clear_error();
  SSL_CTX_set_min_proto_version(context_, TLS1_2_VERSION);
  // A killed peer says no goodbye, and every message says how long it is: an end without words is an end of file.
  SSL_CTX_set_options(
      context_, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
  SSL_CTX_set_mode(context_, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // No resumption: it would be answered by a client that has long gone, and needs a session id context.
  SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context_, 0);
  if (options.certificate_file.empty() != options.key_file.empty())
    refuse("certificate_file and key_file belong together");
  if (role == Role::listener && options.certificate_file.empty())
    refuse("a listener needs a certificate_file and a key_file");
  if (!options.certificate_file.empty()) {
    if (SSL_CTX_use_certificate_chain_file(context_, options.certificate_file.c_str()) != 1)
      refuse("cannot use the certificate in " + options.certificate_file);
    if (SSL_CTX_use_PrivateKey_file(context_, options.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
      refuse("cannot use the key in " + options.key_file +
             (is_encrypted
                  ? ": it is encrypted, and nobody is asked for its pass phrase; decrypt it (openssl pkey -in " +
                        options.key_file + " -out …)"
                  : ""));
    }
    if (SSL_CTX_check_private_key(context_) != 1)
      refuse("the key in " + options.key_file + " is not that of the certificate in " + options.certificate_file);
  }
  const bool verify = options.verify_peer.value_or(role == Role::client || !options.ca_file.empty());
  if (!options.ca_file.empty()) {
    if (SSL_CTX_load_verify_locations(context_, options.ca_file.c_str(), nullptr) != 1)
      refuse("cannot use the certificates in " + options.ca_file);
  } else if (verify && SSL_CTX_set_default_verify_paths(context_) != 1) {
    refuse("cannot use the certificates that this machine trusts");
  }
  SSL_CTX_set_default_passwd_cb(context_, nullptr);  // `is_encrypted` goes
  SSL_CTX_set_default_passwd_cb_userdata(context_, nullptr);
  SSL_CTX_set_verify(context_, verify ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE, nullptr);
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

std::unique_ptr<Stream> TlsContext::wrap(base::UniqueFd socket, const std::string& name) const {
  return std::make_unique<TlsStream>(std::move(socket), context_, role_, name);
}

}  // namespace brood::inline v1::net
