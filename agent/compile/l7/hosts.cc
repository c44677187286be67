#include "agent/compile/l7/hosts.h"

#include "ztunnel/base/ip.h"

namespace weft::l7 {

std::string full_host(std::string_view host, const std::string& ns,
                      const std::string& cluster_domain) {
  if (host.ends_with('.')) host.remove_suffix(1);
  std::string lower(host);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (lower.empty() || lower == "*" || lower.contains('.') || IpAddress::parse(lower)) {
    return lower;
  }
  return lower + "." + ns + ".svc." + cluster_domain;
}

bool is_wildcard(std::string_view host) { return host.starts_with('*'); }

bool host_matches(std::string_view pattern, std::string_view host) {
  if (!is_wildcard(pattern)) return pattern == host;
  return host.size() >= pattern.size() && host.ends_with(pattern.substr(1));
}

bool is_more_specific(std::string_view pattern, std::string_view other) {
  if (is_wildcard(pattern) != is_wildcard(other)) return !is_wildcard(pattern);
  return pattern.size() > other.size();
}

}  // namespace weft::l7
