#pragma once

#include "agent/sandbox/layout.h"
#include "agent/sandbox/process.h"
#include "proto/crd/core.pb.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/runtime/loop.h"

#include <google/protobuf/struct.pb.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace weft::sandbox {

// How a container is asked whether it is well: httpGet or tcpSocket of a probe, with Kubernetes'
// defaults.
struct Probe {
  uint16_t port = 0;
  std::string path;  // empty: a connection is enough
  std::chrono::milliseconds initial_delay{0};
  std::chrono::milliseconds period{10'000};
  std::chrono::milliseconds timeout{1'000};
  int failure_threshold = 3;
};
// From readinessProbe, livenessProbe or startupProbe. Absent: there is none, or one of another kind
// (exec, grpc), which then counts as passed.
std::optional<Probe> parse_probe(const google::protobuf::Value& spec, const crd::core::Pod& pod);

// Asks once, from inside a network namespace (-1: the process's own). The error says what a
// kubelet's event would: "connection refused", "HTTP status 503".
runtime::Task<Result<void>> ask(runtime::Loop& loop, int netns_fd, SocketAddress address,
                                Probe probe);

// A node's kubelet is a process of its own, because who probes is told by its cgroup and network
// namespace: the node's, as with a real one. It only asks, on behalf of the supervisor, which
// decides what to ask and what follows.
//
// `weft sandbox kubelet --socket PATH`: serves until it is killed. POST /probe on the unix socket,
// the body "IP:PORT\nTIMEOUT_MS\nPATH"; 200: it passed, 503: the body says why not.
Result<void> run_kubelet(const std::string& socket_path);

std::vector<ProcessSpec> kubelet_processes(const Layout& layout);
std::string kubelet_socket(const Layout& layout, std::string_view node);
// Has the node's kubelet ask once.
runtime::Task<Result<void>> ask_by_kubelet(runtime::Loop& loop, std::string socket_path,
                                           SocketAddress address, Probe probe);

}  // namespace weft::sandbox
