#include "brood/handle.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "brood/error.hpp"

using brood::Handle;
using brood::HandleError;
using brood::Kind;

namespace {

const std::vector<Kind> kAllKinds = {
    Kind::lock,      Kind::rlock,          Kind::semaphore,      Kind::bounded_semaphore,
    Kind::event,     Kind::condition,      Kind::barrier,        Kind::queue,
    Kind::value,     Kind::work_queue,     Kind::priority_queue, Kind::connection,
    Kind::broadcast, Kind::chunks,         Kind::memory,         Kind::array,
    Kind::atomic,    Kind::shareable_list, Kind::container,      Kind::managed};

std::string refusal(const std::string& text) {
  try {
    const Handle handle(text);
    return "accepted as " + handle.str();
  } catch (const HandleError& error) {
    return error.what();
  }
}

}  // namespace

TEST(Handle, PrintsKindIdentityAndName) {
  EXPECT_EQ(Handle(Kind::lock, 0x9f3c2a7b11d00e42).str(), "brood:lock:9f3c2a7b11d00e42");
  EXPECT_EQ(Handle(Kind::queue, 0x42, "jobs").str(), "brood:queue:0000000000000042:jobs");
}

TEST(Handle, ParseUndoesPrintForEveryKind) {
  for (const Kind kind : kAllKinds) {
    for (const auto& name : {std::string(), std::string("jobs"), std::string(120, 'n')}) {
      const Handle original(kind, 0xfedcba9876543210, name);
      const Handle copy(original.str());
      EXPECT_EQ(copy.kind(), kind) << original;
      EXPECT_EQ(copy.id(), original.id()) << original;
      EXPECT_EQ(copy.name(), name) << original;
      EXPECT_EQ(copy, original);
    }
  }
}

TEST(Handle, AcceptsEveryFormOfText) {
  const char* const chars = "brood:lock:0000000000000007";
  EXPECT_EQ(Handle(chars).id(), 7U);
  EXPECT_EQ(Handle(std::string(chars)).id(), 7U);
  EXPECT_EQ(Handle(std::string_view(chars)).id(), 7U);
}

TEST(Handle, StreamsItsText) {
  std::ostringstream out;
  out << Handle(Kind::event, 1, "stop");
  EXPECT_EQ(out.str(), "brood:event:0000000000000001:stop");
}

TEST(Handle, EqualMeansSameObjectNotSameName) {
  EXPECT_EQ(Handle(Kind::lock, 1, "a"), Handle(Kind::lock, 1));
  EXPECT_NE(Handle(Kind::lock, 1, "a"), Handle(Kind::lock, 2, "a"));
  EXPECT_NE(Handle(Kind::lock, 1), Handle(Kind::rlock, 1));
}

TEST(Handle, LongestTextFitsTheLimitAndNeedsNoQuotes) {
  for (const Kind kind : kAllKinds) {
    const std::string text = Handle(kind, ~std::uint64_t{0}, std::string(120, 'Z')).str();
    EXPECT_LE(text.size(), 180U) << text;
    EXPECT_EQ(text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.-"),
              std::string::npos)
        << text;
  }
}

TEST(Handle, RefusesMalformedTextAndSaysWhy) {
  const std::string id = ":0123456789abcdef";
  const struct {
    std::string text;
    std::string why;
  } cases[] = {
      {"", "does not begin with 'brood:'"},
      {"brood", "does not begin with 'brood:'"},
      {"Brood:lock" + id, "does not begin with 'brood:'"},
      {" brood:lock" + id, "does not begin with 'brood:'"},
      {"brood:", "no known kind"},
      {"brood:lock", "no known kind"},
      {"brood::0123456789abcdef", "no known kind"},
      {"brood:none" + id, "no known kind"},
      {"brood:mutex" + id, "no known kind"},
      {"brood:LOCK" + id, "no known kind"},
      {"brood:lock:", "not 16 lower-case hex digits"},
      {"brood:lock:0123456789abcde", "not 16 lower-case hex digits"},
      {"brood:lock:0123456789ABCDEF", "not 16 lower-case hex digits"},
      {"brood:lock:0123456789abcdeg", "not 16 lower-case hex digits"},
      {"brood:lock:-123456789abcdef", "not 16 lower-case hex digits"},
      {"brood:lock:0123456789abcdef0", "no valid name"},
      {"brood:lock:0123456789abcdef ", "no valid name"},
      {"brood:lock:0123456789abcdef\n", "no valid name"},
      {"brood:lock:0123456789abcdef:", "no valid name"},
      {"brood:lock:0123456789abcdef:a b", "no valid name"},
      {"brood:lock:0123456789abcdef:a/b", "no valid name"},
      {"brood:lock:0123456789abcdef:.hidden", "no valid name"},
      {"brood:lock:0123456789abcdef:..", "no valid name"},
      {"brood:lock:0123456789abcdef:a:b", "no valid name"},
      {"brood:lock:0123456789abcdef:" + std::string(121, 'n'), "no valid name"},
      {std::string("brood:lock:0123456789abcdef:a\0b", 31), "no valid name"},
  };
  for (const auto& [text, why] : cases) {
    const std::string message = refusal(text);
    EXPECT_NE(message.find(why), std::string::npos) << "'" << text << "' → " << message;
    EXPECT_NE(message.find("expected brood:<kind>:<16 hex digits>[:<name>]"), std::string::npos) << message;
  }
}

TEST(Handle, RefusalShowsPrintableTextOnlyAndCutsIt) {
  const std::string message = refusal("\x1b[31m" + std::string(500, 'x') + "\n");
  EXPECT_LT(message.size(), 400U);
  EXPECT_NE(message.find("'?[31mxxx"), std::string::npos) << message;
}

TEST(Handle, NullTextIsMalformedNotACrash) { EXPECT_THROW(Handle(static_cast<const char*>(nullptr)), HandleError); }

TEST(Handle, DefaultOneCannotBeReadBack) {
  const Handle nothing;
  EXPECT_EQ(nothing.kind(), Kind::none);
  EXPECT_THROW(Handle(nothing.str()), HandleError);
}

TEST(Kind, WordsAreDistinctAndReadBack) {
  std::set<std::string_view> words;
  for (const Kind kind : kAllKinds) {
    EXPECT_TRUE(words.insert(to_string(kind)).second) << to_string(kind);
    EXPECT_EQ(brood::kind_from(to_string(kind)), kind);
  }
  EXPECT_EQ(words.count("none"), 0U);
}

TEST(Kind, NumbersAndWordsThatMeanNothingAreNone) {
  EXPECT_EQ(to_string(static_cast<Kind>(4711)), "none");
  EXPECT_EQ(to_string(static_cast<Kind>(65535)), "none");
  EXPECT_EQ(brood::kind_from(""), Kind::none);
  EXPECT_EQ(brood::kind_from("locks"), Kind::none);
}

TEST(Name, AcceptsLettersDigitsAndThreeMarks) {
  for (const std::string name : {"a", "Z", "0", "_", "-", "jobs", "a.b", "A-b_c.9", "-rf"}) {
    EXPECT_TRUE(brood::is_valid_name(name)) << name;
  }
  EXPECT_TRUE(brood::is_valid_name(std::string(120, 'x')));
}

TEST(Name, RefusesWhatAPathOrAShellWouldReadDifferently) {
  for (const std::string name :
       {"", ".", "..", ".a", "a/b", "/", "a b", "a\tb", "a\n", "a:b", "a*", "$a", "ä", "a\\", "a'"}) {
    EXPECT_FALSE(brood::is_valid_name(name)) << "'" << name << "'";
  }
  EXPECT_FALSE(brood::is_valid_name(std::string(121, 'x')));
  EXPECT_FALSE(brood::is_valid_name(std::string("a\0b", 3)));
}
