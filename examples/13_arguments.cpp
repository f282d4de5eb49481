// What can be passed: anything with a value travels as a copy, shared objects as themselves.
//
// Output:
// Ann, 3 readings, 21.5 on average, tagged {sensor: north}, from outside: no
// the caller's vector still has 3
// counted together: 3
#include <iostream>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "brood/brood.hpp"

struct Station {  // a plain struct needs no word about it
  std::string keeper;
  std::vector<double> readings;
};

void report(const Station& station, const std::map<std::string, std::string>& tags, std::optional<bool> outside,
            brood::Value<int>& counted) {
  const auto n = station.readings.size();
  std::cout << station.keeper << ", " << n << " readings, "
            << std::accumulate(station.readings.begin(), station.readings.end(), 0.0) / static_cast<double>(n)
            << " on average, tagged {";
  for (const auto& [key, value] : tags) std::cout << key << ": " << value;
  std::cout << "}, from outside: " << (outside.value_or(false) ? "yes" : "no") << '\n';
  counted.set(static_cast<int>(n));
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  const Station station{"Ann", {20.0, 21.5, 23.0}};
  brood::Value<int> counted;  // shared: what the child sets is seen here
  brood::Process p(report, station, std::map<std::string, std::string>{{"sensor", "north"}}, std::nullopt, counted);
  p.start();
  p.join();
  std::cout << "the caller's vector still has " << station.readings.size() << '\n';
  std::cout << "counted together: " << counted.get() << '\n';
}
