#include "ztunnel/learn/names.h"

#include "ztunnel/learn/state.h"

#include <algorithm>

namespace weft::learn {
namespace {

std::string lower(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return result;
}

std::string pod_key(std::string_view hostname, std::string_view subdomain, std::string_view ns) {
  std::string key = lower(hostname);
  key += '.';
  key += lower(subdomain);
  key += '.';
  key += ns;
  return key;
}

}  // namespace

void NameTable::add(std::shared_ptr<const Service> service) {
  Claimants& claimants = services_[lower(service->hostname)];
  add_claimant(claimants, std::move(service));
}

void NameTable::remove(const std::shared_ptr<const Service>& service) {
  const std::string name = lower(service->hostname);
  if (!services_.contains(name)) return;
  Claimants& claimants = services_[name];
  std::erase(claimants, service);
  if (claimants.empty()) services_.erase(name);
}

void NameTable::add(std::shared_ptr<const Workload> workload) {
  if (workload->pod_hostname.empty() || workload->pod_subdomain.empty()) return;
  const std::string key = pod_key(workload->pod_hostname, workload->pod_subdomain, workload->ns);
  pods_[key].push_back(std::move(workload));
}

void NameTable::remove(const std::shared_ptr<const Workload>& workload) {
  if (workload->pod_hostname.empty() || workload->pod_subdomain.empty()) return;
  const std::string key = pod_key(workload->pod_hostname, workload->pod_subdomain, workload->ns);
  if (!pods_.contains(key)) return;
  Pods& pods = pods_[key];
  std::erase(pods, workload);
  if (pods.empty()) pods_.erase(key);
}

std::shared_ptr<const Service> NameTable::service(std::string_view host,
                                                  std::string_view client_ns) const {
  const auto found = services_.find(host);
  return found == services_.end() ? nullptr : claimant_for(found->second, client_ns);
}

const NameTable::Pods& NameTable::pods(std::string_view hostname, const Service& subdomain) const {
  static const Pods kNone;
  const auto found = pods_.find(pod_key(hostname, subdomain.name, subdomain.ns));
  return found == pods_.end() ? kNone : found->second;
}

}  // namespace weft::learn
