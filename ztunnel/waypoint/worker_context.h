#pragma once

#include "ztunnel/dns/resolver.h"
#include "ztunnel/hbone/pool.h"
#include "ztunnel/learn/view.h"
#include "ztunnel/role/endpoint_memory.h"
#include "ztunnel/role/handshakes.h"
#include "ztunnel/role/memory_trimmer.h"
#include "ztunnel/role/report.h"
#include "ztunnel/waypoint/config.h"

#include <memory>
#include <random>
#include <string>
#include <unordered_set>

namespace weft::waypoint {

// Who this process is.
struct Self {
  std::string ns;
  std::string gateway;   // the Gateway's name, which is the Service's and the account's
  std::string pod_name;  // its own pod, for its locality
  std::string service;   // "namespace/hostname" of its Service
  SpiffeId identity;
  std::string resolv_conf;
};

// What everything on one worker's loop uses. Lives as long as the worker.
struct WorkerContext {
  runtime::Loop& loop;
  learn::View& view;
  telemetry::Shard& metrics;
  const Self& self;
  hbone::Pool& pool;  // to endpoints, with our own identity
  dns::Resolver& resolver;
  std::mt19937_64 random;
  role::EndpointMemory endpoint_memory = {};
  role::Handshakes handshakes = {};
  role::MemoryTrimmer memory = {};
  // What control said last; null before it said anything. Take a copy of the pointer for whatever
  // is to finish on the configuration that it began with.
  std::shared_ptr<const Config> config = nullptr;
  std::unordered_set<const role::Report*> open = {};

  role::Reporting reporting() { return {loop, metrics, open}; }
  // Ourselves as others see us: where we stand decides which endpoints are near.
  std::shared_ptr<const learn::Workload> own_workload() const;
};

}  // namespace weft::waypoint
