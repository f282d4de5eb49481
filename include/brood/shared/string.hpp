// String: text of any length in shared memory, changed by transactions.                            (room: shared)
#pragma once

#include <string>
#include <string_view>

#include "brood/shared/wrapper.hpp"

namespace brood::inline v1::shared {

class String : public Wrapper<String, string> {
 public:
  using Wrapper<String, string>::Wrapper;

  [[nodiscard]] std::string get() const { return read()->str(); }
  void set(std::string_view text) { *write() = text; }
  void append(std::string_view text) { write()->append(text.data(), text.size()); }
};

}  // namespace brood::inline v1::shared
