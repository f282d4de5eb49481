// Descriptor: an open file, socket or pipe of the kernel, which can be sent to another process.     (room: wire)
//
// Complete example: examples/10_listener_client.cpp
#pragma once

#include <cstdint>
#include <utility>

#include "brood/serialize.hpp"

namespace brood::inline v1 {

/// Owns one file descriptor. As a value in a message over a Unix-socket connection (brood/listener.hpp) the receiver gets
/// a descriptor of its own for the same open file, close-on-exec; the sender keeps his. Anywhere else (queues, pipes,
/// arguments of a Process, TCP, TLS) sending it is a UsageError: only a Unix socket can carry one.
///
/// Shape:    one descriptor of this process. Move-only; copy() makes a second one.
/// Threads:  as an int.
/// Crash:    the kernel closes what a message carries that is never received.
/// Source:   Python multiprocessing.reduction.send_handle; SCM_RIGHTS of unix(7).
class Descriptor {
 public:
  Descriptor() = default;
  /// Takes over a descriptor of this process; a negative number is none.
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) close();
    fd_ = std::exchange(other.fd_, fd_);
    return *this;
  }
  ~Descriptor() { close(); }

  /// A second descriptor, close-on-exec, of the file behind somebody else's. Errors: OsError.
  [[nodiscard]] static Descriptor copy_of(int fd);
  [[nodiscard]] Descriptor copy() const { return copy_of(fd_); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  /// The caller owns it now.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
  void close() noexcept;

 private:
  int fd_ = -1;
};

template <>
struct Codec<Descriptor> {
  static constexpr std::uint64_t fingerprint = 1;
  static void encode(Encoder& out, const Descriptor& descriptor) { out.descriptor(descriptor.get()); }
  static Descriptor decode(Decoder& in) { return Descriptor(in.descriptor()); }
};

}  // namespace brood::inline v1
