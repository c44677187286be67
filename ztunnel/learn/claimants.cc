#include "ztunnel/learn/claimants.h"

#include "ztunnel/learn/state.h"

#include <algorithm>
#include <tuple>

namespace weft::learn {
namespace {

bool precedes(const Service& one, const Service& other) {
  return std::tuple(!one.canonical, std::string_view(one.ns), std::string_view(one.hostname)) <
         std::tuple(!other.canonical, std::string_view(other.ns), std::string_view(other.hostname));
}

}  // namespace

void add_claimant(Claimants& claimants, std::shared_ptr<const Service> service) {
  const auto behind = std::ranges::find_if(
      claimants, [&](const auto& other) { return precedes(*service, *other); });
  claimants.insert(behind, std::move(service));
}

std::shared_ptr<const Service> claimant_for(const Claimants& claimants,
                                            std::string_view client_ns) {
  const std::shared_ptr<const Service>* first = nullptr;
  for (const auto& service : claimants) {
    if (service->ns == client_ns) return service;
    if (first == nullptr && !service->only_own_namespace) first = &service;
  }
  return first == nullptr ? nullptr : *first;
}

}  // namespace weft::learn
