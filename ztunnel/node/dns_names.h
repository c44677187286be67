#pragma once

#include "ztunnel/learn/state.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft::node {

// What a DNS name means to a pod. Names are in lower case, without the last dot.
struct DnsMeaning {
  std::string name;  // what was found: the asked one, or what it stands for
  std::shared_ptr<const learn::Service> service;
  // One endpoint of a headless service, where the name is that pod's own.
  std::shared_ptr<const learn::Workload> pod;
};

std::optional<DnsMeaning> find_dns_name(const learn::State& state, std::string_view cluster_domain,
                                        std::string_view client_ns, std::string_view name);

// Whether the endpoint is to be seen in DNS.
bool is_shown(const learn::Service& service, const learn::Workload& endpoint);
// No address of its own: its name stands for its endpoints.
bool is_headless(const learn::Service& service);
// The first label of an endpoint's own name below its headless service.
std::string endpoint_label(const learn::Service& service, const learn::Workload& endpoint,
                           const IpAddress& address);

}  // namespace weft::node
