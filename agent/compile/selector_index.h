#pragma once

#include <google/protobuf/map.h>

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

namespace weft::compile {

// Objects that select workloads by labels, found by a workload's labels: what one pod's change
// costs then does not grow with the Services and policies of its namespace. Each object is kept
// under one label of its selector, the one that the fewest others are under, so that a label that
// everybody has (app.kubernetes.io/part-of) does not make it a list of all.
class SelectorIndex {
 public:
  using Labels = google::protobuf::Map<std::string, std::string>;

  // Again with the same name: replaces it.
  void put(const std::string& ns, const std::string& name, const Labels& selector);
  void erase(const std::string& ns, const std::string& name);
  // Calls with the names that may select a workload with these labels; each once, in no order.
  // Those with an empty selector are among them. Whoever asks still compares the whole selector.
  void for_candidates(const std::string& ns, const Labels& labels,
                      const std::function<void(const std::string& name)>& call) const;

 private:
  using Names = std::set<std::string>;
  static std::string place_of(const std::string& ns, std::string_view key, std::string_view value);
  void call_all(const std::string& place,
                const std::function<void(const std::string& name)>& call) const;

  std::unordered_map<std::string, Names> names_;         // by place
  std::unordered_map<std::string, std::string> places_;  // of "namespace/name"
};

}  // namespace weft::compile
