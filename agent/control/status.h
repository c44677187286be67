#pragma once

#include "agent/compile/compiler.h"
#include "agent/control/kube/cluster.h"
#include "agent/xds/server.h"
#include "ztunnel/base/result.h"

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace weft::control {

// The latest mistakes that the source reported. Belongs to the loop's thread.
class SourceErrors {
 public:
  static constexpr size_t kKept = 50;  // what a person may read

  void add(const Error& error);
  uint64_t count() const { return count_; }
  const std::deque<std::string>& latest() const { return latest_; }

 private:
  uint64_t count_ = 0;
  std::deque<std::string> latest_;  // newest last
};

// What GET /status answers.
struct Status {
  std::string listen;
  std::string trust_domain;
  bool ready = false;  // the first complete set of objects is in, and the port is open
  std::chrono::system_clock::time_point ca_not_after;
  uint64_t certificates_issued = 0;
  uint64_t certificates_refused = 0;
  std::vector<xds::Server::Subscriber> nodes;
  xds::Server::Totals totals;
  std::vector<compile::Notice> notices;
  std::optional<kube::Cluster::Status> cluster;  // where there is one
  uint64_t source_errors = 0;
  std::vector<std::string> latest_source_errors;
};

std::string to_json(const Status& status);

}  // namespace weft::control
