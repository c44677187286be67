#include "agent/sandbox/network.h"

#include "agent/sandbox/netns.h"
#include "agent/sandbox/spawn.h"

#include <cstdio>

namespace weft::sandbox {

namespace {

Result<void> ip_batch(const Fd& netns, const std::string& commands) {
  TRY(run_tool({"ip", "-batch", "-"}, {.netns_fd = netns.get(), .input = commands}));
  return {};
}

// A bridge takes the lowest address of its ports unless it has one of its own: what pods remember
// of their gateway would then change whenever a pod comes or goes.
std::string bridge_address(int node) {
  char text[18];
  std::snprintf(text, sizeof text, "02:57:00:00:00:%02x", static_cast<unsigned>(node));
  return text;
}

// Where br_netfilter is loaded, a bridge would translate addresses itself and pass a packet on from
// port to port, past the node's routing. The file is not there where it is not loaded.
Result<void> let_bridges_alone(const Fd& netns) {
  auto done = set_sysctls(netns.get(), {{"bridge/bridge-nf-call-iptables", "0"},
                                        {"bridge/bridge-nf-call-ip6tables", "0"}});
  if (!done && done.error().code == Code::kNotFound) return {};
  return done;
}

Result<void> make_control(const Layout& layout, int nodes) {
  TRY(add_netns(layout.netns("control")));
  const Fd fabric = TRY(open_netns(layout.netns("fabric")));
  TRY(ip_batch(fabric, "link add control type veth peer name eth0 netns " +
                           layout.netns("control") + "\nlink set control master fabric0 up\n"));
  std::string commands =
      "link set lo up\naddr add " + std::string(kControlIp) + "/24 dev eth0\nlink set eth0 up\n";
  for (int node = 1; node <= nodes; ++node) {
    commands += "route add " + pod_ip(node, 0) + "/24 via " + node_ip(node) + "\n";
  }
  return ip_batch(TRY(open_netns(layout.netns("control"))), commands);
}

// Addresses are made by us and unique: they need no duplicate address detection, during which they
// could not be used for a second.
std::string node_commands_v6(int node, int nodes) {
  std::string commands = "addr add " + node_ip_v6(node) + "/64 dev eth0 nodad\naddr add " +
                         pod_ip_v6(node, kGatewayHost) + "/64 dev cni0 nodad\naddr add " +
                         std::string(kDnsIpV6) + "/128 dev lo nodad\nroute add " +
                         std::string(kServiceCidrV6) + " dev cni0\n";
  for (int other = 1; other <= nodes; ++other) {
    if (other == node) continue;
    commands += "route add " + pod_ip_v6(other, 0) + "/64 via " + node_ip_v6(other) + "\n";
  }
  return commands;
}

Result<void> make_node(const Layout& layout, int node, int nodes) {
  const std::string netns = layout.netns(node_name(node));
  TRY(add_netns(netns));
  const Fd fabric = TRY(open_netns(layout.netns("fabric")));
  TRY(ip_batch(fabric, "link add " + node_name(node) + " type veth peer name eth0 netns " + netns +
                           "\nlink set " + node_name(node) + " master fabric0 up\n"));
  std::string commands = "link set lo up\naddr add " + node_ip(node) +
                         "/24 dev eth0\nlink set eth0 up\n"
                         "link add cni0 address " +
                         bridge_address(node) + " type bridge\naddr add " + gateway_ip(node) +
                         "/24 dev cni0\nlink set cni0 up\naddr add " + std::string(kDnsIp) +
                         "/32 dev lo\n"
                         // So that an address without endpoints reaches the rule that refuses it.
                         "route add " +
                         std::string(kServiceCidr) + " dev cni0\n";
  for (int other = 1; other <= nodes; ++other) {
    if (other == node) continue;
    commands += "route add " + pod_ip(other, 0) + "/24 via " + node_ip(other) + "\n";
  }
  if (layout.families().v6) commands += node_commands_v6(node, nodes);
  const Fd inside = TRY(open_netns(netns));
  TRY(ip_batch(inside, commands));
  TRY(let_bridges_alone(inside));
  if (layout.families().v6) TRY(set_sysctls(inside.get(), {{"ipv6/conf/all/forwarding", "1"}}));
  return set_sysctls(inside.get(), {{"ipv4/ip_forward", "1"},
                                    {"ipv4/conf/all/send_redirects", "0"},
                                    {"ipv4/conf/default/send_redirects", "0"},
                                    {"ipv4/conf/cni0/send_redirects", "0"},
                                    {"ipv4/conf/eth0/send_redirects", "0"},
                                    {"ipv4/conf/all/rp_filter", "0"}});
}

}  // namespace

Result<void> make_fabric(const Layout& layout, int nodes) {
  TRY(add_netns(layout.netns("fabric")));
  const Fd fabric = TRY(open_netns(layout.netns("fabric")));
  auto made =
      ip_batch(fabric, "link set lo up\nlink add fabric0 type bridge\nlink set fabric0 up\n");
  if (!made) return Fail(std::move(made).error().in("does this kernel have bridge and veth?"));
  TRY(let_bridges_alone(fabric));
  for (int node = 1; node <= nodes; ++node) TRY(make_node(layout, node, nodes));
  return make_control(layout, nodes);
}

Result<void> join_pod(const Layout& layout, int node, const std::string& netns,
                      const std::vector<std::string>& ips, const std::string& link) {
  const Fd on_node = TRY(open_netns(layout.netns(node_name(node))));
  TRY(ip_batch(on_node, "link add " + link + " type veth peer name eth0 netns " + netns +
                            "\nlink set " + link + " master cni0 up\nlink set " + link +
                            " type bridge_slave isolated on\n"));
  const Fd inside = TRY(open_netns(netns));
  std::string commands = "link set lo up\nlink set eth0 up\n";
  for (const std::string& ip : ips) {
    const bool v6 = is_v6(ip);
    const std::string gateway = v6 ? pod_ip_v6(node, kGatewayHost) : gateway_ip(node);
    commands += "addr add " + ip + (v6 ? "/128 dev eth0 nodad\n" : "/32 dev eth0\n");
    commands += "route add " + gateway + " dev eth0" + (v6 ? "\n" : " scope link\n");
    commands += "route add default via " + gateway + " dev eth0\n";
  }
  TRY(ip_batch(inside, commands));
  if (!layout.families().v6) return {};
  // A router sends redirects where two pods are on one link, and they are kept apart there.
  return set_sysctls(inside.get(), {{"ipv6/conf/eth0/accept_redirects", "0"}});
}

}  // namespace weft::sandbox
