#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <cstdint>
#include <map>
#include <set>
#include <vector>

namespace weft::enrol {

// Gets listeners back after the agent was killed. ztunnel holds copies of them, and the kernel
// knows the very sockets: their cookies are in the pinned SOCKMAP. So the next agent takes them out
// of ztunnel's descriptor table (pidfd_getfd, Linux 5.6) instead of opening others and swapping:
// nothing that queues in them is lost, and ztunnel need not notice.
//
// Looks only into processes whose cgroup is one of `proxy_cgroups` (ids). What could not be found
// (ztunnel is gone too, so the slot is empty) is not in the answer.
std::map<uint64_t, Fd> recover_sockets(const std::set<uint64_t>& cookies,
                                       const std::vector<uint64_t>& proxy_cgroups);

}  // namespace weft::enrol
