// A client of a manager in another domain: as if it were on another machine. Its key is "secret".
//
//   elsewhere ADDRESS [CERTIFICATE]
#include <cstdio>
#include <filesystem>

#include "brood/brood.hpp"
#include "brood/manager.hpp"
#include "brood/shared_proxies.hpp"

namespace {

#define CHECK(condition)                                                             \
  do {                                                                               \
    if (!(condition)) {                                                              \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      return 1;                                                                      \
    }                                                                                \
  } while (false)

/// Functions of this program are nowhere in the server's.
int use_pool(const brood::PoolProxy& pool) {
  for (const bool maps : {false, true}) {
    try {
      if (maps) (void)pool.map([](int x) { return x; }, {1, 2});
      else (void)pool.submit([](int x) { return x; }, 1);
      CHECK(false && "it was done");
    } catch (const brood::StartError& error) {
      CHECK(std::string(error.what()).find("another program") != std::string::npos);
    }
  }
  CHECK(pool.size() == 2);
  CHECK(pool.insight().finished == 0);
  return 0;
}

int use(const char* address, const char* certificate) {
  brood::ConnectOptions options{.authkey = "secret"};
  if (certificate != nullptr) options.tls = brood::TlsOptions{.ca_file = certificate};
  brood::ManagerClient manager(brood::Address(address), options);
  if (const auto pool = manager.find<brood::PoolProxy>("pool")) return use_pool(*pool);
  auto found = manager.find<brood::DictProxy<std::string, brood::ListProxy<int>>>("dict");
  CHECK(found);
  // A proxy that somebody of the server's domain has put there.
  auto list = found->at("list");
  CHECK(list.size() == 2);
  list.append(3);
  found->erase("list");
  CHECK(list.size() == 3);  // kept by us alone
  found->set("list", list);
  found->set("another", manager.list<int>({4}));
  // Shared memory of another machine: that cannot be, and is said so.
  for (const bool makes : {false, true}) {
    try {
      if (makes) (void)manager.shared_dict<int, int>();
      else (void)manager.find<brood::SharedDictProxy<int, int>>("memory");
      CHECK(false && "it came");
    } catch (const brood::HandleError& error) {
      CHECK(makes || std::string(error.what()).find("shared memory") != std::string::npos);
    }
  }
  CHECK(found->at("another").at(0) == 4);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  brood::init(argc, argv);
  const int code = use(argv[1], argc > 2 ? argv[2] : nullptr);
  std::filesystem::remove_all(std::getenv("BROOD_DOMAIN"));
  return code;
}
