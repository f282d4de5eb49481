// A child with streams, directory, environment and limits of its own; and what start() says when one cannot be had.
//
// Output:
// child said: 3 lines, in /, greeting hello, at most 64 descriptors
// child complained: nothing to add
// cannot start process 'lost': cannot change to the working directory '/no/such/place': No such file or directory
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

#include "brood/brood.hpp"

void count_lines() {
  int lines = 0;
  for (std::string line; std::getline(std::cin, line);) ++lines;
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  std::cout << lines << " lines, in " << std::filesystem::current_path().string() << ", greeting "
            << std::getenv("GREETING") << ", at most " << files.rlim_cur << " descriptors";
  std::cerr << "nothing to add";
}

std::string read_all(const brood::Descriptor& from) {
  std::string text;
  std::array<char, 512> part{};
  for (ssize_t got = 0; (got = read(from.get(), part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<std::size_t>(got));
  return text;
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Process p({.standard_input = brood::Stdio::pipe(),
                    .standard_output = brood::Stdio::pipe(),
                    .standard_error = brood::Stdio::pipe(),
                    .working_directory = "/",
                    .environment = {{"GREETING", "hello"}, {"PAGER", std::nullopt}},
                    .nice = 5,
                    .limits = {{RLIMIT_NOFILE, 64, 64}}},
                   count_lines);
  p.start();
  {
    const brood::Descriptor in = p.take_stdin();
    if (write(in.get(), "a\nb\nc\n", 6) != 6) return 1;
  }  // closed: end-of-file for the child
  std::cout << "child said: " << read_all(p.take_stdout()) << '\n';
  std::cout << "child complained: " << read_all(p.take_stderr()) << '\n';
  p.join();

  brood::Process lost({.name = "lost", .working_directory = "/no/such/place"}, count_lines);
  try {
    lost.start();
  } catch (const brood::StartError& error) {
    std::cout << error.what() << '\n';
  }
}
