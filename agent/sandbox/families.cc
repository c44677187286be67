#include "agent/sandbox/families.h"

#include <unistd.h>

#include <algorithm>

namespace weft::sandbox {

Result<Families> parse_families(std::string_view text) {
  if (text == "dual") return Families{.v4 = true, .v6 = true};
  if (text == "ipv4") return Families{.v4 = true, .v6 = false};
  if (text == "ipv6") return Families{.v4 = false, .v6 = true};
  return fail(Code::kInvalid,
              "IP families \"" + std::string(text) + "\": expected dual, ipv4 or ipv6");
}

std::string to_string(const Families& families) {
  if (families.v4 && families.v6) return "dual";
  return families.v4 ? "ipv4" : "ipv6";
}

Families default_families() {
  return {.v4 = true, .v6 = ::access("/proc/net/if_inet6", F_OK) == 0};
}

bool is_v6(std::string_view address) { return address.find(':') != std::string_view::npos; }

std::string address_of(const crd::core::Pod& pod, bool v6) {
  const auto& status = pod.status();
  if (!status.podip().empty() && is_v6(status.podip()) == v6) return status.podip();
  for (const auto& one : status.podips()) {
    if (!one.ip().empty() && is_v6(one.ip()) == v6) return one.ip();
  }
  return "";
}

std::vector<std::string> cluster_ips(const crd::core::Service& service) {
  std::vector<std::string> ips(service.spec().clusterips().begin(),
                               service.spec().clusterips().end());
  if (ips.empty()) ips.push_back(service.spec().clusterip());
  std::erase_if(ips, [](const std::string& ip) { return ip.empty() || ip == "None"; });
  return ips;
}

bool serves_family(const crd::core::Service& service, bool v6) {
  const auto& families = service.spec().ipfamilies();
  return families.empty() || std::ranges::find(families, v6 ? "IPv6" : "IPv4") != families.end();
}

}  // namespace weft::sandbox
