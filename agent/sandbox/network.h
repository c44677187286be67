#pragma once

#include "agent/sandbox/layout.h"
#include "ztunnel/base/result.h"

#include <string>
#include <vector>

namespace weft::sandbox {

// The wires of a sandbox, as a CNI and a data centre would lay them:
//
//   netns fabric    bridge fabric0 --- node-1, node-2, ..., control      172.31.0.0/24
//   netns node-n    eth0 172.31.0.(10+n); bridge cni0 10.244.n.1/24; lo holds the DNS address
//   netns pod       eth0 10.244.n.x/32, its default route through the node
//
// Pods reach each other through their nodes only, also on one node: the ports of cni0 are isolated
// from each other, so replies cannot go round the node's address translation. Nodes route to each
// other's pods; a pod's source address is kept. Nothing is connected to the machine's own network.
// Where the sandbox has IPv6, all but control has an address of it beside (layout.h), and the same
// routes.
Result<void> make_fabric(const Layout& layout, int nodes);
// Joins the namespace `netns` to the node's bridge with the addresses. `link` is the name of the
// end on the node, unique there (at most 15 bytes).
Result<void> join_pod(const Layout& layout, int node, const std::string& netns,
                      const std::vector<std::string>& ips, const std::string& link);

}  // namespace weft::sandbox
