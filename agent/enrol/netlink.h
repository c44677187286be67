#pragma once

#include "agent/enrol/pod_addresses.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/base/result.h"

#include <string>

// Rules and routes of a pod, by rtnetlink. Every call is for a thread that is inside the pod's
// network namespace (in_netns), and changes nothing where things already are as asked.

namespace weft::enrol {

// The interface that holds `address`; kNotFound where none does (yet).
Result<std::string> interface_with(const IpAddress& address);

// Sends what carries one of our marks back into the pod, over lo:
//   ip rule add pref 53 fwmark 0x53a/0xffff lookup 100     (and 0x539)
//   ip route replace local default dev lo src <pod address> table 100
// for both families, also for one of which the pod has no address: what is neither is not to slip
// past. Without src the kernel takes an IPv4 destination as the source, and connect(2) fails
// (measured). Where the pod has no IPv6 at all (switched off by sysctl, or in the kernel) there is
// nothing to route, which is an error only if it has an IPv6 address.
Result<void> add_loop_routes(const PodAddresses& pod);
Result<void> remove_loop_routes();

// Whether the pod's marked datagrams to port 53 come to the DNS sockets; without these rules they
// go to the resolver as ever:
//   ip rule add pref 53 fwmark 0x53c ipproto udp dport 53 lookup 100
Result<void> add_dns_rules();
Result<void> remove_dns_rules();

}  // namespace weft::enrol
