// Pictures that nobody copies: a camera writes them where they will be read, an eye reads them where they were written.
// What a killed reader had borrowed comes back.
//
// Output:
// the eye saw 200 pictures, in place all 200, the brightest is number 150
// after the death of a reader the pipe lends again
#include <algorithm>
#include <array>
#include <iostream>
#include <optional>
#include <string>

#include "brood/brood.hpp"

struct Picture {
  long number;
  std::array<unsigned char, 1'000'000> pixels;
};

void film(brood::Queue<Picture>& pictures) {
  for (long i = 1; i <= 200; ++i) {
    auto picture = pictures.loan();  // waits while all the memory is in use
    picture->number = i;
    picture->pixels.fill(static_cast<unsigned char>(i <= 150 ? i : 150 - i % 100));
    pictures.put(std::move(picture));
  }
  pictures.shutdown();
}

void look(brood::Connection<Picture>& pipe, brood::Event& looking) {
  const auto view = pipe.recv_view();
  looking.set();
  for (;;) (void)view->pixels[0];  // until somebody kills it
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Queue<Picture> pictures({.byte_budget = 8 << 20});
  brood::Process camera(film, pictures);
  camera.start();
  long seen = 0;
  long in_place = 0;
  long brightest = 0;
  int most = 0;
  try {
    for (;;) {
      const auto picture = pictures.get_view();
      ++seen;
      in_place += picture.is_in_place() ? 1 : 0;
      if (picture->pixels[999'999] > most) {
        most = picture->pixels[999'999];
        brightest = picture->number;
      }
    }
  } catch (const brood::QueueClosed&) {
    // all its pictures were taken
  }
  camera.join();
  std::cout << "the eye saw " << seen << " pictures, in place all " << in_place << ", the brightest is number "
            << brightest << '\n';

  auto [reader, writer] = brood::pipe<Picture>({.duplex = false, .loan_budget = 1 << 20});  // memory for one
  brood::Event looking;
  brood::Process onlooker(look, reader, looking);
  auto picture = writer.loan();
  picture->number = 1;
  writer.send(std::move(picture));
  onlooker.start();
  looking.wait();
  onlooker.kill();
  onlooker.join();
  const auto again = writer.loan();  // the one that the dead had
  std::cout << "after the death of a reader the pipe lends again\n";
}
