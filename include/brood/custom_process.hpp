// CustomProcess: a process as a class of your own, with run() and data that travels.             (room: process)
//
//   class Indexer : public brood::CustomProcess<Indexer> {
//    public:
//     Indexer() = default;                                          // made in the child, before its data arrives
//     Indexer(std::string directory, int depth) : directory_(std::move(directory)), depth_(depth) {}
//     void run() { … }                                              // in the child
//     template <class Archive> void serialize(Archive& ar) { ar(directory_, depth_); }
//    private:
//     std::string directory_;
//     int depth_ = 0;
//   };
//   Indexer indexer("/srv", 3);
//   indexer.start();
//   indexer.join();
//
// Complete example: examples/18_custom_process.cpp
#pragma once

#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "brood/detail/type_id.hpp"
#include "brood/process.hpp"

namespace brood::inline v1 {

namespace detail {

/// The data of a custom process on its way: a pointer here, a new object there.
template <class Derived>
struct CustomBody {
  const Derived* source = nullptr;
  std::unique_ptr<Derived> object = {};
};

/// Throws the UsageError of a process whose class is not the one that its CustomProcess was told.
[[noreturn]] void refuse_derived(const std::string& name, const std::type_info& found, std::string_view custom);

template <class Derived>
void run_custom(CustomBody<Derived> body) {
  body.object->run();
}

}  // namespace detail

template <class Derived>
struct Codec<detail::CustomBody<Derived>> {
  static void encode(Encoder& out, const detail::CustomBody<Derived>& body) {
    detail::SaveArchive archive(out);
    // serialize serves both directions; saving only reads.
    if constexpr (detail::HasSerialize<Derived>) detail::call_serialize(archive, const_cast<Derived&>(*body.source));
    archive.finish();
  }
  static detail::CustomBody<Derived> decode(Decoder& in) {
    detail::CustomBody<Derived> body;
    {
      const detail::MakesCurrentProcess here;
      body.object = std::make_unique<Derived>();
    }
    detail::LoadArchive archive(in);
    if constexpr (detail::HasSerialize<Derived>) detail::call_serialize(archive, *body.object);
    archive.finish();
    return body;
  }
};

/// Base of a class whose objects are processes: derive from CustomProcess<YourClass> and write `void run()`.
///
/// start() sends what YourClass::serialize names, as it is at that moment; in the child an object is made by the default
/// constructor, gets that data, and its run() is the target. There the object stands for the child itself: name(), set_name(), pid()
/// and daemon() answer, everything else that a parent may do is a UsageError. Everything that holds of Process holds here:
/// names ("Indexer-1"; the numbers are shared with all processes made here), states, exit codes, start methods.
/// Derive from CustomProcess of the very class whose objects are made: start() of a class that is derived from a custom process,
/// or names another one, is a UsageError.
/// Another printed form: write operator<< for your class.
template <class Derived>
class CustomProcess : public Process {
 public:
  explicit CustomProcess(ProcessOptions options = {})
      : Process(std::move(options), detail::plain_type_name<Derived>()) {}

 private:
  std::optional<detail::PackedCall> pack_run() const final {
    static_assert(
        std::default_initializable<Derived>,
        "brood: a custom process needs a default constructor: the child makes the object before its data arrives");
    static_assert(
        requires(Derived & object) { object.run(); }, "brood: a custom process needs a member `void run()`");
    static_assert(
        detail::HasSerialize<Derived> || sizeof(Derived) == sizeof(Process),
        "brood: a custom process with data needs a member `template <class Archive> void serialize(Archive& ar) { "
        "ar(first_, second_); }`, or the child would not get the data");
#ifdef __cpp_rtti
    // Another one's data would stay here, and its run() would not run; if it is not even derived from Derived, there is no
    // Derived that the cast below could find. (Not a constructor that only Derived can call: classes between the two, and
    // inherited constructors, are all right.)
    if (typeid(*this) != typeid(Derived))
      detail::refuse_derived(name(), typeid(*this), detail::plain_type_name<Derived>());
#endif
    return detail::pack_call(&detail::run_custom<Derived>,
                             detail::CustomBody<Derived>{static_cast<const Derived*>(this)});
  }
};

}  // namespace brood::inline v1
