// compiles
#include "brood/detail/callable.hpp"
struct Lock {  // stands for any shared object
  Lock() = default;
  Lock(Lock&&) = default;
  brood::Handle handle() const { return {}; }
  static Lock open(const brood::Handle&) { return {}; }
};

struct Job {
  int id;
  Lock lock;
};
void plain(int, const std::string&, Lock&, Lock) {}
void takes_job(const Job&) {}
void quiet(int) noexcept {}
template <class T>
void instance(T) {}
struct Type {
  static void member(int) {}
};
void test() {
  Lock lock;
  const char* text = "text";
  brood::detail::pack_call(plain, short{1}, "literal", lock, lock);
  brood::detail::pack_call(&plain, 1, text, lock, lock);
  brood::detail::pack_call(takes_job, Job{1, {}});
  brood::detail::pack_call(quiet, 1);
  brood::detail::pack_call(instance<std::string>, "text");
  brood::detail::pack_call(&Type::member, 1);
  brood::detail::pack_call([](Lock&, std::string s) { return s; }, lock, "text");
  brood::detail::pack_call([](auto& l, auto s, const auto& n) { return s.size() + sizeof(l) + sizeof(n); }, lock,
                           "text", 1);
  brood::detail::pack_call([](auto... all) { return sizeof...(all); }, lock, "text", 1);
}
