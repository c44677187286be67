// Capture: who is captured, and how. No per-connection state but the kubelet's few.
//
//   connect4, connect6   at the cgroup2 root: mark a pod's TCP connection; by the mark a routing
//                        rule in the pod loops its SYN over lo; address and port stay what was
//                        asked for
//   mark_datagrams       at the cgroup2 root: marks a pod's datagram sockets as they are made, so
//                        that another rule loops what they send to port 53. A rule without the mark
//                        would make the kernel drop the answers of real resolvers
//   deliver              one instance a pod, on its network namespace: hands looped and incoming
//                        SYNs to ztunnel's listeners, looped queries to its DNS socket
//   bind_inner_leg       at the cgroup2 root: binds the application's side of ztunnel's inner leg
//                        to lo, so that it may have the same 4-tuple as the outer connection
//   peer_port4, .._port6 at the cgroup2 root: say the client's port where an inner leg has another
//   note_probe           at the kubelet's cgroup: notes its open connections, which `deliver` lets
//                        through to the application
//
// A pod is known by its netns cookie, which it cannot choose; ztunnel, which dials from within the
// pod's netns, by its cgroup id, which a pod cannot take on. Both hooks refuse rather than guess
// where something is missing, unless the pod's flags say that it is open.

#include "bpf/weft_abi.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>

#define FUNC_INLINE static __attribute__((always_inline)) inline

// From the kernel's uapi headers that do not compile beside linux/bpf.h for this target.
#define AF_INET 2
#define AF_INET6 10
#define SOCK_DGRAM 2
#define SOL_SOCKET 1
#define SO_BINDTODEVICE 25
#define SO_MARK 36

#define DNS_PORT 53

#define VERDICT_REFUSE 0
#define VERDICT_PASS 1

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEFT_PODS_MAX);
  __type(key, __u64);  // netns cookie
  __type(value, struct weft_pod);
} weft_pods SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEFT_PROXIES_MAX);
  __type(key, __u64);  // cgroup id
  __type(value, __u32);
} weft_proxies SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SOCKMAP);
  __uint(max_entries, WEFT_PODS_MAX* WEFT_LISTENERS_PER_SLOT);
  __type(key, __u32);
  __type(value, __u64);  // written: a descriptor; read from user space: the socket's cookie
} weft_listeners SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, WEFT_PODS_MAX);
  __type(key, __u32);
  __type(value, struct weft_pod);
} weft_slots SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEFT_SCOPE_PORTS_MAX);
  __type(key, struct weft_scope_port);
  __type(value, __u32);
} weft_scope_ports SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEFT_SCOPE_RANGES_MAX);
  __type(key, struct weft_scope_range);
  __type(value, __u32);
} weft_scope_ranges SEC(".maps");

// Entries go when their connection does; LRU only bounds what could be left behind.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, WEFT_PROBES_MAX);
  __type(key, struct weft_probe);
  __type(value, __u32);
} weft_probes SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, WEFT_COUNTERS);
  __type(key, __u32);
  __type(value, __u64);
} weft_counters SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct weft_abi);
} weft_abi SEC(".maps");

// The slot of the pod that this instance of `deliver` serves; set before it is loaded.
const volatile __u32 pod_slot = 0;
// The same in every network namespace. BPF_PROG_TEST_RUN only knows the interface 0, so that tests
// put 0 here.
const volatile __u32 loopback_ifindex = 1;
// The network namespace that the kubelet probes from: the node's.
const volatile __u64 node_netns_cookie = 0;

FUNC_INLINE void count(enum weft_counter counter) {
  __u32 key = counter;
  __u64* value = bpf_map_lookup_elem(&weft_counters, &key);
  if (value) (*value)++;
}

FUNC_INLINE __u32 listener_key(__u32 slot, enum weft_listener kind) {
  return slot * WEFT_LISTENERS_PER_SLOT + kind;
}

FUNC_INLINE struct weft_address v4_mapped(__u32 network_order) {
  struct weft_address address = {{0, 0, bpf_htonl(0xffff), network_order}};
  return address;
}

FUNC_INLINE int is_v4_mapped(const struct weft_address* address) {
  return !address->word[0] && !address->word[1] && address->word[2] == bpf_htonl(0xffff);
}

FUNC_INLINE int is_same(const struct weft_address* a, const struct weft_address* b) {
  return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
         a->word[3] == b->word[3];
}

FUNC_INLINE int is_unspecified(const struct weft_address* address) {
  return !address->word[0] && !address->word[1] && !address->word[3] &&
         (!address->word[2] || address->word[2] == bpf_htonl(0xffff));
}

FUNC_INLINE int is_loopback(const struct weft_address* address) {
  if (is_v4_mapped(address)) {
    return (address->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
  }
  return !address->word[0] && !address->word[1] && !address->word[2] &&
         address->word[3] == bpf_htonl(1);
}

// On the pod's own link, or to a group: nothing that a proxy could connect to in the pod's stead.
FUNC_INLINE int is_link_local_or_multicast(const struct weft_address* address) {
  if (is_v4_mapped(address)) {
    return (address->word[3] & bpf_htonl(0xffff0000)) == bpf_htonl(0xa9fe0000) ||
           (address->word[3] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);
  }
  return (address->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000) ||
         (address->word[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

// The pod's address of the family that `address` is of.
FUNC_INLINE const struct weft_address* own_address(const struct weft_pod* pod,
                                                   const struct weft_address* address) {
  return is_v4_mapped(address) ? &pod->v4 : &pod->v6;
}

// What a pod's annotations take out of capture.

FUNC_INLINE int has_port(__u32 slot, enum weft_scope_list list, __u16 port) {
  struct weft_scope_port key = {.slot = slot, .list = list, .port = port};
  return bpf_map_lookup_elem(&weft_scope_ports, &key) != 0;
}

FUNC_INLINE int has_range(__u32 slot, enum weft_scope_list list, const struct weft_address* of) {
  struct weft_scope_range key = {
      .prefix_bits = 64 + 128, .slot = slot, .list = list, .address = *of};
  return bpf_map_lookup_elem(&weft_scope_ranges, &key) != 0;
}

FUNC_INLINE int is_excluded_outbound(const struct weft_pod* pod, const struct weft_address* to,
                                     __u16 port) {
  if (!(pod->flags & WEFT_POD_SCOPED_OUTBOUND)) return 0;
  if (has_port(pod->slot, WEFT_EXCLUDE_OUTBOUND, port)) return 1;
  if (has_range(pod->slot, WEFT_EXCLUDE_OUTBOUND, to)) return 1;
  if (!(pod->flags & WEFT_POD_LISTED_OUTBOUND)) return 0;
  return !has_port(pod->slot, WEFT_LIST_OUTBOUND, port) &&
         !has_range(pod->slot, WEFT_LIST_OUTBOUND, to);
}

FUNC_INLINE int is_excluded_inbound(const struct weft_pod* pod, __u16 port) {
  if (!(pod->flags & WEFT_POD_SCOPED_INBOUND) || port == WEFT_HBONE_PORT) return 0;
  if (pod->flags & WEFT_POD_LISTED_INBOUND) return !has_port(pod->slot, WEFT_LIST_INBOUND, port);
  return has_port(pod->slot, WEFT_EXCLUDE_INBOUND, port);
}

// Outbound: the connect hooks.

FUNC_INLINE int refuse(int error, enum weft_counter why) {
  count(why);
  bpf_set_retval(-error);
  return VERDICT_REFUSE;
}

// Not captured. A socket that was captured before, and connects again, must not keep our mark.
FUNC_INLINE int pass(struct bpf_sock_addr* ctx, enum weft_counter why) {
  struct bpf_sock* socket = ctx->sk;
  if (socket && socket->mark == WEFT_MARK_OUTBOUND) {
    __u32 none = 0;
    bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &none, sizeof(none));
  }
  count(why);
  return VERDICT_PASS;
}

// Connections that stay inside the pod or on its link. 0.0.0.0 and :: mean this host to connect(2).
FUNC_INLINE int is_local_destination(const struct weft_pod* pod, const struct weft_address* to) {
  return is_unspecified(to) || is_loopback(to) || is_link_local_or_multicast(to) ||
         is_same(to, own_address(pod, to));
}

FUNC_INLINE int has_listener(__u32 slot, enum weft_listener kind) {
  __u32 key = listener_key(slot, kind);
  struct bpf_sock* listener = bpf_map_lookup_elem(&weft_listeners, &key);
  if (!listener) return 0;
  bpf_sk_release(listener);
  return 1;
}

// A socket bound to a device would leave by that device, whatever its mark says. Un-binding is the
// kernel's to grant (it asks the caller for CAP_NET_RAW): where it does not, the caller may not
// connect. Any process may bind to a device since 5.7, so this is not a privilege to respect.
FUNC_INLINE int leave_device(struct bpf_sock_addr* ctx) {
  struct bpf_sock* socket = ctx->sk;
  if (!socket || !socket->bound_dev_if) return 0;
  char none[4] = "";
  if (bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, none, sizeof(none))) return -1;
  count(WEFT_COUNT_OUTBOUND_UNBOUND);
  return 0;
}

FUNC_INLINE int capture_connect(struct bpf_sock_addr* ctx, const struct weft_pod* pod,
                                const struct weft_address* to) {
  __u64 cgroup = bpf_get_current_cgroup_id();
  if (bpf_map_lookup_elem(&weft_proxies, &cgroup)) return pass(ctx, WEFT_COUNT_OUTBOUND_PROXY);
  if (is_local_destination(pod, to)) return pass(ctx, WEFT_COUNT_OUTBOUND_LOCAL);
  if (is_excluded_outbound(pod, to, bpf_ntohs(ctx->user_port))) {
    return pass(ctx, WEFT_COUNT_OUTBOUND_EXCLUDED);
  }
  // ztunnel could not connect from the pod's address either. What a host without an address of the
  // family says, so that a client with a choice takes the other one.
  if (is_unspecified(own_address(pod, to))) {
    if (pod->flags & WEFT_POD_OPEN_OUTBOUND) return pass(ctx, WEFT_COUNT_OUTBOUND_OPEN);
    return refuse(ENETUNREACH, WEFT_COUNT_OUTBOUND_FAMILY);
  }
  enum weft_listener kind =
      is_v4_mapped(to) ? WEFT_LISTENER_OUTBOUND_V4 : WEFT_LISTENER_OUTBOUND_V6;
  if (!(pod->flags & WEFT_POD_UP) || !has_listener(pod->slot, kind)) {
    if (pod->flags & WEFT_POD_OPEN_OUTBOUND) return pass(ctx, WEFT_COUNT_OUTBOUND_OPEN);
    return refuse(ECONNREFUSED, WEFT_COUNT_OUTBOUND_REFUSED);
  }
  if (leave_device(ctx)) return refuse(EPERM, WEFT_COUNT_OUTBOUND_DEVICE);
  __u32 mark = WEFT_MARK_OUTBOUND;
  if (bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &mark, sizeof(mark))) {
    return refuse(EPERM, WEFT_COUNT_OUTBOUND_MARK_FAILED);
  }
  count(WEFT_COUNT_OUTBOUND_CAPTURED);
  return VERDICT_PASS;
}

// The pod whose network namespace the socket is in; null where it is not ours to capture.
FUNC_INLINE struct weft_pod* pod_of_connect(struct bpf_sock_addr* ctx) {
  if (ctx->protocol != IPPROTO_TCP) return 0;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  return bpf_map_lookup_elem(&weft_pods, &cookie);
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr* ctx) {
  struct weft_pod* pod = pod_of_connect(ctx);
  if (!pod) return VERDICT_PASS;
  struct weft_address to = v4_mapped(ctx->user_ip4);
  return capture_connect(ctx, pod, &to);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr* ctx) {
  struct weft_pod* pod = pod_of_connect(ctx);
  if (!pod) return VERDICT_PASS;
  struct weft_address to = {
      {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]}};
  return capture_connect(ctx, pod, &to);
}

// Datagrams are never captured as they are sent: the first one of an unconnected socket would
// escape (its route is chosen before its hook). Sockets that are older than the pod's capture stay
// unmarked, and speak to the resolver itself.
SEC("cgroup/sock_create")
int mark_datagrams(struct bpf_sock* ctx) {
  if (ctx->protocol != IPPROTO_UDP || ctx->type != SOCK_DGRAM) return VERDICT_PASS;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  struct weft_pod* pod = bpf_map_lookup_elem(&weft_pods, &cookie);
  if (!pod || !(pod->flags & WEFT_POD_DNS)) return VERDICT_PASS;
  __u64 cgroup = bpf_get_current_cgroup_id();
  if (!bpf_map_lookup_elem(&weft_proxies, &cgroup)) ctx->mark = WEFT_MARK_DNS;
  return VERDICT_PASS;
}

// Both ways: the pod's sk_lookup.

FUNC_INLINE int hand_over(struct bpf_sk_lookup* ctx, const struct weft_pod* pod,
                          enum weft_listener kind, enum weft_counter taken,
                          enum weft_counter absent, enum weft_counter absent_open, __u32 open) {
  __u32 key = listener_key(pod_slot, kind);
  struct bpf_sock* listener = bpf_map_lookup_elem(&weft_listeners, &key);
  if (!listener || !(pod->flags & WEFT_POD_UP)) {
    if (listener) bpf_sk_release(listener);
    count(pod->flags & open ? absent_open : absent);
    return pod->flags & open ? SK_PASS : SK_DROP;
  }
  long error = bpf_sk_assign(ctx, listener, 0);
  bpf_sk_release(listener);
  count(error ? WEFT_COUNT_ASSIGN_FAILED : taken);
  return error ? SK_DROP : SK_PASS;
}

// A connection that a captured socket made comes in over lo and has somebody else's address as its
// destination. What is addressed to the pod itself is its own: a connection to loopback, or
// ztunnel's inner leg. `from` equal to `to` is a process that talks to itself over some other
// address that the pod has; without that test ztunnel's own dial to such an address would come back
// to it for ever.
FUNC_INLINE int is_to_itself(const struct weft_pod* pod, const struct weft_address* from,
                             const struct weft_address* to) {
  return is_loopback(to) || is_same(to, own_address(pod, to)) || is_same(from, to);
}

FUNC_INLINE int deliver_looped(struct bpf_sk_lookup* ctx, const struct weft_pod* pod,
                               const struct weft_address* from, const struct weft_address* to) {
  if (is_to_itself(pod, from, to)) return SK_PASS;
  enum weft_listener kind =
      is_v4_mapped(to) ? WEFT_LISTENER_OUTBOUND_V4 : WEFT_LISTENER_OUTBOUND_V6;
  // It was captured when it connected, so a pod that is open cannot let it pass any more: nobody
  // but the listener can answer.
  return hand_over(ctx, pod, kind, WEFT_COUNT_LOOPED_TAKEN, WEFT_COUNT_LOOPED_LOST,
                   WEFT_COUNT_LOOPED_LOST, 0);
}

// A query to somebody else's port 53 that came over lo: only the rule of the DNS mark sends it
// there. A link-local address is a resolver's as any other (node-local caches have one).
FUNC_INLINE int deliver_datagram(struct bpf_sk_lookup* ctx, const struct weft_pod* pod,
                                 const struct weft_address* from, const struct weft_address* to) {
  if (!(pod->flags & WEFT_POD_DNS) || ctx->local_port != DNS_PORT) return SK_PASS;
  if (ctx->ingress_ifindex != loopback_ifindex || is_to_itself(pod, from, to)) return SK_PASS;
  enum weft_listener kind = is_v4_mapped(to) ? WEFT_LISTENER_DNS_V4 : WEFT_LISTENER_DNS_V6;
  return hand_over(ctx, pod, kind, WEFT_COUNT_DNS_TAKEN, WEFT_COUNT_DNS_LOST, WEFT_COUNT_DNS_LOST,
                   0);
}

// A probe is known by its exact 4-tuple, which the kernel gave to the kubelet's own socket and
// gives to nobody else on the node while that is open. Its address proves nothing: host-network
// pods and masqueraded clients have it too.
FUNC_INLINE int is_probe(struct bpf_sk_lookup* ctx, const struct weft_address* from,
                         const struct weft_address* to) {
  struct weft_probe probe = {.kubelet = *from, .pod = *to};
  probe.kubelet_port = bpf_ntohs(ctx->remote_port);
  probe.pod_port = ctx->local_port;
  return bpf_map_lookup_elem(&weft_probes, &probe) != 0;
}

// The pod's connection to its own address comes in by the pod's interface (the route's, not lo),
// possibly from a socket bound to loopback.
FUNC_INLINE int deliver_incoming(struct bpf_sk_lookup* ctx, const struct weft_pod* pod,
                                 const struct weft_address* from, const struct weft_address* to) {
  if (is_same(from, to) || is_loopback(from)) {
    count(WEFT_COUNT_INBOUND_LOCAL);
    return SK_PASS;
  }
  if (is_probe(ctx, from, to)) {
    count(WEFT_COUNT_INBOUND_PROBE);
    return SK_PASS;
  }
  if (is_excluded_inbound(pod, ctx->local_port)) {
    count(WEFT_COUNT_INBOUND_EXCLUDED);
    return SK_PASS;
  }
  enum weft_listener kind = is_v4_mapped(to) ? WEFT_LISTENER_INBOUND_V4 : WEFT_LISTENER_INBOUND_V6;
  return hand_over(ctx, pod, kind, WEFT_COUNT_INBOUND_CAPTURED, WEFT_COUNT_INBOUND_REFUSED,
                   WEFT_COUNT_INBOUND_OPEN, WEFT_POD_OPEN_INBOUND);
}

FUNC_INLINE int deliver_from(struct bpf_sk_lookup* ctx, const struct weft_address* from,
                             const struct weft_address* to) {
  __u32 slot = pod_slot;
  struct weft_pod* pod = bpf_map_lookup_elem(&weft_slots, &slot);
  if (!pod) return SK_DROP;
  if (ctx->protocol == IPPROTO_UDP) return deliver_datagram(ctx, pod, from, to);
  if (ctx->ingress_ifindex == loopback_ifindex) return deliver_looped(ctx, pod, from, to);
  return deliver_incoming(ctx, pod, from, to);
}

SEC("sk_lookup")
int deliver(struct bpf_sk_lookup* ctx) {
  if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP) return SK_PASS;
  if (ctx->family == AF_INET) {
    struct weft_address from = v4_mapped(ctx->remote_ip4);
    struct weft_address to = v4_mapped(ctx->local_ip4);
    return deliver_from(ctx, &from, &to);
  }
  if (ctx->family != AF_INET6) return SK_PASS;
  struct weft_address from = {
      {ctx->remote_ip6[0], ctx->remote_ip6[1], ctx->remote_ip6[2], ctx->remote_ip6[3]}};
  struct weft_address to = {
      {ctx->local_ip6[0], ctx->local_ip6[1], ctx->local_ip6[2], ctx->local_ip6[3]}};
  return deliver_from(ctx, &from, &to);
}

// Inner leg: the application's side.

FUNC_INLINE int is_inner(__u32 mark) { return (mark & WEFT_MARK_MASK) == WEFT_MARK_INNER; }

// The accepted socket has the mark of ztunnel's SYN because tcp_fwmark_accept is set in the pod.
SEC("sockops")
int bind_inner_leg(struct bpf_sock_ops* ctx) {
  if (ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) return 1;
  struct bpf_sock* socket = ctx->sk;
  if (!socket || !is_inner(socket->mark)) return 1;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  if (!bpf_map_lookup_elem(&weft_pods, &cookie)) return 1;
  char device[4] = "lo";
  long error = bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, device, sizeof(device));
  count(error ? WEFT_COUNT_INNER_FAILED : WEFT_COUNT_INNER_BOUND);
  return 1;
}

// Until its handshake is done an inner leg's application side is not bound to lo. With a 4-tuple
// that the client's own connection has, it would get (and reset) what the client sends meanwhile.
// So ztunnel takes another port there; by accept(2) and getpeername(2) one sees the client's.
FUNC_INLINE int tell_port(struct bpf_sock_addr* ctx) {
  struct bpf_sock* socket = ctx->sk;
  if (!socket || !is_inner(socket->mark) || !(socket->mark >> WEFT_MARK_PORT_SHIFT)) return 1;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  if (!bpf_map_lookup_elem(&weft_pods, &cookie)) return 1;
  // ztunnel's own end has the mark, too.
  __u64 cgroup = bpf_get_current_cgroup_id();
  if (bpf_map_lookup_elem(&weft_proxies, &cgroup)) return 1;
  ctx->user_port = bpf_htons(socket->mark >> WEFT_MARK_PORT_SHIFT);
  return 1;
}

SEC("cgroup/getpeername4")
int peer_port4(struct bpf_sock_addr* ctx) { return tell_port(ctx); }

SEC("cgroup/getpeername6")
int peer_port6(struct bpf_sock_addr* ctx) { return tell_port(ctx); }

// Kubelet probes.

// Volatile, because a compiler that reads one of two fields by a computed offset makes a program
// that the verifier refuses.
#define READ(field) (*(volatile __u32*)&(field))

// An IPv6 socket towards an IPv4 pod has mapped addresses, which are the house's form already.
FUNC_INLINE struct weft_probe probe_of(struct bpf_sock_ops* ctx) {
  struct weft_probe probe = {};
  if (ctx->family == AF_INET) {
    probe.kubelet = v4_mapped(READ(ctx->local_ip4));
    probe.pod = v4_mapped(READ(ctx->remote_ip4));
  } else {
    for (int i = 0; i < 4; ++i) {
      probe.kubelet.word[i] = READ(ctx->local_ip6[i]);
      probe.pod.word[i] = READ(ctx->remote_ip6[i]);
    }
  }
  probe.kubelet_port = ctx->local_port;
  probe.pod_port = bpf_ntohl(ctx->remote_port);
  return probe;
}

// Runs for sockets that a task of the kubelet's cgroup made. At CONNECT the source is chosen and
// the SYN not yet sent.
SEC("sockops")
int note_probe(struct bpf_sock_ops* ctx) {
  if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB && ctx->op != BPF_SOCK_OPS_STATE_CB) return 1;
  if (bpf_get_netns_cookie(ctx) != node_netns_cookie) return 1;
  struct weft_probe probe = probe_of(ctx);
  if (ctx->op == BPF_SOCK_OPS_STATE_CB) {
    if (ctx->args[1] == BPF_TCP_CLOSE) bpf_map_delete_elem(&weft_probes, &probe);
    return 1;
  }
  // Without the callback nobody would remove the entry.
  if (bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG)) return 1;
  __u32 open = 1;
  bpf_map_update_elem(&weft_probes, &probe, &open, BPF_ANY);
  return 1;
}

char capture_license[] SEC("license") = "GPL";
