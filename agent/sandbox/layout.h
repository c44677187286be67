#pragma once

#include "agent/objects/object.h"
#include "agent/sandbox/families.h"
#include "ztunnel/base/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace weft::sandbox {

// Where everything of one sandbox is: files, network namespaces, cgroups, addresses. Pure naming;
// nothing is made or looked up here, except where cgroup2 is mounted.
//
// All addresses live in namespaces of the sandbox's own, so that two sandboxes do not collide.
class Layout {
 public:
  // kInvalid: a name that is not [a-z0-9]{1,20}. (No dash: "weft-<name>-" must be the prefix of
  // this sandbox's namespaces only.) kUnsupported: no cgroup2 is mounted.
  static Result<Layout> make(std::string_view name);

  const std::string& name() const { return name_; }
  const std::string& run() const { return run_; }  // /run/weft/sandbox/<name>
  std::string lock_file() const { return run_ + ".lock"; }
  std::string objects() const { return run_ + "/objects"; }
  std::string control() const { return run_ + "/control"; }
  std::string keys() const { return run_ + "/keys"; }
  std::string logs() const { return run_ + "/logs"; }
  std::string bpf() const { return run_ + "/bpf"; }
  // More flags for every ztunnel, one a line; not there: none.
  std::string control_flags_file() const { return run_ + "/control-flags"; }  // the same
  std::string ztunnel_flags_file() const { return run_ + "/ztunnel-flags"; }
  std::string resolv_conf() const { return run_ + "/resolv.conf"; }  // of every ztunnel
  std::string images_file() const { return run_ + "/images.yaml"; }
  std::string processes() const { return run_ + "/processes"; }
  std::string node(std::string_view node) const { return run_ + "/nodes/" + std::string(node); }
  std::string pod(std::string_view uid) const { return run_ + "/pods/" + std::string(uid); }
  std::string secrets(std::string_view uid) const { return pod(uid) + "/secrets"; }
  // logs/<process>.log: "control", "supervisor", "node-1-agent", "node-1-ztunnel".
  std::string process_log(std::string_view process) const;
  std::string container_log(std::string_view uid, std::string_view container) const;

  std::string netns_prefix() const { return "weft-" + name_ + "-"; }
  std::string netns(std::string_view part) const { return netns_prefix() + std::string(part); }
  // The prefix that names a pod's namespace for people, cut where a file name would be too long.
  std::string pod_netns(const crd::core::Pod& pod) const;

  const std::string& cgroup_mount() const { return cgroup_mount_; }
  const std::string& cgroup() const { return cgroup_; }  // <mount>/weft-<name>
  std::string node_cgroup(std::string_view node) const { return cgroup_ + "/" + std::string(node); }
  std::string kubelet_cgroup(std::string_view node) const { return node_cgroup(node) + "/kubelet"; }
  std::string pods_cgroup(std::string_view node) const { return node_cgroup(node) + "/pods"; }
  std::string pod_cgroup(std::string_view node, std::string_view uid) const {
    return pods_cgroup(node) + "/pod" + std::string(uid);
  }

  // The names of the nodes that `up` made, in order; empty where the sandbox is not there.
  std::vector<std::string> nodes() const;
  std::string families_file() const { return run_ + "/ip-families"; }
  // What `up` wrote there; IPv4 where it wrote nothing.
  Families families() const;

 private:
  std::string name_;
  std::string run_;
  std::string cgroup_mount_;
  std::string cgroup_;
};

// Three processes a node on one machine: more nodes than this would measure the machine, not Weft.
constexpr int kNodesMax = 16;
// Below 10.244.<n>.0/24: .1 is the gateway, .2 the ztunnel, pods follow.
constexpr int kGatewayHost = 1;
constexpr int kZtunnelHost = 2;
constexpr int kFirstPodHost = 3;
constexpr int kLastPodHost = 254;

constexpr std::string_view kPodCidr = "10.244.0.0/16";
constexpr std::string_view kServiceCidr = "10.96.0.0/16";
constexpr std::string_view kServiceCidrV6 = "fd00:10:96::/112";
constexpr std::string_view kDnsIp = "10.96.0.10";
constexpr std::string_view kDnsIpV6 = "fd00:10:96::a";
constexpr std::string_view kControlIp = "172.31.0.2";
constexpr int kControlPort = 15012;
constexpr std::string_view kControlName = "weft-control.istio-system.svc";
constexpr std::string_view kClusterDomain = "cluster.local";

// Nodes count from 1.
std::string node_name(int index);
int node_index(std::string_view node);  // 0: not a node's name
std::string node_ip(int index);
std::string gateway_ip(int index);
std::string ztunnel_ip(int index);
std::string pod_ip(int index, int host);

// The same in IPv6 (unique local, RFC 4193): nodes fd00:172:31::b and on, pods of node n below
// fd00:10:244:n::/64 with the same host number.
std::string node_ip_v6(int index);
std::string pod_ip_v6(int index, int host);
// Those that a pod has, the first one first.
std::vector<std::string> pod_ips(const Families& families, int index, int host);
// The Service address with this number, at most 0xffff.
std::string service_ip(bool v6, uint32_t number);

}  // namespace weft::sandbox
