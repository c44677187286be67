#pragma once

#include "proto/workload.pb.h"
#include "ztunnel/learn/state.h"

#include <memory>
#include <string_view>

// From protobuf to what the data path uses. kInvalid names the field and what was expected.

namespace weft::learn {

Result<std::shared_ptr<const Workload>> parse_workload(const istio::workload::Workload& from);

// Without endpoints: these are joined from the workloads.
Result<std::shared_ptr<const Service>> parse_service(const istio::workload::Service& from);

// The parts of a uid "cluster/group/kind/namespace/name[/section]".
struct UidParts {
  std::string_view cluster;
  std::string_view kind;
};
UidParts split_uid(std::string_view uid);

}  // namespace weft::learn
