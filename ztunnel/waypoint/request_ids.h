#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <string_view>

namespace weft::waypoint {

// Values of x-request-id: UUIDs of version 4. Unlikely to meet, not secret.
class RequestIds {
 public:
  RequestIds() : random_(std::random_device{}()) {}
  explicit RequestIds(uint64_t seed) : random_(seed) {}

  // Good until the next one.
  std::string_view next();

 private:
  std::mt19937_64 random_;
  std::array<char, 36> text_{};
};

}  // namespace weft::waypoint
