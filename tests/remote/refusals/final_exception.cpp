// refused: a registered exception is not final
#include "brood/remote_error.hpp"
struct Refused final : std::runtime_error {
  using std::runtime_error::runtime_error;
};
const brood::RegisterException<Refused> kRefused;
