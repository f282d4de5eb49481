// refused: a registered exception derives from std::exception
#include "brood/remote_error.hpp"
struct Refused {
  int code = 0;
};
const brood::RegisterException<Refused> kRefused;
