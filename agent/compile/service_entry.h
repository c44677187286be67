#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"
#include "agent/model/service.h"

#include <optional>
#include <string>
#include <vector>

namespace weft::compile {

// Its hosts as DNS compares them: lower case, without a dot at the end; each once.
std::vector<std::string> hosts_of(const crd::networking::ServiceEntry& entry);
// Not where only a waypoint could serve it (DYNAMIC_DNS) or nobody may see it (exportTo "~").
bool is_served(const crd::networking::ServiceEntry& entry);
// The host's virtual addresses as the ServiceEntry has them, written or in its status; 0.0.0.0 is
// none.
std::vector<Cidr> addresses_given(const crd::networking::ServiceEntry& entry,
                                  const std::string& host);

// Whom a host of a namespace belongs to, as one name can mean one service only: the Kubernetes
// Service of that name, else the oldest ServiceEntry with it. Both null: to nobody.
struct HostOwner {
  const crd::core::Service* service = nullptr;
  const crd::networking::ServiceEntry* entry = nullptr;
};
// The ServiceEntries of the namespace that have the host.
std::vector<const crd::networking::ServiceEntry*> entries_with(const std::string& ns,
                                                               const std::string& host,
                                                               const Store& store);
HostOwner owner_of(const std::string& ns, const std::string& host, const Store& store,
                   const MeshConfig& config);

// `allocated`: its addresses where the ServiceEntry has none.
model::Service compile_host(const crd::networking::ServiceEntry& entry, const std::string& host,
                            const std::vector<Cidr>& allocated);

bool selects_workloads(const crd::networking::ServiceEntry& entry, const Labels& labels);
// The TCP ports with the workload's own behind them. `own`: a WorkloadEntry's, by port name.
using NamedPorts = google::protobuf::Map<std::string, uint32_t>;
std::vector<model::PortPair> ports_on(const crd::networking::ServiceEntry& entry,
                                      const NamedPorts& own);

// What is written in its list of endpoints; with a resolution by DNS and no list, its hosts.
std::vector<model::Workload> compile_endpoints(const crd::networking::ServiceEntry& entry,
                                               const Store& store, const MeshConfig& config);

// What `exportTo` asks for, as far as it can be had: everybody, or only the own namespace.
enum class Export { kAll, kOwnNamespace, kNobody };
template <class Texts>
Export export_of(const Texts& names, const std::string& own) {
  if (names.size() == 0) return Export::kAll;
  bool only_own = true;
  for (const auto& name : names) {
    if (name == "~") return Export::kNobody;
    only_own &= name == "." || name == own;
  }
  return only_own ? Export::kOwnNamespace : Export::kAll;
}

}  // namespace weft::compile
