#include "ztunnel/learn/vips.h"

#include "ztunnel/learn/state.h"

#include <algorithm>

namespace weft::learn {
namespace {

bool is_whole_address(const Cidr& range) {
  return range.length() == (range.address().is_v4() ? 32U : 128U);
}

}  // namespace

void VipTable::add(const Cidr& range, std::shared_ptr<const Service> service) {
  Claimants& claimants = claims_[range];
  const bool is_new = claimants.empty();
  add_claimant(claimants, std::move(service));
  if (!is_new || is_whole_address(range)) return;
  const bool v4 = range.address().is_v4();
  const auto known = std::ranges::find_if(lengths_, [&](const Length& length) {
    return length.v4 == v4 && length.bits == range.length();
  });
  if (known != lengths_.end()) {
    ++known->count;
    return;
  }
  const auto shorter = std::ranges::find_if(
      lengths_, [&](const Length& length) { return length.bits < range.length(); });
  lengths_.insert(shorter, {v4, range.length(), 1});
}

void VipTable::remove(const Cidr& range, const std::shared_ptr<const Service>& service) {
  if (!claims_.contains(range)) return;
  Claimants& claimants = claims_[range];
  if (std::erase(claimants, service) == 0 || !claimants.empty()) return;
  claims_.erase(range);
  if (is_whole_address(range)) return;
  const bool v4 = range.address().is_v4();
  const auto length = std::ranges::find_if(
      lengths_, [&](const Length& one) { return one.v4 == v4 && one.bits == range.length(); });
  if (length != lengths_.end() && --length->count == 0) lengths_.erase(length);
}

std::shared_ptr<const Service> VipTable::find(const Cidr& range, std::string_view client_ns) const {
  const auto found = claims_.find(range);
  return found == claims_.end() ? nullptr : claimant_for(found->second, client_ns);
}

std::shared_ptr<const Service> VipTable::exact(const IpAddress& ip,
                                               std::string_view client_ns) const {
  const auto range = Cidr::make(ip, ip.is_v4() ? 32 : 128);
  return range ? find(*range, client_ns) : nullptr;
}

std::shared_ptr<const Service> VipTable::in_range(const IpAddress& ip,
                                                  std::string_view client_ns) const {
  const bool v4 = ip.is_v4();
  for (const Length& length : lengths_) {
    if (length.v4 != v4) continue;
    const auto range = Cidr::make(ip, length.bits);
    if (!range) continue;
    if (auto service = find(*range, client_ns)) return service;
  }
  return nullptr;
}

}  // namespace weft::learn
