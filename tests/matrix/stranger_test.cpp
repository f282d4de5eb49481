// A program that is no relative: other main, other build (shared library, no optimisation), no environment but the
// domain.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include "base/unique_fd.hpp"
#include "matrix/objects.hpp"
#include "support/leak_check.hpp"

namespace {

using namespace matrix;
using brood::base::UniqueFd;

struct Ran {
  int code = -1;
  std::string out;
};

/// Runs matrix_stranger with nothing in its environment but $BROOD_DOMAIN.
Ran run_stranger(const std::vector<std::string>& handles) {
  std::string program = std::string(std::getenv("BROOD_TEST_PROGRAMS")) + "/matrix/matrix_stranger";
  std::string domain = std::string("BROOD_DOMAIN=") + std::getenv("BROOD_DOMAIN");
  std::vector<std::string> words = handles;
  std::vector<char*> argv = {program.data()};
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  char* environment[] = {domain.data(), nullptr};

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, writer.get(), STDOUT_FILENO);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, nullptr, argv.data(), environment);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), "posix_spawn " + program);
  writer.reset();

  Ran ran;
  char bytes[4096];
  ssize_t got = 0;
  while ((got = ::read(reader.get(), bytes, sizeof bytes)) > 0) ran.out.append(bytes, static_cast<std::size_t>(got));
  int status = 0;
  if (got < 0 || ::waitpid(pid, &status, 0) != pid)
    throw std::system_error(errno, std::generic_category(), "matrix_stranger");
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return ran;
}

/// First word of each line and the rest.
std::map<std::string, std::string> lines_of(const std::string& text) {
  std::map<std::string, std::string> found;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const std::size_t space = line.find(' ');
    found[line.substr(0, space)] = space == std::string::npos ? "" : line.substr(space + 1);
  }
  return found;
}

class Stranger : public support::NoLeaks {
 protected:
  Ran visit() {
    return run_stranger({lock_.handle().str(), semaphore_.handle().str(), event_.handle().str(),
                         letters_.handle().str(), account_.handle().str()});
  }
  brood::Lock lock_;
  brood::Semaphore semaphore_{2};
  brood::Event event_;
  Letters letters_;
  Account account_{Balance{.sum = 2, .same_sum = 2.25, .changes = 7}};
};

TEST_F(Stranger, OpensTheObjectsOfAnotherBuildByHandleAlone) {
  lock_.lock();
  letters_.put({.text = "hello", .number = 41});
  const Ran ran = visit();
  ASSERT_EQ(ran.code, 0) << ran.out;
  auto said = lines_of(ran.out);
  EXPECT_EQ(said["lock"], "refused");
  EXPECT_EQ(said["semaphore"], "1");
  EXPECT_EQ(said["parcel"], "41 hello");
  lock_.unlock();
  EXPECT_EQ(semaphore_.get_value(), 1);
  EXPECT_TRUE(event_.is_set());
  EXPECT_EQ(letters_.get(), (Letter{.text = "back to sender", .number = 42}));
  const Balance end = account_.get();
  EXPECT_EQ(end.sum, 42);
  EXPECT_EQ(end.same_sum, 2.75);
  EXPECT_EQ(end.changes, 8);
}

TEST_F(Stranger, IsToldOfAnotherKindOrPayloadType) {
  letters_.put({.text = "", .number = 0});
  const Ran ran = visit();
  ASSERT_EQ(ran.code, 0) << ran.out;
  auto said = lines_of(ran.out);
  // Each message names the object, what was expected and what is there.
  const auto expect_mismatch = [&](const std::string& attempt, const std::string& handle,
                                   const std::vector<std::string>& names) {
    const std::string& message = said[attempt];
    EXPECT_EQ(message.rfind("TypeMismatch ", 0), 0U) << attempt << ": " << message;
    EXPECT_NE(message.find(handle), std::string::npos) << attempt << ": " << message;
    for (const std::string& name : names)
      EXPECT_NE(message.find(name), std::string::npos) << attempt << ": " << message;
  };
  expect_mismatch("other-items", letters_.handle().str(), {"OtherParcel", "Letter"});
  expect_mismatch("queue-of-int", letters_.handle().str(), {"int", "Letter"});
  expect_mismatch("other-books", account_.handle().str(), {"OtherBooks", "Balance"});
  expect_mismatch("value-of-double", account_.handle().str(), {"double", "Balance"});
  expect_mismatch("queue-as-lock", letters_.handle().str(), {"queue", "lock"});
  expect_mismatch("lock-as-semaphore", lock_.handle().str(), {"lock", "semaphore"});
}

TEST_F(Stranger, WhoDiesHoldingALockIsReported) {
  letters_.put({.text = "", .number = 0});
  const Ran ran = visit();  // takes the lock, which is free, and ends without giving it back
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_EQ(lines_of(ran.out)["lock"], "taken");
  EXPECT_THROW(lock_.lock(), brood::OwnerDied);
  EXPECT_TRUE(lock_.recover([] {}));
  EXPECT_TRUE(lock_.try_lock());
  lock_.unlock();
}

}  // namespace
