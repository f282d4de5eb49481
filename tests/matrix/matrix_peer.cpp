// matrix_peer: a worker in a program of its own, told by its arguments or by the environment.
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "matrix/invitation.hpp"

int main(int argc, char** argv) {
  try {
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words.size() == 6 && words[0] == matrix::kByArguments) {
      matrix::accept_invitation(matrix::Invitation::from_words({words.begin() + 1, words.end()}));
      return 0;
    }
    const char* told = std::getenv(matrix::kInvitationVariable);
    if (words.size() == 1 && words[0] == matrix::kByEnvironment && told != nullptr) {
      matrix::accept_invitation(matrix::Invitation::from_text(told));
      return 0;
    }
    std::cerr << "usage: matrix_peer " << matrix::kByArguments << " OBJECT ADDRESS HANDLE LOCK TALLY\n"
              << "       " << matrix::kInvitationVariable << "='the same' matrix_peer " << matrix::kByEnvironment
              << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "matrix_peer: " << error.what() << std::endl;
    return 1;
  }
}
