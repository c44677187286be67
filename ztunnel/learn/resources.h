#pragma once

#include "proto/workload.pb.h"
#include "ztunnel/learn/state.h"

#include <memory>
#include <string_view>

// From protobuf to what the data path uses. kInvalid names the field and what was expected.

namespace weft::learn {

// `network`: ours.
Result<std::shared_ptr<const Workload>> parse_workload(const istio::workload::Workload& from,
                                                       const std::string& network);

// Without endpoints: these are joined from the workloads. Addresses of other networks are left out.
Result<std::shared_ptr<const Service>> parse_service(const istio::workload::Service& from,
                                                     const std::string& network);

// The parts of a uid "cluster/group/kind/namespace/name[/section]".
struct UidParts {
  std::string_view cluster;
  std::string_view kind;
};
UidParts split_uid(std::string_view uid);

}  // namespace weft::learn
