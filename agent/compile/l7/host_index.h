#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::l7 {

// Which rules of a namespace are for a host: found in a time that does not grow with the rules.
class HostIndex {
 public:
  // `hosts`: whole names and wildcards. Again with the same name: replaces it.
  void put(const std::string& ns, const std::string& name, const std::set<std::string>& hosts);
  void erase(const std::string& ns, const std::string& name);
  // The rules of the namespace that mean this host; the most exact ones first, each once.
  std::vector<std::string> matching(const std::string& ns, const std::string& host) const;
  // Namespaces that have rules for the host.
  std::set<std::string> namespaces_with(const std::string& host) const;

 private:
  std::vector<std::string> with(const std::string& ns, const std::string& pattern) const;

  using Rules = std::set<std::pair<std::string, std::string>>;  // namespace and name
  std::map<std::string, Rules> rules_;                          // by pattern
  std::map<std::pair<std::string, std::string>, std::set<std::string>> hosts_;
};

}  // namespace weft::l7
