// ServeClass: a class of yours that other programs can make in a Manager, by name.                (room: manager)
//
//   class Counter { public: explicit Counter(long begin); long add(long n); long value() const; };
//   const auto kCounter = brood::ServeClass<Counter>("Counter")        // a static object of the server's program
//                             .constructor<long>()
//                             .method<&Counter::add>("add")
//                             .method<&Counter::value>("value");
//
//   auto counter = manager.make_named("Counter", 5L);                    // in any program that has the address and the key
//   long now = counter.call<long>("add", 2L);
//
// Within one program nothing is registered: manager.make<Counter>(5) and counter.call<&Counter::add>(2).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>

#include "brood/detail/method.hpp"

namespace brood::inline v1 {
namespace detail {

struct ServedClassBase {
  std::string name;
  const std::type_info* type = nullptr;
  MakeHosted make_hosted = nullptr;
  std::map<std::string, Invoke, std::less<>> methods;
  bool is_concurrent = false;
  /// For the journal: [state].
  void (*save)(const void* object, Encoder& out) = nullptr;
  std::unique_ptr<Hosted> (*load)(Decoder& in) = nullptr;

  [[nodiscard]] std::unique_ptr<Hosted> make(Decoder& in) const;
};
/// Errors: UsageError if the name is taken.
void register_served_class(std::shared_ptr<const ServedClassBase> served);

/// An object as a journal has kept it.
template <class A>
class KeptHosted final : public Hosted {
 public:
  explicit KeptHosted(Decoder& in) : object_(begin(in)) {}
  [[nodiscard]] void* object() noexcept override { return &object_; }
  static void save(const void* object, Encoder& out) { detail::encode(out, *static_cast<const A*>(object)); }
  static std::unique_ptr<Hosted> load(Decoder& in) { return std::make_unique<KeptHosted>(in); }

 private:
  static A begin(Decoder& in) {
    in.expect_array(1, "the state of an object");
    return detail::decode<A>(in);
  }
  A object_;
};

}  // namespace detail

/// Describes a class for clients of other programs. The description is complete when its last call returns; every call
/// gives a description that is registered in place of the one before.
/// Errors: UsageError if another class has the name.
template <class A>
class ServeClass {
 public:
  explicit ServeClass(std::string_view name) {
    description_.name = name;
    description_.type = &typeid(A);
    if constexpr (std::is_default_constructible_v<A>) description_.make_hosted = &detail::make_hosted<A>;
    publish();
  }
  /// The types of the constructor's parameters: by value, or shared objects.
  template <class... P>
  ServeClass constructor() && {
    if constexpr (detail::require_constructible<A, std::remove_cvref_t<P>...>())
      description_.make_hosted = &detail::make_hosted<A, std::remove_cvref_t<P>...>;
    publish();
    return std::move(*this);
  }
  /// A method that clients may call. Others are refused, with the names of those that there are.
  template <auto M>
  ServeClass method(std::string_view name) && {
    if constexpr (detail::require_result<typename detail::MethodOf<M, A>::Result>())
      description_.methods.insert_or_assign(std::string(name), &detail::invoke_method<M, A>);
    publish();
    return std::move(*this);
  }
  /// Several clients may be in methods of one object at the same time; it locks for itself.
  ServeClass concurrent() && {
    description_.is_concurrent = true;
    publish();
    return std::move(*this);
  }
  /// A server with a journal keeps objects of this class: A must be something that travels (brood/serialize.hpp), and all of its
  /// state is written after each call by name that has changed it, so better little.
  ServeClass kept() && {
    static_assert(Serializable<A>, "brood: ServeClass::kept(): the class must be serializable");
    description_.save = &detail::KeptHosted<A>::save;
    description_.load = &detail::KeptHosted<A>::load;
    publish();
    return std::move(*this);
  }

 private:
  void publish() { detail::register_served_class(std::make_shared<detail::ServedClassBase>(description_)); }
  detail::ServedClassBase description_;
};

}  // namespace brood::inline v1
