#include "ztunnel/node/dns_names.h"

#include "ztunnel/learn/names.h"

#include <algorithm>
#include <array>

namespace weft::node {
namespace {

// "web.shop" or "web.shop.svc" within the cluster domain; empty where it is neither.
std::string expanded(std::string_view name, std::string_view cluster_domain) {
  const auto dots = std::ranges::count(name, '.');
  std::string full;
  if (dots == 1) {
    full.append(name).append(".svc.");
  } else if (dots == 2 && name.ends_with(".svc")) {
    full.append(name).append(".");
  } else {
    return full;
  }
  return full.append(cluster_domain);
}

// The name itself, and what it may stand for: a resolver that walks its search list asks for
// "example.com.shop.svc.cluster.local" and means example.com, and asks for
// "users.bank.shop.svc.cluster.local" and means users.bank. Only behind a search domain are two
// labels a service and its namespace: on their own they may be somebody's real domain.
std::vector<std::string> candidates(std::string_view name, std::string_view client_ns,
                                    std::string_view cluster_domain) {
  std::vector<std::string> result{std::string(name)};
  const auto add = [&result](std::string candidate) {
    if (!candidate.empty() && std::ranges::count(result, candidate) == 0) {
      result.push_back(std::move(candidate));
    }
  };
  if (name.ends_with(".svc")) add(expanded(name, cluster_domain));
  const std::string domain(cluster_domain);
  const std::array<std::string, 3> search{"." + std::string(client_ns) + ".svc." + domain,
                                          ".svc." + domain, "." + domain};
  for (const std::string& suffix : search) {
    if (!name.ends_with(suffix) || name.size() == suffix.size()) continue;
    const std::string_view stripped = name.substr(0, name.size() - suffix.size());
    add(std::string(stripped));
    add(expanded(stripped, cluster_domain));
  }
  return result;
}

std::optional<IpAddress> address_of_label(std::string_view label) {
  std::string text(label);
  const bool v4 = std::ranges::count(text, '-') == 3 && !text.contains("--");
  std::ranges::replace(text, '-', v4 ? '.' : ':');
  const auto address = IpAddress::parse(text);
  if (!address) return std::nullopt;
  return *address;
}

std::shared_ptr<const learn::Workload> find_pod(const learn::State& state,
                                                const learn::Service& service,
                                                std::string_view label) {
  const std::string key = service.ns + "/" + service.hostname;
  const auto is_endpoint = [&](const std::shared_ptr<const learn::Workload>& pod) {
    return pod != nullptr && pod->services.contains(key);
  };
  const auto& pods = state.names().pods(label, service);
  const auto named = std::ranges::find_if(pods, is_endpoint);
  if (named != pods.end()) return *named;
  const std::optional<IpAddress> address = address_of_label(label);
  if (!address) return nullptr;
  auto by_ip = state.workload_by_ip(*address);
  return is_endpoint(by_ip) ? by_ip : nullptr;
}

std::optional<DnsMeaning> find_exactly(const learn::State& state, std::string_view client_ns,
                                       const std::string& name) {
  if (auto service = state.names().service(name, client_ns)) {
    return DnsMeaning{name, std::move(service), nullptr};
  }
  const size_t dot = name.find('.');
  if (dot == std::string::npos) return std::nullopt;
  const std::string_view view = name;
  auto service = state.names().service(view.substr(dot + 1), client_ns);
  if (!service || !is_headless(*service)) return std::nullopt;
  auto pod = find_pod(state, *service, view.substr(0, dot));
  if (!pod) return std::nullopt;
  return DnsMeaning{name, std::move(service), std::move(pod)};
}

// The longest wildcard that covers the name.
std::optional<DnsMeaning> find_wildcard(const learn::State& state, std::string_view client_ns,
                                        const std::string& name) {
  for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
    std::string wildcard = "*";
    wildcard.append(name, dot);
    if (auto service = state.names().service(wildcard, client_ns)) {
      return DnsMeaning{name, std::move(service), nullptr};
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<DnsMeaning> find_dns_name(const learn::State& state, std::string_view cluster_domain,
                                        std::string_view client_ns, std::string_view name) {
  const std::vector<std::string> all = candidates(name, client_ns, cluster_domain);
  for (const std::string& candidate : all) {
    if (auto found = find_exactly(state, client_ns, candidate)) return found;
  }
  for (const std::string& candidate : all) {
    if (auto found = find_wildcard(state, client_ns, candidate)) return found;
  }
  return std::nullopt;
}

bool is_shown(const learn::Service& service, const learn::Workload& endpoint) {
  return !endpoint.other_network && (endpoint.healthy || service.balancing.unready_too);
}

bool is_headless(const learn::Service& service) {
  return service.vips.empty() && service.vip_ranges.empty() && service.external_name.empty();
}

std::string endpoint_label(const learn::Service& service, const learn::Workload& endpoint,
                           const IpAddress& address) {
  if (!endpoint.pod_hostname.empty() && endpoint.pod_subdomain == service.name &&
      endpoint.ns == service.ns) {
    return endpoint.pod_hostname;
  }
  std::string label = address.to_string();
  std::ranges::replace_if(label, [](char c) { return c == '.' || c == ':'; }, '-');
  return label;
}

}  // namespace weft::node
