#pragma once

#include "proto/route.pb.h"
#include "ztunnel/waypoint/backend.h"
#include "ztunnel/waypoint/picker.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace weft::waypoint {

// What a choice may look at.
struct Wish {
  std::optional<uint64_t> hash = {};
  std::span<const std::string> avoid = {};  // names of hosts that were tried already
  bool other_places = false;                // and the levels that they are of, every second try
  std::string_view exactly = {};            // PASSTHROUGH: this one, if it is there
};

// One destination's hosts and how one of them is chosen: by level, by locality's weight, by the
// policy's algorithm, out of those that are not ejected. One worker's.
//
// A level takes 1.4 times its healthy share of the requests (Envoy's overprovisioning), the next
// level what is left; so a level loses nothing until less than 72 % of it is healthy.
class BackendBalancer {
 public:
  BackendBalancer() = default;
  BackendBalancer(const BackendBalancer&) = delete;  // its parts point to each other
  BackendBalancer& operator=(const BackendBalancer&) = delete;

  // Before it there is no host.
  void update(std::vector<Backend> hosts, const weft::route::Traffic& traffic, const Place& own,
              Clock::time_point now, const Dice& dice);
  // Somebody was ejected or returned.
  void refresh(Clock::time_point now, const Dice& dice);

  const std::vector<Backend>& hosts() const { return hosts_; }
  // An index of hosts(); none: nobody is healthy.
  std::optional<size_t> choose(const Wish& wish, Clock::time_point now, const Dice& dice);

 private:
  // Envoy's host_selection_retry_max_attempts as Istio sets it.
  static constexpr int kChoicesMax = 5;
  static constexpr uint32_t kOverprovisioning = 140;  // percent

  struct ReadyGroup {
    uint32_t share = 0;  // of its level's sum
    Picker picker;
  };
  struct ReadyLevel {
    uint32_t percent = 0;  // of all requests
    uint64_t sum = 0;      // of the groups' shares
    std::vector<ReadyGroup> groups;
    std::vector<size_t> hosts;  // of all groups
  };
  bool is_healthy(size_t index) const;
  ReadyLevel ready(const Level& level, bool all, Clock::time_point now, const Dice& dice) const;
  size_t once(const Wish& wish, std::span<const char> without, Clock::time_point now,
              const Dice& dice);
  std::vector<char> tried_levels(const Wish& wish) const;

  std::vector<Backend> hosts_;
  weft::route::Traffic traffic_;
  std::vector<Level> levels_;
  std::vector<ReadyLevel> ready_;
};

}  // namespace weft::waypoint
