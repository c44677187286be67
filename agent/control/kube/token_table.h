#pragma once

#include "agent/identity/token.h"

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>

namespace weft::control::kube {

// What an API server has said of tokens, by their fingerprint. Not thread-safe.
//
// What is fresh is believed; what was good and is stale is asked for again, and believed as long as
// nobody can be asked, until the token's own end. Bounded: what runs out first gives way.
class TokenTable {
 public:
  using Time = std::chrono::system_clock::time_point;
  // A token each of 5 000 nodes, twice around a renewal, and as many of workloads.
  static constexpr size_t kTokensMax = 20'000;
  // A pod that is deleted has its token refused this much later at the latest.
  static constexpr std::chrono::seconds kFreshFor{60};
  // So that a client that tries again and again costs the API server little.
  static constexpr std::chrono::seconds kRefusedFor{10};

  struct Known {
    Result<identity::Caller> caller;  // an error: refused
    bool is_fresh = false;
  };
  // Nothing where nothing is known, and of tokens that have run out.
  std::optional<Known> find(const std::string& fingerprint, Time now) const;
  void put(const std::string& fingerprint, Result<identity::Caller> caller, Time now);
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    Result<identity::Caller> caller;
    Time asked;
    Time ends;
  };
  void erase(const std::string& fingerprint);

  std::unordered_map<std::string, Entry> entries_;
  std::multimap<Time, std::string> by_end_;
};

}  // namespace weft::control::kube
