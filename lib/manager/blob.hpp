// A value as the server keeps it: its bytes, and what keeps alive the objects that are named in them.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "brood/handle.hpp"
#include "brood/serialize.hpp"

namespace brood::inline v1::manager {

class Objects;
struct Entry;

/// Keeps shared objects of the domain alive as long as their handles lie in a value: by a pin, as if the server were a queue.
class Pins {
 public:
  /// Errors: HandleError if one does not exist any more, and not `if_there`: then it is left out.
  Pins(std::uint64_t container, std::vector<Handle> handles, bool if_there = false);
  ~Pins();
  Pins(const Pins&) = delete;
  Pins& operator=(const Pins&) = delete;
  [[nodiscard]] std::span<const Handle> handles() const noexcept { return handles_; }

 private:
  void unpin() noexcept;
  std::uint64_t container_;
  std::uint64_t message_;
  std::vector<Handle> handles_;
};

/// What few values have.
struct Luggage {
  std::unique_ptr<Pins> pins;                   ///< shared objects, references to managed ones among them
  std::vector<std::shared_ptr<Entry>> entries;  ///< managed objects of this very server
};

/// One value. Copies share what it keeps alive. Two are equal if their bytes are.
struct Blob {
  std::string bytes;
  std::shared_ptr<const Luggage> luggage;

  void encode(Encoder& out) const;
  friend bool operator==(const Blob& a, const Blob& b) noexcept { return a.bytes == b.bytes; }
};

/// The next value of a message. Errors: DecodeError; HandleError.
[[nodiscard]] Blob take_blob(Objects& objects, Decoder& in);
/// A value that this process encoded.
[[nodiscard]] Blob take_blob(Objects& objects, const Encoder& value);

}  // namespace brood::inline v1::manager
