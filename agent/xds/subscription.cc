#include "agent/xds/subscription.h"

#include <algorithm>

namespace weft::xds {
namespace {

using envoy::service::discovery::v3::DeltaDiscoveryRequest;
using envoy::service::discovery::v3::DeltaDiscoveryResponse;

constexpr std::string_view kWildcard = "*";
// An Any's and a Resource's own fields, beside bytes, name and version.
constexpr size_t kResourceOverheadBytes = 100;

Text share(std::string_view text) { return std::make_shared<const std::string>(text); }

// The store's own copy of the name where it has one.
Text shared_name(std::string_view type, std::string_view name, const Store& store) {
  if (const Store::Table* table = store.table(type)) {
    const auto found = table->find(name);
    if (found != table->end()) return found->first;
  }
  return share(name);
}

// At most kNackBytesMax, and not in the middle of a UTF-8 sequence.
std::string cut(const std::string& text) {
  size_t size = std::min(text.size(), kNackBytesMax);
  while (size > 0 && size < text.size() && (text[size] & 0xc0) == 0x80) --size;
  return text.substr(0, size);
}

Result<void> check_bounds(const DeltaDiscoveryRequest& request) {
  for (const auto* names :
       {&request.resource_names_subscribe(), &request.resource_names_unsubscribe()}) {
    for (const auto& name : *names) {
      if (name.size() > kNameBytesMax) {
        return fail(Code::kLimit,
                    "a resource name has at most " + std::to_string(kNameBytesMax) + " bytes");
      }
    }
  }
  return {};
}

}  // namespace

void fill(const Batch& batch, DeltaDiscoveryResponse& response) {
  const std::string type_url = std::string(kTypeUrlPrefix) + batch.type;
  response.set_type_url(type_url);
  response.set_nonce(batch.nonce);
  for (const auto& [name, entry] : batch.resources) {
    auto* resource = response.add_resources();
    resource->set_name(*name);
    resource->set_version(*entry->version);
    resource->mutable_resource()->set_type_url(type_url);
    resource->mutable_resource()->set_value(entry->bytes);
  }
  for (const auto& name : batch.removed) response.add_removed_resources(*name);
}

Result<Subscription::Answer> Subscription::take(const DeltaDiscoveryRequest& request,
                                                const Store& store) {
  TRY(check_bounds(request));
  std::string_view type_name = request.type_url();
  if (!type_name.starts_with(kTypeUrlPrefix) || type_name.size() > kNameBytesMax) {
    return fail(Code::kInvalid,
                "expected a type_url that begins with " + std::string(kTypeUrlPrefix));
  }
  type_name.remove_prefix(kTypeUrlPrefix.size());
  auto found = types_.find(type_name);
  const bool is_first = found == types_.end();
  if (is_first && types_.size() >= kTypesMax) {
    return fail(Code::kLimit,
                "a stream subscribes to at most " + std::to_string(kTypesMax) + " types");
  }
  if (is_first) found = types_.emplace(type_name, Type()).first;
  Type& type = found->second;

  Answer answer;
  answer.type = type_name;
  answer.is_new_unknown_type =
      is_first && type_name != kAuthorizationType && type_name != kAddressType;
  if (!is_first && !type.in_flight.empty() && request.response_nonce() == type.in_flight) {
    answer.nacked = request.has_error_detail();
    answer.acked = !answer.nacked;
    answer.nonce = std::exchange(type.in_flight, {});
    type.in_flight_first = kNever;
    std::vector<Text> names = std::exchange(type.in_flight_names, {});
    if (answer.nacked) {
      answer.reason = cut(request.error_detail().message());
      answer.refused = std::move(names);
    }
  }
  TRY(subscribe(type, type_name, request, is_first, store));
  return answer;
}

Result<void> Subscription::subscribe(Type& type, std::string_view type_name,
                                     const DeltaDiscoveryRequest& request, bool is_first,
                                     const Store& store) {
  const uint64_t now = store.sequence();
  const auto& names = request.resource_names_subscribe();
  const auto& versions = request.initial_resource_versions();
  if (is_first) {
    for (const auto& [name, version] : versions) {
      if (name.size() > kNameBytesMax || type.known.size() >= kNamesMax) {
        return fail(Code::kLimit, "initial_resource_versions has too many or too long names");
      }
      const Text shared = shared_name(type_name, name, store);
      const auto entry = store.find(type_name, name);
      const bool same = entry && *entry->version == version;
      type.known.emplace(shared, same ? entry->version : share(version));
      type.changes.emplace(shared, Change{now, now});
    }
  }
  const bool asks_all = (is_first && names.empty()) || std::ranges::count(names, kWildcard) > 0;
  if (asks_all && !type.wildcard) {
    type.wildcard = true;
    if (const Store::Table* table = store.table(type_name)) {
      for (const auto& [name, entry] : *table) type.changes.emplace(name, Change{now, now});
    }
  }
  for (const auto& name : names) {
    if (name == kWildcard) continue;
    if (type.names.size() >= kNamesMax) {
      return fail(Code::kLimit, "a stream subscribes to at most " + std::to_string(kNamesMax) +
                                    " names of a type");
    }
    type.names.insert(name);
    // The client may have dropped what it had, so it is sent again; not where it just said what it
    // has.
    if (!is_first || !versions.contains(name)) {
      if (const auto known = type.known.find(name); known != type.known.end()) {
        type.known.erase(known);
      }
    }
    Change& change = type.changes[shared_name(type_name, name, store)];
    change = {change.last == 0 ? now : change.first, now, true};
  }
  for (const auto& name : request.resource_names_unsubscribe()) {
    unsubscribe(type, name, type_name, store);
  }
  if (is_first && !type.wildcard) forget_unsubscribed(type);
  return {};
}

// What is not subscribed by name is of no interest once there is no wildcard.
void Subscription::forget_unsubscribed(Type& type) {
  const auto is_other = [&](const auto& one) { return !type.names.contains(*one.first); };
  std::erase_if(type.known, is_other);
  std::erase_if(type.changes, is_other);
}

void Subscription::unsubscribe(Type& type, std::string_view name, std::string_view type_name,
                               const Store& store) {
  const auto drop = [&](auto& map, std::string_view key) {
    if (const auto found = map.find(key); found != map.end()) map.erase(found);
  };
  if (name == kWildcard) {
    type.wildcard = false;
    forget_unsubscribed(type);
    return;
  }
  const auto found = type.names.find(name);
  if (found == type.names.end()) return;
  type.names.erase(found);
  drop(type.known, name);
  drop(type.changes, name);
  if (!type.wildcard) return;
  // Still covered by the wildcard: the client has to hear whether it keeps it.
  const uint64_t now = store.sequence();
  type.changes.emplace(shared_name(type_name, name, store), Change{now, now, true});
}

void Subscription::mark(std::string_view type_name, const Text& name, uint64_t sequence,
                        bool removed) {
  const auto found = types_.find(type_name);
  if (found == types_.end()) return;
  Type& type = found->second;
  if (!type.wildcard && !type.names.contains(*name)) return;
  const auto change = type.changes.try_emplace(name, Change{sequence, sequence}).first;
  change->second.last = sequence;
  // Without this, pods that come and go would fill the queue of a client that does not read.
  if (removed && !change->second.forced && !type.known.contains(*name)) type.changes.erase(change);
}

void Subscription::settle(Type& type, std::string_view type_name, const Store& store) {
  std::erase_if(type.changes, [&](const auto& one) {
    const auto& [name, change] = one;
    if (change.forced && !type.known.contains(*name)) return false;
    const auto entry = store.find(type_name, *name);
    const auto known = type.known.find(*name);
    if (known == type.known.end()) return entry == nullptr;
    return entry != nullptr && *known->second == *entry->version;
  });
}

uint64_t Subscription::lowest(const Type& type, std::string_view type_name, const Store& store,
                              bool count_removals) {
  if (type.first_pending) return 0;
  uint64_t lowest = type.in_flight_first;
  for (const auto& [name, change] : type.changes) {
    if (change.first < lowest && (count_removals || store.find(type_name, *name) != nullptr)) {
      lowest = change.first;
    }
  }
  return lowest;
}

// Changes whose latest update has a lower number than this may go out.
uint64_t Subscription::limit_for(std::string_view type_name, bool removal,
                                 const Store& store) const {
  const bool waits = type_name == kAddressType || (type_name == kAuthorizationType && removal);
  if (!waits) return kNever;
  const bool for_policies = type_name == kAddressType;
  const auto other = types_.find(for_policies ? kAuthorizationType : kAddressType);
  if (other == types_.end()) return kNever;
  return lowest(other->second, other->first, store, !for_policies);
}

std::optional<Batch> Subscription::next_of(Type& type, const std::string& type_name,
                                           const Store& store) {
  if (!type.in_flight.empty()) return std::nullopt;
  const uint64_t limit = limit_for(type_name, false, store);
  const uint64_t removal_limit = limit_for(type_name, true, store);
  if (type.first_pending) {
    // The first one is complete or not yet due.
    if (limit == 0) return std::nullopt;
    const bool blocked = std::ranges::any_of(
        type.changes, [&](const auto& one) { return one.second.last >= limit; });
    if (blocked) return std::nullopt;
  }
  Batch batch;
  batch.type = type_name;
  uint64_t first = kNever;
  size_t bytes = 0;
  for (auto one = type.changes.begin(); one != type.changes.end();) {
    const auto& [name, change] = *one;
    const auto entry = store.find(type_name, *name);
    if (change.last >= (entry ? limit : removal_limit)) {
      ++one;
      continue;
    }
    if (bytes >= kResponseBytesMax && !type.first_pending) break;
    bytes += name->size() + kResourceOverheadBytes + (entry ? entry->bytes.size() : 0);
    // Nobody waits for an Authorization's removal.
    if (entry || type_name != kAuthorizationType) first = std::min(first, change.first);
    if (entry) {
      type.known.insert_or_assign(name, entry->version);
      batch.resources.emplace_back(name, entry);
    } else {
      if (const auto known = type.known.find(*name); known != type.known.end()) {
        type.known.erase(known);
      }
      batch.removed.push_back(name);
    }
    type.in_flight_names.push_back(name);
    one = type.changes.erase(one);
  }
  if (!type.first_pending && batch.resources.empty() && batch.removed.empty()) return std::nullopt;
  batch.nonce = std::to_string(++nonce_);
  type.first_pending = false;
  type.in_flight = batch.nonce;
  type.in_flight_first = first;
  return batch;
}

std::optional<Batch> Subscription::next(const Store& store) {
  for (auto& [name, type] : types_) settle(type, name, store);
  // "istio.security.Authorization" comes before "istio.workload.Address"; any order would be right.
  for (auto& [name, type] : types_) {
    if (auto batch = next_of(type, name, store)) return batch;
  }
  return std::nullopt;
}

size_t Subscription::queued() const {
  size_t queued = 0;
  for (const auto& [name, type] : types_) queued += type.changes.size();
  return queued;
}

}  // namespace weft::xds
