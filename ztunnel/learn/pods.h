#pragma once

#include "ztunnel/learn/view.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace weft::learn {

class PodSink {
 public:
  virtual ~PodSink() = default;
  // Also for a uid that is there already: new listeners of the same pod (see PodObserver).
  virtual void pod_added(std::shared_ptr<const Pod> pod) = 0;
  virtual void pod_removed(std::shared_ptr<const Pod> pod) = 0;
};

// The pods of this node, as one agent after the other names them. What an agent does not name
// before its snapshot is complete has gone; while no agent is there, pods stay.
//
// A pod that is named again:
//   the same sockets (we reconnected to an agent that kept them)  nothing happens, the new copies
//   close the same netns, other listeners (the agent restarted)         taken over: old and new are
//   served another netns (the sandbox was made anew), or other names     removed, then added
class PodTable {
 public:
  static constexpr size_t kPodsMax = 4096;  // kubelets run some hundred

  explicit PodTable(PodSink& sink) : sink_(sink) {}

  void begin_snapshot() { mentioned_.clear(); }
  // A redirected pod's sockets are opened here (redirected.h). kLimit where the table is full.
  Result<void> add(std::shared_ptr<const Pod> pod);
  Result<void> keep(const std::string& uid);  // kNotFound
  void remove(const std::string& uid);
  void end_snapshot();
  size_t size() const { return pods_.size(); }
  std::vector<std::shared_ptr<const Pod>> all() const;

 private:
  PodSink& sink_;
  std::map<std::string, std::shared_ptr<const Pod>> pods_;  // by uid
  std::set<std::string> mentioned_;                         // since begin_snapshot()
};

}  // namespace weft::learn
