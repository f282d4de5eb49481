// Invitation: all that a worker is told, as words. They survive argv, the environment and files.
#pragma once

#include <string>
#include <vector>

namespace matrix {

/// Names of the environment variable, and of the ways in which the program matrix_peer is told.
inline constexpr const char* kInvitationVariable = "BROOD_MATRIX_INVITATION";
inline constexpr const char* kByArguments = "--arguments";
inline constexpr const char* kByEnvironment = "--environment";

struct Invitation {
  std::string object;   ///< what to exercise: a word of the table in peers.cpp
  std::string address;  ///< of the test's Doorway
  std::string subject;  ///< handle of the object
  std::string guard;    ///< handle of a Lock beside it
  std::string tally;    ///< handle of a Value<std::int64_t> beside it

  [[nodiscard]] std::vector<std::string> words() const { return {object, address, subject, guard, tally}; }
  [[nodiscard]] std::string text() const;
  /// Errors: std::runtime_error unless there are five words.
  [[nodiscard]] static Invitation from_words(const std::vector<std::string>& words);
  [[nodiscard]] static Invitation from_text(const std::string& text);
};

/// Opens the objects and runs their worker, the same function template that brood::Process runs.
void accept_invitation(const Invitation& invitation);

}  // namespace matrix
