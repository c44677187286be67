#include "agent/enrol/scope_maps.h"

#include "bpf/weft_abi.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace weft::enrol {
namespace {

using compile::CaptureScope;

// Bits of a range's key before its address, and of the mapping that makes IPv4 16 bytes long.
constexpr uint32_t kKeyBits = 64;
constexpr uint32_t kMappedBits = 96;

void add_ports(uint32_t slot, weft_scope_list list, const std::vector<uint16_t>& from,
               std::vector<weft_scope_port>& to) {
  for (const uint16_t port : from) {
    to.push_back({.slot = slot, .list = static_cast<uint16_t>(list), .port = port});
  }
}

void add_ranges(uint32_t slot, weft_scope_list list, const std::vector<Cidr>& from,
                std::vector<weft_scope_range>& to) {
  for (const Cidr& range : from) {
    const uint32_t mapped = range.address().is_v4() ? kMappedBits : 0;
    weft_scope_range key{.prefix_bits = kKeyBits + mapped + range.length(),
                         .slot = slot,
                         .list = list,
                         .address = {}};
    std::memcpy(&key.address, range.address().bytes16().data(), sizeof(key.address));
    to.push_back(key);
  }
}

std::vector<weft_scope_port> ports_of(uint32_t slot, const CaptureScope& scope) {
  std::vector<weft_scope_port> keys;
  add_ports(slot, WEFT_EXCLUDE_OUTBOUND, scope.exclude_outbound_ports, keys);
  add_ports(slot, WEFT_LIST_OUTBOUND, scope.include_outbound_ports, keys);
  add_ports(slot, WEFT_EXCLUDE_INBOUND, scope.exclude_inbound_ports, keys);
  if (scope.include_inbound_ports) {
    add_ports(slot, WEFT_LIST_INBOUND, *scope.include_inbound_ports, keys);
  }
  return keys;
}

std::vector<weft_scope_range> ranges_of(uint32_t slot, const CaptureScope& scope) {
  std::vector<weft_scope_range> keys;
  add_ranges(slot, WEFT_EXCLUDE_OUTBOUND, scope.exclude_outbound_ranges, keys);
  if (scope.include_outbound_ranges) {
    add_ranges(slot, WEFT_LIST_OUTBOUND, *scope.include_outbound_ranges, keys);
  }
  return keys;
}

template <class Key>
Result<void> put_all(int map, const std::vector<Key>& keys) {
  const uint32_t value = 1;
  for (const Key& key : keys) {
    if (bpf_map_update_elem(map, &key, &value, BPF_ANY) == 0) continue;
    if (errno == E2BIG || errno == ENOSPC) {
      return fail(Code::kLimit,
                  "the pods of this node list more ports or ranges in their capture "
                  "annotations than there is room for: shorten them");
    }
    return fail_errno(errno, "entering what a pod's annotations exclude");
  }
  return {};
}

template <class Key>
Result<void> drop_others(int map, uint32_t slot, const std::vector<Key>& wanted) {
  std::vector<Key> surplus;
  Key at{};
  const Key* previous = nullptr;
  while (bpf_map_get_next_key(map, previous, &at) == 0) {
    previous = &at;
    if (at.slot != slot) continue;
    bool is_wanted = false;
    for (const Key& key : wanted) is_wanted |= std::memcmp(&key, &at, sizeof(at)) == 0;
    if (!is_wanted) surplus.push_back(at);
  }
  for (const Key& key : surplus) {
    if (bpf_map_delete_elem(map, &key) != 0 && errno != ENOENT) {
      return fail_errno(errno, "removing what a pod's annotations excluded");
    }
  }
  return {};
}

}  // namespace

uint32_t ScopeMaps::flags_of(const CaptureScope& scope) {
  uint32_t flags = 0;
  const bool out = !scope.exclude_outbound_ports.empty() || !scope.exclude_outbound_ranges.empty();
  if (out || scope.include_outbound_ranges) flags |= WEFT_POD_SCOPED_OUTBOUND;
  if (scope.include_outbound_ranges) flags |= WEFT_POD_LISTED_OUTBOUND;
  if (!scope.exclude_inbound_ports.empty()) flags |= WEFT_POD_SCOPED_INBOUND;
  if (scope.include_inbound_ports) flags |= WEFT_POD_SCOPED_INBOUND | WEFT_POD_LISTED_INBOUND;
  return flags;
}

Result<void> ScopeMaps::add_entries(uint32_t slot, const CaptureScope& scope) const {
  TRY(put_all(ports_, ports_of(slot, scope)));
  return put_all(ranges_, ranges_of(slot, scope));
}

Result<void> ScopeMaps::drop_entries(uint32_t slot, const CaptureScope& scope) const {
  TRY(drop_others(ports_, slot, ports_of(slot, scope)));
  return drop_others(ranges_, slot, ranges_of(slot, scope));
}

}  // namespace weft::enrol
