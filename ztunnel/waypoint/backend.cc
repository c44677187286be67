#include "ztunnel/waypoint/backend.h"

#include <algorithm>
#include <map>
#include <string_view>

namespace weft::waypoint {
namespace {

using weft::route::Locality;

// "region/zone/subzone", of which parts may be "*" or missing at the end.
bool covers(std::string_view pattern, const Place& place) {
  for (const std::string* part : {&place.region, &place.zone, &place.subzone}) {
    if (pattern.empty()) return true;
    const size_t slash = std::min(pattern.find('/'), pattern.size());
    const std::string_view wanted = pattern.substr(0, slash);
    if (wanted == "*") return true;
    if (wanted != *part) return false;
    pattern.remove_prefix(std::min(slash + 1, pattern.size()));
  }
  return true;
}

// How much of the place a pattern names: the most exact one counts.
size_t exactness(std::string_view pattern) {
  if (pattern.ends_with("/*")) pattern.remove_suffix(2);
  return pattern == "*" ? 0 : 1 + static_cast<size_t>(std::ranges::count(pattern, '/'));
}

const Locality::Distribute* distribute_for(const Locality& policy, const Place& own) {
  const Locality::Distribute* best = nullptr;
  for (const Locality::Distribute& one : policy.distribute()) {
    if (!covers(one.from(), own)) continue;
    if (best == nullptr || exactness(one.from()) > exactness(best->from())) best = &one;
  }
  return best;
}

// Hosts of a locality that no weight is given to get nothing.
std::vector<Level> distributed(const std::vector<Backend>& hosts,
                               const Locality::Distribute& rule) {
  std::vector<std::pair<std::string, uint32_t>> to(rule.to().begin(), rule.to().end());
  std::ranges::sort(to);
  std::map<std::string, Group> groups;
  for (size_t i = 0; i < hosts.size(); ++i) {
    const std::pair<std::string, uint32_t>* best = nullptr;
    for (const auto& one : to) {
      if (!covers(one.first, hosts[i].place)) continue;
      if (best == nullptr || exactness(one.first) > exactness(best->first)) best = &one;
    }
    if (best == nullptr || best->second == 0) continue;
    groups[best->first].weight = best->second;
    groups[best->first].hosts.push_back(i);
  }
  if (groups.empty()) return {};
  Level level;
  for (auto& [name, group] : groups) level.groups.push_back(std::move(group));
  return {std::move(level)};
}

std::string_view label_of(const Place& place, std::string_view key) {
  const auto found =
      std::ranges::find(place.labels, key, &std::pair<std::string, std::string>::first);
  return found == place.labels.end() ? std::string_view() : std::string_view(found->second);
}

// The fewer of the first labels a host shares with us, the later its turn. "key=value" is compared
// to that value instead of ours.
size_t priority_by_labels(const Locality& policy, const Place& own, const Place& place) {
  size_t shared = 0;
  for (const std::string& label : policy.failover_priority()) {
    const size_t equals = label.find('=');
    const std::string_view key = std::string_view(label).substr(0, equals);
    const std::string_view wanted = equals == std::string::npos
                                        ? label_of(own, key)
                                        : std::string_view(label).substr(equals + 1);
    if (label_of(place, key) != wanted) break;
    ++shared;
  }
  return static_cast<size_t>(policy.failover_priority_size()) - shared;
}

size_t priority_by_locality(const Locality& policy, const Place& own, const Place& place) {
  if (place.region == own.region) {
    if (place.zone != own.zone) return 2;
    return place.subzone == own.subzone ? 0 : 1;
  }
  for (const Locality::Failover& rule : policy.failover()) {
    if (rule.from() == own.region) return rule.to() == place.region ? 3 : 4;
  }
  return 3;
}

}  // namespace

std::vector<Level> arrange(const std::vector<Backend>& hosts, const Locality& policy,
                           bool detects_failures, const Place& own) {
  if (hosts.empty()) return {};
  if (const Locality::Distribute* rule = distribute_for(policy, own)) {
    return distributed(hosts, *rule);
  }
  const bool by_labels = !policy.failover_priority().empty();
  const bool prefers = policy.enabled() && detects_failures;
  std::map<size_t, Group> levels;
  for (size_t i = 0; i < hosts.size(); ++i) {
    size_t priority = 0;
    if (prefers) {
      priority = by_labels ? priority_by_labels(policy, own, hosts[i].place)
                           : priority_by_locality(policy, own, hosts[i].place);
    }
    levels[priority].hosts.push_back(i);
  }
  std::vector<Level> made;
  for (auto& [priority, group] : levels) {
    made.emplace_back().groups.push_back(std::move(group));
  }
  return made;
}

}  // namespace weft::waypoint
