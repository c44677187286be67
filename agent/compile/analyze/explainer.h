#pragma once

#include "agent/compile/analyze/explain.h"
#include "agent/compile/waypoint_binding.h"
#include "agent/model/service.h"
#include "agent/model/workload.h"

#include <optional>
#include <string>

namespace weft::analyze {

// Follows one connection and says what becomes of it, line by line. explain_route.cc: where it
// goes; explain.cc: how it is carried, and who decides over it.
class Explainer {
 public:
  Explainer(const Cluster& cluster, const Question& question)
      : cluster_(cluster), question_(question) {}
  Result<Explanation> run();

 private:
  void say(std::string line) { result_.lines.push_back(std::move(line)); }
  void conclude(Answer allowed, const std::string& why);

  // Each says where it goes and what is decided there; false where there is no such thing.
  bool to_named();
  bool to_host(const std::string& host);
  void to_address(const IpAddress& address);
  void to_service(const crd::core::Service& service);
  void to_entry(const crd::networking::ServiceEntry& entry, const std::string& host);
  void to_endpoints_of(const crd::networking::ServiceEntry& entry, const std::string& host);
  // To workloads of the namespace that are members of the service; whether one could be chosen.
  bool to_pods(const crd::core::Service& service);
  bool to_members(const std::string& ns, const std::string& key);
  void say_balancing(const model::Service& service);
  void pass(const std::string& what);
  // What stands before what comes next.
  void through(const std::optional<compile::WaypointName>& waypoint);

  void to_workload(const Shape& to, uint16_t port);
  void to_written(const model::Workload& to, uint32_t port);
  void carry(const Shape& to);
  void judge(const Shape& to, uint16_t port);

  const Cluster& cluster_;
  const Question& question_;
  const Shape* from_ = nullptr;
  std::optional<SpiffeId> waypoint_;  // whom endpoints see instead of the client
  Explanation result_;
};

// By its name; or the first of the pods that something of that name made.
const Shape* find_shape(const Cluster& cluster, const std::string& ns, const std::string& name);
std::optional<IpAddress> address_of(const crd::core::Pod& pod);

}  // namespace weft::analyze
