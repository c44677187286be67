#include "agent/xds/subscription.h"

#include <algorithm>

namespace weft::xds {
namespace {

using envoy::service::discovery::v3::DeltaDiscoveryRequest;

constexpr std::string_view kWildcard = "*";

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
  answer.is_new_unknown_type = is_first && type_name != kAuthorizationType &&
                               type_name != kAddressType &&
                               !type_name.starts_with(kWaypointTypesPrefix);
  if (!is_first && !type.in_flight.empty() && request.response_nonce() == type.in_flight) {
    answer.nacked = request.has_error_detail();
    answer.acked = !answer.nacked;
    answer.nonce = std::exchange(type.in_flight, {});
    type.in_flight_first = kNever;
    std::vector<Text> names = std::exchange(type.in_flight_names, {});
    if (answer.nacked) {
      answer.reason = cut(request.error_detail().message());
      answer.refused = std::move(names);
      answer.refused_count = type.in_flight_count;
    }
  }
  TRY(subscribe(type, type_name, request, is_first, store));
  return answer;
}

// What a client that comes back has: only what differs is remembered.
Result<void> Subscription::take_versions(Type& type, std::string_view type_name,
                                         const DeltaDiscoveryRequest& request, const Store& store) {
  const auto& versions = request.initial_resource_versions();
  if (versions.size() > kNamesMax) {
    return fail(Code::kLimit, "initial_resource_versions has too many names");
  }
  const uint64_t now = store.sequence();
  for (const auto& [name, version] : versions) {
    if (!may_see(type_name, name)) continue;
    if (name.size() > kNameBytesMax) {
      return fail(Code::kLimit, "initial_resource_versions has too long names");
    }
    const auto entry = store.find(type_name, name);
    if (entry && *entry->version == version) continue;
    type.changes.emplace(shared_name(type_name, name, store),
                         Change{now, now, false, share(version)});
  }
  return {};
}

void Subscription::want_all(Type& type, std::string_view type_name,
                            const DeltaDiscoveryRequest& request, bool is_first,
                            const Store& store) {
  type.wildcard = true;
  const auto& versions = request.initial_resource_versions();
  type.first_is_all = is_first && versions.empty() && !type_name.starts_with(kWaypointTypesPrefix);
  const Store::Table* table = store.table(type_name);
  if (type.first_is_all || table == nullptr) return;
  const uint64_t now = store.sequence();
  for (const auto& [name, entry] : *table) {
    const bool has_some = is_first ? versions.contains(*name) : type.names.contains(*name);
    if (!has_some && may_see(type_name, *name)) type.changes.emplace(name, Change{now, now});
  }
}

Result<void> Subscription::subscribe(Type& type, std::string_view type_name,
                                     const DeltaDiscoveryRequest& request, bool is_first,
                                     const Store& store) {
  const uint64_t now = store.sequence();
  const auto& names = request.resource_names_subscribe();
  const auto& versions = request.initial_resource_versions();
  if (is_first) {
    type.since = now;
    TRY(take_versions(type, type_name, request, store));
  }
  const bool asks_all = (is_first && names.empty()) || std::ranges::count(names, kWildcard) > 0;
  if (asks_all && !type.wildcard) want_all(type, type_name, request, is_first, store);
  for (const auto& name : names) {
    if (name == kWildcard || !may_see(type_name, name)) continue;
    if (type.names.size() >= kNamesMax) {
      return fail(Code::kLimit, "a stream subscribes to at most " + std::to_string(kNamesMax) +
                                    " names of a type");
    }
    type.names.insert(name);
    // The client may have dropped what it had, so it is sent again; not where it just said what it
    // has.
    const bool said = is_first && versions.contains(name);
    const Text shared = shared_name(type_name, name, store);
    if (said && !type.changes.contains(shared)) continue;  // it has the latest
    Change& change = type.changes[shared];
    change = {change.last == 0 ? now : change.first, now, true, said ? change.known : nullptr};
  }
  for (const auto& name : request.resource_names_unsubscribe()) {
    unsubscribe(type, name, type_name, store);
  }
  if (is_first && !type.wildcard) forget_unsubscribed(type);
  return {};
}

// What is not subscribed by name is of no interest once there is no wildcard.
void Subscription::forget_unsubscribed(Type& type) {
  std::erase_if(type.changes, [&](const auto& one) { return !type.names.contains(*one.first); });
}

void Subscription::unsubscribe(Type& type, std::string_view name, std::string_view type_name,
                               const Store& store) {
  if (name == kWildcard) {
    type.wildcard = false;
    type.first_is_all = false;
    forget_unsubscribed(type);
    return;
  }
  const auto found = type.names.find(name);
  if (found == type.names.end()) return;
  type.names.erase(found);
  if (const auto change = type.changes.find(name); change != type.changes.end()) {
    type.changes.erase(change);
  }
  if (!type.wildcard) return;
  // Still covered by the wildcard: the client has to hear whether it keeps it.
  const uint64_t now = store.sequence();
  type.changes.emplace(shared_name(type_name, name, store), Change{now, now, true});
}

void Subscription::mark(const Store::Changed& changed, uint64_t sequence) {
  const auto found = types_.find(changed.type);
  if (found == types_.end()) return;
  Type& type = found->second;
  if (type.first_is_all && type.first_pending) return;  // it will be in it as it is then
  if (!type.wildcard && !type.names.contains(*changed.name)) return;
  if (!may_see(changed.type, *changed.name)) return;
  const auto change =
      type.changes.try_emplace(changed.name, Change{sequence, sequence, false, changed.before})
          .first;
  change->second.last = sequence;
  // Without this, pods that come and go would fill the queue of a client that does not read.
  if (changed.removed && !change->second.forced && !change->second.known) {
    type.changes.erase(change);
  }
}

void Subscription::settle(Type& type, std::string_view type_name, const Store& store) {
  std::erase_if(type.changes, [&](const auto& one) {
    const auto& [name, change] = one;
    if (change.forced && !change.known) return false;
    const auto entry = store.find(type_name, *name);
    if (!change.known) return entry == nullptr;
    return entry != nullptr && *change.known == *entry->version;
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

// Whether the first response may be made: it is complete or not yet due.
bool Subscription::is_due(const Type& type, std::string_view type_name, uint64_t limit,
                          const Store& store) {
  if (limit == 0) return false;
  if (type.first_is_all && std::max(type.since, store.changed_in(type_name)) >= limit) return false;
  return std::ranges::none_of(type.changes,
                              [&](const auto& one) { return one.second.last >= limit; });
}

std::optional<Batch> Subscription::next_of(Type& type, const std::string& type_name,
                                           const Store& store) {
  if (!type.in_flight.empty()) return std::nullopt;
  const uint64_t limit = limit_for(type_name, false, store);
  const uint64_t removal_limit = limit_for(type_name, true, store);
  if (type.first_pending && !is_due(type, type_name, limit, store)) return std::nullopt;
  Batch batch;
  batch.type = type_name;
  uint64_t first = kNever;
  size_t bytes = 0;
  type.in_flight_names.clear();
  if (type.first_pending && type.first_is_all) {
    batch.all = store.snapshot(type_name);
    if (batch.size() > 0) first = type.since;
    for (const auto& [name, entry] : batch.all->resources()) {
      if (type.in_flight_names.size() >= kNackNamesMax) break;
      type.in_flight_names.push_back(name);
    }
    std::erase_if(type.changes,
                  [&](const auto& one) { return store.find(type_name, *one.first) != nullptr; });
  }
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
      batch.resources.emplace_back(name, entry);
    } else {
      batch.removed.push_back(name);
    }
    if (type.in_flight_names.size() < kNackNamesMax) type.in_flight_names.push_back(name);
    one = type.changes.erase(one);
  }
  if (!type.first_pending && batch.size() == 0 && batch.removed.empty()) return std::nullopt;
  batch.nonce = std::to_string(++nonce_);
  type.first_pending = false;
  type.in_flight = batch.nonce;
  type.in_flight_first = first;
  type.in_flight_count = batch.size() + batch.removed.size();
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
