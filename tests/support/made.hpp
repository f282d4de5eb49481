// made(f, first, last): the range f(first), f(first + 1) …, each made when it is asked for; without `last` it has no end. In place
// of the views of libstdc++ 12, which clang 14 cannot read.
#pragma once

#include <climits>
#include <cstddef>
#include <functional>
#include <iterator>
#include <utility>

namespace support {

template <class F>
class Made {
 public:
  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = std::invoke_result_t<const F&, int>;
    using difference_type = std::ptrdiff_t;
    Iterator() = default;
    Iterator(const F* make, int at) : make_(make), at_(at) {}
    value_type operator*() const { return (*make_)(at_); }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    void operator++(int) { ++at_; }
    friend bool operator==(const Iterator& one, const Iterator& other) { return one.at_ == other.at_; }

   private:
    const F* make_ = nullptr;
    int at_ = 0;
  };

  Made(F make, int first, int last) : make_(std::move(make)), first_(first), last_(last) {}
  [[nodiscard]] Iterator begin() const { return {&make_, first_}; }
  [[nodiscard]] Iterator end() const { return {&make_, last_}; }

 private:
  F make_;
  int first_;
  int last_;
};

template <class F>
[[nodiscard]] Made<F> made(F make, int first, int last = INT_MAX) {
  return Made<F>(std::move(make), first, last);
}
[[nodiscard]] inline auto numbers_from(int first, int last = INT_MAX) {
  return made([](int i) { return i; }, first, last);
}

}  // namespace support
