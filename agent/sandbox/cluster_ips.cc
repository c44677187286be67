#include "agent/sandbox/cluster_ips.h"

#include "agent/sandbox/layout.h"
#include "ztunnel/base/ip.h"

#include <algorithm>

namespace weft::sandbox {

namespace {

using crd::core::Service;
using crd::core::ServiceSpec;

// Below 10.96.1.0 are addresses that people give themselves, and 10.96.0.10; in IPv6 likewise.
constexpr uint32_t kFirstNumber = 0x0100;
constexpr uint32_t kLastNumber = 0xfffe;

const char* name_of(bool v6) { return v6 ? "IPv6" : "IPv4"; }

Fail wrong(const std::string& what) { return fail(Code::kInvalid, what); }

// What the manifest itself says of this family; empty: nothing.
std::string written_ip(const ServiceSpec& spec, bool v6) {
  if (!spec.clusterip().empty() && is_v6(spec.clusterip()) == v6) return spec.clusterip();
  for (const std::string& ip : spec.clusterips()) {
    if (!ip.empty() && is_v6(ip) == v6) return ip;
  }
  return "";
}

}  // namespace

void ClusterIps::take(const Service& service) {
  for (const std::string& ip : cluster_ips(service)) taken_.insert(ip);
}

Result<std::vector<bool>> ClusterIps::families_of(const ServiceSpec& spec) const {
  std::vector<bool> v6s;
  for (const std::string& family : spec.ipfamilies()) {
    if (family != "IPv4" && family != "IPv6") {
      return wrong("spec.ipFamilies: expected IPv4 or IPv6, got \"" + family + "\"");
    }
    const bool v6 = family == "IPv6";
    if (std::ranges::find(v6s, v6) != v6s.end()) {
      return wrong("spec.ipFamilies: " + family + " is written twice");
    }
    if (!families_.has(v6)) {
      return wrong("spec.ipFamilies: the sandbox has no " + family +
                   ": start it with --ip-families dual");
    }
    v6s.push_back(v6);
  }
  const std::string& policy = spec.ipfamilypolicy();
  const bool single = policy.empty() || policy == "SingleStack";
  if (!single && policy != "PreferDualStack" && policy != "RequireDualStack") {
    return wrong("spec.ipFamilyPolicy: expected SingleStack, PreferDualStack or RequireDualStack");
  }
  if (single && v6s.size() > 1) {
    return wrong(
        "spec.ipFamilyPolicy: expected PreferDualStack or RequireDualStack for two "
        "families");
  }
  if (v6s.empty()) {
    const bool headless = spec.clusterip().empty() || spec.clusterip() == "None";
    v6s.push_back(headless ? !families_.v4 : is_v6(spec.clusterip()));
  }
  const bool other = !v6s.front();
  if (!single && v6s.size() == 1 && families_.has(other)) v6s.push_back(other);
  if (policy == "RequireDualStack" && v6s.size() < 2) {
    return wrong("spec.ipFamilyPolicy: RequireDualStack needs --ip-families dual");
  }
  return v6s;
}

Result<std::string> ClusterIps::ip_of_family(const std::string& name, const Service* present,
                                             const Service& service, bool v6) {
  const std::string_view range = v6 ? kServiceCidrV6 : kServiceCidr;
  const std::string_view dns = v6 ? kDnsIpV6 : kDnsIp;
  if (std::string written = written_ip(service.spec(), v6); !written.empty()) {
    const auto ip = IpAddress::parse(written);
    if (!families_.has(v6) || !ip || !Cidr::parse(range)->contains(*ip) || written == dns) {
      return wrong("spec.clusterIP: expected an address of " + std::string(range) + " other than " +
                   std::string(dns));
    }
    return written;
  }
  if (present != nullptr) {
    for (std::string& ip : cluster_ips(*present)) {
      if (is_v6(ip) == v6) return std::move(ip);
    }
  }
  std::string free = free_ip(name, v6);
  if (free.empty()) return wrong("spec.clusterIP: all addresses are taken");
  return free;
}

Result<void> ClusterIps::complete(const std::string& name, const Service* present,
                                  Service& service) {
  ServiceSpec& spec = *service.mutable_spec();
  if (spec.type() == "ExternalName") return {};
  const std::vector<bool> v6s = TRY(families_of(spec));
  const bool headless = spec.clusterip() == "None";
  std::vector<std::string> ips;
  if (headless) ips.emplace_back("None");
  for (size_t i = 0; !headless && i < v6s.size(); ++i) {
    ips.push_back(TRY(ip_of_family(name, present, service, v6s[i])));
  }
  spec.set_clusterip(ips.front());
  spec.mutable_clusterips()->Assign(ips.begin(), ips.end());
  spec.clear_ipfamilies();
  for (const bool v6 : v6s) spec.add_ipfamilies(name_of(v6));
  if (spec.ipfamilypolicy().empty()) spec.set_ipfamilypolicy("SingleStack");
  return {};
}

// By the service's name, so that it tends to get the same one in every sandbox.
std::string ClusterIps::free_ip(const std::string& name, bool v6) {
  const uint32_t count = kLastNumber - kFirstNumber + 1;
  uint32_t hash = 2166136261U;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  for (uint32_t tries = 0; tries < count; ++tries) {
    std::string ip = service_ip(v6, kFirstNumber + (hash + tries) % count);
    if (taken_.insert(ip).second) return ip;
  }
  return "";
}

}  // namespace weft::sandbox
