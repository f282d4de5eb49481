#include "net/certificate.hpp"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>

namespace nets {
namespace {

template <class T>
T* made(T* object) {
  if (object == nullptr) throw std::runtime_error("OpenSSL cannot make a certificate");
  return object;
}

void add_extension(X509* certificate, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = made(X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

}  // namespace

Certificate::Certificate(const std::string& name) : maker(::getpid()) {
  std::string pattern = (std::filesystem::temp_directory_path() / "brood-certificate-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
  directory = pattern;
  file = directory + "/certificate.pem";
  key = directory + "/key.pem";

  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> pair(made(EVP_EC_gen("P-256")), &EVP_PKEY_free);
  const std::unique_ptr<X509, void (*)(X509*)> certificate(made(X509_new()), &X509_free);
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 24 * 3600);
  X509_set_pubkey(certificate.get(), pair.get());
  X509_NAME* const subject = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                             0);
  X509_set_issuer_name(certificate.get(), subject);
  add_extension(certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
  add_extension(certificate.get(), NID_subject_alt_name, ("DNS:" + name + ",IP:127.0.0.1").c_str());
  if (X509_sign(certificate.get(), pair.get(), EVP_sha256()) == 0) throw std::runtime_error("X509_sign");

  const std::unique_ptr<FILE, int (*)(FILE*)> certificate_file(made(std::fopen(file.c_str(), "w")), &std::fclose);
  PEM_write_X509(certificate_file.get(), certificate.get());
  const std::unique_ptr<FILE, int (*)(FILE*)> key_file(made(std::fopen(key.c_str(), "w")), &std::fclose);
  PEM_write_PrivateKey(key_file.get(), pair.get(), nullptr, nullptr, 0, nullptr, nullptr);
  encrypted_key = directory + "/encrypted.pem";
  const std::unique_ptr<FILE, int (*)(FILE*)> encrypted_file(made(std::fopen(encrypted_key.c_str(), "w")),
                                                             &std::fclose);
  const std::string phrase = "open sesame";
  PEM_write_PrivateKey(encrypted_file.get(), pair.get(), EVP_aes_128_cbc(),
                       reinterpret_cast<const unsigned char*>(phrase.data()), static_cast<int>(phrase.size()), nullptr,
                       nullptr);
}

Certificate::~Certificate() {
  if (maker == ::getpid()) std::filesystem::remove_all(directory);  // not in a forked child
}

const Certificate& own_certificate() {
  static const Certificate it("localhost");
  return it;
}

}  // namespace nets
