#pragma once

#include "ztunnel/base/result.h"

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace weft::enrol {

// Where a kubelet serves the API server (KubeletConfiguration.port). Its process is found by that
// and not by its name: in k3s and microk8s it is a part of another program, and a name anybody may
// have.
constexpr uint16_t kKubeletPort = 10250;

// Inode numbers of the sockets that listen on a port, in the text of /proc/net/tcp or tcp6. Pure.
std::set<uint64_t> listening_inodes(std::string_view table, uint16_t port);

// The process that listens on the port in this process's network namespace. Looks through all of
// /proc (tens of milliseconds on a full node). kNotFound: nobody does, or its process is not
// visible here.
Result<pid_t> find_listener(uint16_t port);

}  // namespace weft::enrol
