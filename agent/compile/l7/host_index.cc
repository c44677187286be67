#include "agent/compile/l7/host_index.h"

#include <algorithm>

namespace weft::l7 {

namespace {

// The patterns that can mean a host, the most exact one first: itself, "*.b.c", "*.c", "*".
std::vector<std::string> patterns_for(const std::string& host) {
  std::vector<std::string> patterns{host};
  for (size_t dot = host.find('.'); dot != std::string::npos; dot = host.find('.', dot + 1)) {
    if (dot > 0) patterns.push_back("*" + host.substr(dot));
  }
  patterns.emplace_back("*");
  return patterns;
}

}  // namespace

void HostIndex::erase(const std::string& ns, const std::string& name) {
  const auto before = hosts_.find({ns, name});
  if (before == hosts_.end()) return;
  for (const std::string& host : before->second) {
    const auto rules = rules_.find(host);
    rules->second.erase({ns, name});
    if (rules->second.empty()) rules_.erase(rules);
  }
  hosts_.erase(before);
}

void HostIndex::put(const std::string& ns, const std::string& name,
                    const std::set<std::string>& hosts) {
  erase(ns, name);
  if (hosts.empty()) return;
  for (const std::string& host : hosts) rules_[host].emplace(ns, name);
  hosts_[{ns, name}] = hosts;
}

std::vector<std::string> HostIndex::with(const std::string& ns, const std::string& pattern) const {
  std::vector<std::string> names;
  const auto rules = rules_.find(pattern);
  if (rules == rules_.end()) return names;
  for (auto one = rules->second.lower_bound({ns, ""});
       one != rules->second.end() && one->first == ns; ++one) {
    names.push_back(one->second);
  }
  return names;
}

std::vector<std::string> HostIndex::matching(const std::string& ns, const std::string& host) const {
  std::vector<std::string> all;
  for (const std::string& pattern : patterns_for(host)) {
    for (std::string& name : with(ns, pattern)) {
      if (std::ranges::find(all, name) == all.end()) all.push_back(std::move(name));
    }
  }
  return all;
}

std::set<std::string> HostIndex::namespaces_with(const std::string& host) const {
  std::set<std::string> namespaces;
  for (const std::string& pattern : patterns_for(host)) {
    const auto rules = rules_.find(pattern);
    if (rules == rules_.end()) continue;
    for (const auto& [ns, name] : rules->second) namespaces.insert(ns);
  }
  return namespaces;
}

}  // namespace weft::l7
