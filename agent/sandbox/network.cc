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
  const Fd inside = TRY(open_netns(netns));
  TRY(ip_batch(inside, commands));
  TRY(let_bridges_alone(inside));
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
                      const std::string& ip, const std::string& link) {
  const Fd on_node = TRY(open_netns(layout.netns(node_name(node))));
  TRY(ip_batch(on_node, "link add " + link + " type veth peer name eth0 netns " + netns +
                            "\nlink set " + link + " master cni0 up\nlink set " + link +
                            " type bridge_slave isolated on\n"));
  const Fd inside = TRY(open_netns(netns));
  return ip_batch(inside, "link set lo up\naddr add " + ip + "/32 dev eth0\nlink set eth0 up\n" +
                              "route add " + gateway_ip(node) + " dev eth0 scope link\n" +
                              "route add default via " + gateway_ip(node) + " dev eth0\n");
}

}  // namespace weft::sandbox
