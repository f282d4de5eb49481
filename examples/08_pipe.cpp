// A pipe: two ends of a conversation. One way for a stream of numbers, both ways for questions and answers. Closing our copy
// of the child's end is what makes end-of-file possible: it comes when everybody who had that end has closed it or died.
//
// Output:
// 1 4 9 16 25, then end of file
// 2 + 3 = 5
// 20 + 22 = 42
// the calculator has gone: true
#include <iostream>
#include <string>

#include "brood/brood.hpp"

void squares(brood::Connection<int>& out, int count) {
  for (int n = 1; n <= count; ++n) out.send(n * n);
}

struct Question {
  int left;
  int right;
};

void calculate(brood::Connection<Question>& parent) {
  try {
    for (;;) {
      const Question q = parent.recv();
      parent.send_bytes(std::to_string(q.left) + " + " + std::to_string(q.right) + " = " +
                        std::to_string(q.left + q.right));
    }
  } catch (const brood::EndOfFile&) {
    // The parent closed its end.
  }
}

int main(int argc, char** argv) {
  brood::init(argc, argv);

  auto [reader, writer] = brood::pipe<int>(false);
  brood::Process producer(squares, writer, 5);
  producer.start();
  writer.close();
  const char* comma = "";
  try {
    for (;; comma = " ") {
      const int square = reader.recv();
      std::cout << comma << square;
    }
  } catch (const brood::EndOfFile&) {
    std::cout << ", then end of file\n";
  }

  auto [ours, theirs] = brood::pipe<Question>();
  brood::Process calculator(calculate, theirs);
  calculator.start();
  theirs.close();
  for (const Question& q : {Question{2, 3}, Question{20, 22}}) {
    ours.send(q);
    const auto answer = ours.recv_bytes();
    std::cout << std::string(reinterpret_cast<const char*>(answer.data()), answer.size()) << '\n';
  }
  ours.close();
  calculator.join();
  std::cout << "the calculator has gone: " << std::boolalpha << (calculator.exitcode() == 0) << '\n';
}
