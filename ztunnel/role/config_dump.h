#pragma once

#include "ztunnel/learn/view.h"
#include "ztunnel/role/connections.h"

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace weft::role {

// All that a ztunnel knows of the mesh, as JSON of the shape that Istio's ztunnel has, so that
// `istioctl ztunnel-config --file` reads it: workloads, services, policies, certificates,
// workloadState with the connections that are open, version, config (our command line). Never a
// key. stagedServices and staticConfig are there and empty: we have neither.
//
// Written entry by entry: a mesh of 100 000 workloads costs its text once and not as a tree too.
struct ConfigDump {
  std::shared_ptr<const learn::State> state;
  std::vector<std::shared_ptr<const learn::Pod>> pods;
  std::vector<learn::LearnerStatus::Certificate> certificates;
  std::vector<std::shared_ptr<const tls::Credentials>> credentials;
  Connections connections;
  std::map<std::string, std::string> config;  // flags and their values
};
std::string to_json(const ConfigDump& dump);

// RFC 3339, in UTC, to the second.
std::string rfc3339(std::chrono::system_clock::time_point time);

}  // namespace weft::role
