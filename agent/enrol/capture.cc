#include "agent/enrol/capture.h"

#include "agent/enrol/cgroups.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <set>

namespace weft::enrol {
namespace {

constexpr std::array kCounterNames = {
    "outbound_captured", "outbound_proxy",    "outbound_local",   "outbound_no_address",
    "outbound_unbound",  "outbound_device",   "outbound_refused", "outbound_open",
    "outbound_unmarked", "inbound_captured",  "inbound_local",    "inbound_refused",
    "inbound_open",      "looped_taken",      "looped_lost",      "inner_bound",
    "inner_failed",      "assign_failed",     "inbound_probe",    "dns_taken",
    "dns_lost",          "outbound_excluded", "inbound_excluded"};
static_assert(kCounterNames.size() == WEFT_COUNTERS);

weft_address to_kernel(const IpAddress& address) {
  weft_address out{};
  std::memcpy(&out, address.bytes16().data(), sizeof(out));
  return out;
}

IpAddress from_kernel(const weft_address& address) {
  in6_addr bytes{};
  std::memcpy(&bytes, &address, sizeof(bytes));
  return IpAddress::from_in6_addr(bytes);
}

constexpr const char* kProbePin = "link-note_probe";

std::string deliver_pin(uint32_t slot) { return "deliver-" + std::to_string(slot); }

uint32_t listener_key(uint32_t slot, uint32_t kind) {
  return slot * WEFT_LISTENERS_PER_SLOT + kind;
}

template <class Key, class Value>
Result<void> put(int map, const Key& key, const Value& value, const char* what) {
  if (bpf_map_update_elem(map, &key, &value, BPF_ANY) == 0) return {};
  if (errno == E2BIG) return fail(Code::kLimit, std::string(what) + ": the map is full");
  return fail_errno(errno, what);
}

template <class Key>
Result<void> erase(int map, const Key& key, const char* what) {
  if (bpf_map_delete_elem(map, &key) == 0 || errno == ENOENT || errno == EINVAL) return {};
  return fail_errno(errno, what);
}

// Every key of a hash map. The agent is the only writer, so nothing moves meanwhile.
std::vector<uint64_t> keys_of(int map) {
  std::vector<uint64_t> keys;
  uint64_t next = 0;
  const void* previous = nullptr;
  while (bpf_map_get_next_key(map, previous, &next) == 0) {
    keys.push_back(next);
    previous = &keys.back();
  }
  return keys;
}

}  // namespace

Capture::Capture(CaptureConfig config, PinFolder pins, std::unique_ptr<CaptureObject> object)
    : config_(std::move(config)), pins_(std::move(pins)), object_(std::move(object)) {}

Capture::~Capture() = default;

Result<std::unique_ptr<Capture>> Capture::open(const CaptureConfig& config) {
  PinFolder pins = TRY(PinFolder::open(config.bpffs, config.name));
  std::unique_ptr<CaptureObject> object = TRY(CaptureObject::load(pins, config.node_netns_cookie));
  std::unique_ptr<Capture> capture(new Capture(config, std::move(pins), std::move(object)));
  TRY(capture->drop_orphans());
  TRY(capture->attach_hooks());
  return capture;
}

Result<void> Capture::attach_hooks() {
  const Fd cgroup(::open(config_.cgroup_root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup) return fail_errno(errno, "opening the cgroup " + config_.cgroup_root);
  const LinkTarget target{.cgroup_id = TRY(cgroup_id(config_.cgroup_root))};
  const CaptureObject::Programs programs = object_->programs();
  TRY(attach_pinned(pins_, "link-mark_datagrams", programs.mark_datagrams, cgroup.get(),
                    BPF_CGROUP_INET_SOCK_CREATE, target));
  // These first: once connections are captured, inner legs need them.
  TRY(attach_pinned(pins_, "link-bind_inner_leg", programs.bind_inner_leg, cgroup.get(),
                    BPF_CGROUP_SOCK_OPS, target));
  TRY(attach_pinned(pins_, "link-peer_port4", programs.peer_port4, cgroup.get(),
                    BPF_CGROUP_INET4_GETPEERNAME, target));
  TRY(attach_pinned(pins_, "link-peer_port6", programs.peer_port6, cgroup.get(),
                    BPF_CGROUP_INET6_GETPEERNAME, target));
  TRY(attach_pinned(pins_, "link-connect4", programs.connect4, cgroup.get(),
                    BPF_CGROUP_INET4_CONNECT, target));
  return attach_pinned(pins_, "link-connect6", programs.connect6, cgroup.get(),
                       BPF_CGROUP_INET6_CONNECT, target);
}

// Links of pods that an earlier agent was about to add or remove when it died.
Result<void> Capture::drop_orphans() {
  std::set<std::string> owned;
  const std::vector<CapturedPod> present = TRY(pods());
  for (const CapturedPod& pod : present) owned.insert(deliver_pin(pod.slot));
  const std::vector<std::string> names = TRY(pins_.names());
  for (const std::string& name : names) {
    if (!name.starts_with("deliver-") || owned.contains(name)) continue;
    TRY(detach_pinned(pins_, name));
  }
  return {};
}

Result<void> Capture::add(const Target& target) {
  const std::optional<CapturedPod> present = find(target.netns_cookie);
  const uint32_t slot = present ? present->slot : TRY(free_slot());
  const uint32_t open = target.open_when_empty ? WEFT_POD_OPEN_INBOUND | WEFT_POD_OPEN_OUTBOUND : 0;
  const uint32_t dns = target.dns ? WEFT_POD_DNS : 0;
  const weft_pod pod{.slot = slot,
                     .flags = WEFT_POD_UP | open | dns | ScopeMaps::flags_of(target.scope),
                     .v4 = to_kernel(target.addresses.v4),
                     .v6 = to_kernel(target.addresses.v6)};

  Result<void> added;
  // What an agent that died left in a slot that nobody had would exclude from the first moment.
  if (!present) added = scopes().drop_entries(slot, target.scope);
  if (added) added = scopes().add_entries(slot, target.scope);
  if (added) added = fill_slot(pod, target);
  if (added) added = deliver_to_slot(slot, target.netns_fd);
  if (added) {
    added = put(object_->maps().pods, target.netns_cookie, pod, "entering the pod into weft_pods");
  }
  if (added) added = scopes().drop_entries(slot, target.scope);
  if (!added && !present) {
    // Best effort: the error that matters is the first one.
    (void)detach_pinned(pins_, deliver_pin(slot));
    (void)clear_slot(slot);
  }
  return added;
}

Result<void> Capture::fill_slot(const weft_pod& pod, const Target& target) {
  const CaptureObject::Maps maps = object_->maps();
  for (uint32_t kind = 0; kind < WEFT_LISTENER_KINDS; ++kind) {
    const uint32_t key = listener_key(pod.slot, kind);
    const Fd& socket = target.listeners->sockets[kind];
    if (socket) {
      const auto descriptor = static_cast<uint64_t>(socket.get());
      TRY(put(maps.listeners, key, descriptor, "entering a listener"));
    } else {
      TRY(erase(maps.listeners, key, "emptying a listener's place"));
    }
  }
  return put(maps.slots, pod.slot, pod, "entering the pod into weft_slots");
}

Result<void> Capture::deliver_to_slot(uint32_t slot, int netns_fd) {
  struct stat status{};
  if (fstat(netns_fd, &status) != 0) return fail_errno(errno, "looking at the pod's netns");
  const Fd program = TRY(object_->load_deliver(slot));
  return attach_pinned(pins_, deliver_pin(slot), program.get(), netns_fd, BPF_SK_LOOKUP,
                       LinkTarget{.netns_inode = status.st_ino});
}

Result<void> Capture::clear_slot(uint32_t slot) {
  const CaptureObject::Maps maps = object_->maps();
  for (uint32_t kind = 0; kind < WEFT_LISTENER_KINDS; ++kind) {
    TRY(erase(maps.listeners, listener_key(slot, kind), "emptying a listener's place"));
  }
  TRY(scopes().drop_entries(slot, {}));
  return put(maps.slots, slot, weft_pod{}, "emptying a slot");
}

Result<void> Capture::remove(uint64_t netns_cookie) {
  const std::optional<CapturedPod> pod = find(netns_cookie);
  if (!pod) return {};
  // Outbound ends with the entry, inbound with the link. The entry goes first: a slot without an
  // entry is what drop_orphans() cleans up.
  TRY(erase(object_->maps().pods, netns_cookie, "removing the pod from weft_pods"));
  TRY(detach_pinned(pins_, deliver_pin(pod->slot)));
  return clear_slot(pod->slot);
}

Result<uint32_t> Capture::free_slot() const {
  std::set<uint32_t> taken;
  const std::vector<CapturedPod> present = TRY(pods());
  for (const CapturedPod& pod : present) taken.insert(pod.slot);
  for (uint32_t slot = 0; slot < WEFT_PODS_MAX; ++slot) {
    if (!taken.contains(slot)) return slot;
  }
  return fail(Code::kLimit, "all " + std::to_string(WEFT_PODS_MAX) + " capture slots are taken");
}

std::optional<CapturedPod> Capture::find(uint64_t netns_cookie) const {
  weft_pod pod{};
  if (bpf_map_lookup_elem(object_->maps().pods, &netns_cookie, &pod) != 0) return std::nullopt;
  return CapturedPod{.netns_cookie = netns_cookie,
                     .slot = pod.slot,
                     .flags = pod.flags,
                     .addresses = {.v4 = from_kernel(pod.v4), .v6 = from_kernel(pod.v6)}};
}

Result<std::vector<CapturedPod>> Capture::pods() const {
  std::vector<CapturedPod> found;
  for (const uint64_t cookie : keys_of(object_->maps().pods)) {
    if (const std::optional<CapturedPod> pod = find(cookie)) found.push_back(*pod);
  }
  return found;
}

Capture::SlotSockets Capture::slot_sockets(uint32_t slot) const {
  SlotSockets cookies{};
  for (uint32_t kind = 0; kind < WEFT_LISTENER_KINDS; ++kind) {
    const uint32_t key = listener_key(slot, kind);
    uint64_t cookie = 0;
    if (bpf_map_lookup_elem(object_->maps().listeners, &key, &cookie) == 0) cookies[kind] = cookie;
  }
  return cookies;
}

Result<void> Capture::add_proxy(uint64_t cgroup_id) {
  return put(object_->maps().proxies, cgroup_id, uint32_t{1}, "entering ztunnel's cgroup");
}

Result<void> Capture::remove_proxy(uint64_t cgroup_id) {
  return erase(object_->maps().proxies, cgroup_id, "removing ztunnel's cgroup");
}

std::vector<uint64_t> Capture::proxies() const { return keys_of(object_->maps().proxies); }

Result<void> Capture::follow_kubelet(const std::string& cgroup) {
  const Fd folder(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return fail_errno(errno, "opening the kubelet's cgroup " + cgroup);
  const LinkTarget target{.cgroup_id = TRY(cgroup_id(cgroup))};
  return attach_pinned(pins_, kProbePin, object_->programs().note_probe, folder.get(),
                       BPF_CGROUP_SOCK_OPS, target);
}

size_t Capture::open_probes() const {
  size_t count = 0;
  weft_probe at{};
  const weft_probe* previous = nullptr;
  // They come and go meanwhile, and after one that went the kernel begins anew: hence the bound.
  while (count < WEFT_PROBES_MAX &&
         bpf_map_get_next_key(object_->maps().probes, previous, &at) == 0) {
    ++count;
    previous = &at;
  }
  return count;
}

Result<void> Capture::forget_kubelet() { return detach_pinned(pins_, kProbePin); }

Result<std::vector<CaptureCount>> Capture::counts() const {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return fail_errno(-cpus, "counting CPUs");
  std::vector<uint64_t> of_cpu(static_cast<size_t>(cpus));
  std::vector<CaptureCount> sums;
  for (uint32_t key = 0; key < WEFT_COUNTERS; ++key) {
    if (bpf_map_lookup_elem(object_->maps().counters, &key, of_cpu.data()) != 0) {
      return fail_errno(errno, "reading the capture counters");
    }
    CaptureCount sum{.name = kCounterNames[key], .value = 0};
    for (const uint64_t value : of_cpu) sum.value += value;
    sums.push_back(std::move(sum));
  }
  return sums;
}

Result<void> Capture::withdraw_all() {
  const std::vector<std::string> names = TRY(pins_.names());
  for (const std::string& name : names) {
    if (!name.starts_with("map-")) TRY(detach_pinned(pins_, name));
  }
  return pins_.remove_all();
}

}  // namespace weft::enrol
