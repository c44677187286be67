#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/base/result.h"
#include "ztunnel/learn/view.h"
#include "ztunnel/runtime/task.h"

#include <string>
#include <vector>

namespace weft::node {

// Looks up the host names of workloads that control knows by name only. One for each worker.
class HostResolver {
 public:
  virtual ~HostResolver() = default;
  // The addresses of a name, of both families, as the pod's own resolver would give them. Never
  // empty; kNotFound, kTimeout or kUnavailable say why there are none.
  virtual runtime::Task<Result<std::vector<IpAddress>>> resolve(
      std::string host, std::shared_ptr<const learn::Pod> pod) = 0;
};

}  // namespace weft::node
