#pragma once

#include "ztunnel/base/ip.h"

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace weft::role {

// One connection that is open, as the pod it belongs to sees it.
struct OpenConnection {
  SocketAddress source;
  std::string original;  // outbound: where its client wanted to go; inbound: the service, if known
  std::string actual;    // where it goes
  bool hbone = false;
};

struct PodConnections {
  std::vector<OpenConnection> inbound;
  std::vector<OpenConnection> outbound;
};

// What is open at one moment, gathered from the workers.
struct Connections {
  std::map<std::string, PodConnections> pods;  // by uid
  size_t listed = 0;
  size_t omitted = 0;    // there were more than kConnectionsListedMax
  bool complete = true;  // every worker has answered
};

// Of each worker: to list them holds it up for some milliseconds and takes about 2 MB.
constexpr size_t kConnectionsListedMax = 10'000;

}  // namespace weft::role
