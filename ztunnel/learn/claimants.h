#pragma once

#include <memory>
#include <string_view>
#include <vector>

namespace weft::learn {

struct Service;

// Services that have one name or one address. Which of them a client means: of those that it may
// see the one of its own namespace, else a canonical one (what Kubernetes itself knows), else the
// first by namespace and host name: as Istio's ztunnel chooses.
using Claimants = std::vector<std::shared_ptr<const Service>>;

void add_claimant(Claimants& claimants, std::shared_ptr<const Service> service);
std::shared_ptr<const Service> claimant_for(const Claimants& claimants, std::string_view client_ns);

}  // namespace weft::learn
