#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/base/result.h"

#include <string>

// Rules and routes of a pod, by rtnetlink. Every call is for a thread that is inside the pod's
// network namespace (in_netns), and changes nothing where things already are as asked.

namespace weft::enrol {

// The interface that holds `address`; kNotFound where none does (yet).
Result<std::string> interface_with(const IpAddress& address);

// Sends what carries one of our marks back into the pod, over lo:
//   ip rule add pref 53 fwmark 0x53a lookup 100     (and 0x539)
//   ip route replace local default dev lo src <pod address> table 100
// Without src the kernel takes the destination as the source, and connect(2) fails (measured).
Result<void> add_loop_routes(const IpAddress& pod_address);
Result<void> remove_loop_routes(const IpAddress& pod_address);

}  // namespace weft::enrol
