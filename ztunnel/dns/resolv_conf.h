#pragma once

#include "ztunnel/base/ip.h"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace weft::dns {

// What of resolv.conf(5) a client of absolute names needs. The rest is passed over, and so is what
// cannot be read, as the C library does.
struct ResolvConf {
  static constexpr size_t kServersMax = 3;  // resolv.conf(5): MAXNS
  std::vector<IpAddress> servers;           // none named: 127.0.0.1, as for the C library
  std::chrono::milliseconds timeout{5000};  // for one server, before the next is asked; 1 to 30 s
  int attempts = 2;                         // rounds over all servers; 1 to 5
};

ResolvConf parse_resolv_conf(std::string_view text);
// A file that cannot be read is an empty one.
ResolvConf read_resolv_conf(const std::string& path);

}  // namespace weft::dns
