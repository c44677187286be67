#include "agent/compile/vip_allocation.h"

#include "agent/compile/service_entry.h"

#include <algorithm>
#include <tuple>

namespace weft::compile {

namespace {

constexpr uint32_t kFirstV4 = 0xF0F00000;  // 240.240.0.0
constexpr const char* kAllocateLabel = "networking.istio.io/enable-autoallocate-ip";

uint32_t home_of(const std::string& key) {
  uint32_t hash = 2166136261U;
  for (const char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  hash ^= hash >> 15;
  return hash % VipAllocation::kPlacesMax;
}

IpAddress v6_of(uint32_t place) {
  std::string bytes = {0x20, 0x01, 0x00, 0x02};
  bytes.resize(14, '\0');
  bytes += static_cast<char>(place >> 8);
  bytes += static_cast<char>(place & 0xff);
  return *IpAddress::from_bytes(bytes);
}

}  // namespace

std::set<std::string> VipAllocation::update(Claims claims) {
  if (claims == claims_) return {};
  claims_ = std::move(claims);
  std::vector<std::pair<std::string_view, std::string_view>> ordered;  // claim, key
  for (const auto& [key, claim] : claims_) ordered.emplace_back(claim, key);
  std::ranges::sort(ordered);
  std::map<std::string, uint32_t> places;
  std::set<uint32_t> taken;
  for (const auto& [claim, key_view] : ordered) {
    if (taken.size() >= kPlacesMax) break;
    const std::string key(key_view);
    uint32_t place = home_of(key);
    while (!taken.insert(place).second) place = (place + 1) % kPlacesMax;
    places[key] = place + 1;
  }
  std::set<std::string> changed;
  for (const auto& [key, place] : places) {
    const auto before = places_.find(key);
    if (before == places_.end() || before->second != place) changed.insert(key);
  }
  for (const auto& [key, place] : places_) {
    if (!places.contains(key)) changed.insert(key);
  }
  places_ = std::move(places);
  return changed;
}

std::vector<Cidr> VipAllocation::of(const std::string& key) const {
  const auto found = places_.find(key);
  if (found == places_.end()) return {};
  return {*Cidr::make(IpAddress::v4(kFirstV4 + found->second), 32),
          *Cidr::make(v6_of(found->second), 128)};
}

bool wants_addresses(const crd::networking::ServiceEntry& entry) {
  using Spec = crd::networking::ServiceEntrySpec;
  return entry.spec().addresses().empty() && entry.spec().resolution() != Spec::NONE &&
         is_served(entry) && value_of(entry.metadata().labels(), kAllocateLabel) != "false";
}

VipAllocation::Claims vip_claims(const Store& store) {
  VipAllocation::Claims claims;
  for (const auto& [ns, entries] : store.service_entries.all()) {
    for (const auto& [name, entry] : entries) {
      if (!wants_addresses(*entry)) continue;
      for (const std::string& host : hosts_of(*entry)) {
        if (host.starts_with('*') || !addresses_given(*entry, host).empty()) continue;
        std::string claim = entry->metadata().creationtimestamp() + " " + ns + "/" + name;
        const auto [present, is_new] = claims.try_emplace(ns + "/" + host, claim);
        if (!is_new) present->second = std::min(present->second, claim);
      }
    }
  }
  return claims;
}

}  // namespace weft::compile
