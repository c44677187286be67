#ifndef WEFT_BPF_WEFT_ABI_H
#define WEFT_BPF_WEFT_ABI_H

// What the kernel programs and the node agent say to each other: every map's key and value, every
// constant that both sides know. Fixed-width fields, no implicit padding, checked on both sides.
// Maps are pinned and outlive the agent, so a change of a layout is a change of its size or of
// WEFT_ABI_VERSION, by which a newer agent knows that it cannot take the old maps over.

#include <linux/types.h>

#ifdef __cplusplus
#define WEFT_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define WEFT_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

// Marks. Rules in the pod's network namespace send both to table WEFT_ROUTE_TABLE, whose only route
// delivers to the pod itself, over lo.
// Only WEFT_MARK_MASK of it is the mark; see WEFT_MARK_INNER.
#define WEFT_MARK_MASK 0xffff
#define WEFT_MARK_OUTBOUND 0x53a  // on the application's connecting socket, by the connect hook
// On ztunnel's connection to the application. The upper half is the port that the application is to
// see as its peer's; 0: the connection's own.
#define WEFT_MARK_INNER 0x539
#define WEFT_MARK_PORT_SHIFT 16
#define WEFT_MARK_DNS 0x53c  // on every datagram socket of the pod; only port 53 is looped
#define WEFT_ROUTE_TABLE 100

// Pods of one node. Kubernetes allows 110 by default and nobody runs 1000; a slot costs 64 bytes of
// pointers and about 11 KiB of program once it is taken.
#define WEFT_PODS_MAX 1024
// Listeners of a slot, at slot * WEFT_LISTENERS_PER_SLOT + kind.
#define WEFT_LISTENERS_PER_SLOT 8
// ztunnels of one node: the running one, and earlier ones that still drain.
#define WEFT_PROXIES_MAX 64
// Open connections of the kubelet: 110 pods with three probes each, answered within a second, are
// hundreds. Every CPU of the kernel's LRU takes 128 entries for itself, so that less would throw
// live ones away on a node of a hundred CPUs.
#define WEFT_PROBES_MAX 16384
// What all pods of a node together list to be captured or not: far more than 110 pods with a dozen
// each. Memory is taken entry by entry.
#define WEFT_SCOPE_PORTS_MAX 16384
#define WEFT_SCOPE_RANGES_MAX 16384

// Other nodes' ztunnels connect here: always captured, whatever else a pod excludes.
#define WEFT_HBONE_PORT 15008

enum weft_listener {
  WEFT_LISTENER_INBOUND_V4 = 0,
  WEFT_LISTENER_OUTBOUND_V4 = 1,
  WEFT_LISTENER_INBOUND_V6 = 2,
  WEFT_LISTENER_OUTBOUND_V6 = 3,
  WEFT_LISTENER_DNS_V4 = 4,  // a datagram socket, as the next
  WEFT_LISTENER_DNS_V6 = 5,
  WEFT_LISTENER_KINDS = 6,
};
WEFT_STATIC_ASSERT(WEFT_LISTENER_KINDS <= WEFT_LISTENERS_PER_SLOT, "a slot holds every kind");

// An address as the house keeps it: 16 bytes in network order, IPv4 as ::ffff:a.b.c.d.
struct weft_address {
  __u32 word[4];
};
WEFT_STATIC_ASSERT(sizeof(struct weft_address) == 16, "weft_address is 16 bytes");

enum weft_pod_flag {
  // New connections are captured. Without it a listener counts as absent.
  WEFT_POD_UP = 1,
  // What happens to a connection that cannot be captured because there is no listener: with the
  // flag it passes as if the pod were not in the mesh, without it is refused at once.
  WEFT_POD_OPEN_INBOUND = 2,
  WEFT_POD_OPEN_OUTBOUND = 4,
  // The pod's datagram sockets are marked, and what they send to port 53 and a routing rule loops
  // comes to the DNS socket.
  WEFT_POD_DNS = 8,
  // The pod has entries in weft_scope_ports or weft_scope_ranges, for its connections out or in.
  // Without the flag none of them is looked at.
  WEFT_POD_SCOPED_OUTBOUND = 16,
  WEFT_POD_SCOPED_INBOUND = 32,
  // Of connections out only those to listed ranges and ports, of those in only listed ports are
  // captured.
  WEFT_POD_LISTED_OUTBOUND = 64,
  WEFT_POD_LISTED_INBOUND = 128,
};

// Value of weft_pods (by netns cookie) and of weft_slots (by slot); the same in both.
struct weft_pod {
  __u32 slot;
  __u32 flags;  // weft_pod_flag
  // The pod's own, of which at least one is there; "::" where it has none of that family.
  struct weft_address v4;
  struct weft_address v6;
};
WEFT_STATIC_ASSERT(sizeof(struct weft_pod) == 40, "weft_pod is 40 bytes");

// Lists of what to capture, from the pod's annotations; being excluded goes before being listed.
enum weft_scope_list {
  WEFT_EXCLUDE_OUTBOUND = 0,
  WEFT_LIST_OUTBOUND = 1,
  WEFT_EXCLUDE_INBOUND = 2,
  WEFT_LIST_INBOUND = 3,
};

// Key of weft_scope_ports; the value says nothing.
struct weft_scope_port {
  __u32 slot;
  __u16 list;  // weft_scope_list
  __u16 port;  // host order
};
WEFT_STATIC_ASSERT(sizeof(struct weft_scope_port) == 8, "weft_scope_port is 8 bytes");

// Key of weft_scope_ranges, a prefix trie: slot and list count as its first 64 bits.
struct weft_scope_range {
  __u32 prefix_bits;  // 64, and those of the address in its 16-byte form
  __u32 slot;
  __u32 list;  // weft_scope_list
  struct weft_address address;
};
WEFT_STATIC_ASSERT(sizeof(struct weft_scope_range) == 28, "weft_scope_range is 28 bytes");

// Key of weft_probes: a connection that the kubelet has open, as it sees it. Ports in host order.
struct weft_probe {
  struct weft_address kubelet;
  struct weft_address pod;
  __u16 kubelet_port;
  __u16 pod_port;
};
WEFT_STATIC_ASSERT(sizeof(struct weft_probe) == 36, "weft_probe is 36 bytes");

// Indices of weft_counters: one for each way a hook can decide.
enum weft_counter {
  WEFT_COUNT_OUTBOUND_CAPTURED = 0,
  WEFT_COUNT_OUTBOUND_PROXY = 1,        // ztunnel's own connection
  WEFT_COUNT_OUTBOUND_LOCAL = 2,        // to loopback, link-local or the pod itself
  WEFT_COUNT_OUTBOUND_FAMILY = 3,       // refused: the pod has no address of that family
  WEFT_COUNT_OUTBOUND_UNBOUND = 4,      // was bound to a device; un-bound, then captured
  WEFT_COUNT_OUTBOUND_DEVICE = 5,       // refused: bound to a device, could not be un-bound
  WEFT_COUNT_OUTBOUND_REFUSED = 6,      // no listener, the pod is closed
  WEFT_COUNT_OUTBOUND_OPEN = 7,         // no listener, the pod is open
  WEFT_COUNT_OUTBOUND_MARK_FAILED = 8,  // refused: the mark could not be set
  WEFT_COUNT_INBOUND_CAPTURED = 9,
  WEFT_COUNT_INBOUND_LOCAL = 10,    // from the pod itself
  WEFT_COUNT_INBOUND_REFUSED = 11,  // no listener, the pod is closed
  WEFT_COUNT_INBOUND_OPEN = 12,     // no listener, the pod is open
  WEFT_COUNT_LOOPED_TAKEN = 13,     // a captured connection reached its listener
  WEFT_COUNT_LOOPED_LOST = 14,      // its listener went between connect and SYN: hangs
  WEFT_COUNT_INNER_BOUND = 15,      // the application's side of an inner leg was bound to lo
  WEFT_COUNT_INNER_FAILED = 16,
  WEFT_COUNT_ASSIGN_FAILED = 17,      // the kernel did not take the listener: refused
  WEFT_COUNT_INBOUND_PROBE = 18,      // from the kubelet, by proof: goes to the application
  WEFT_COUNT_DNS_TAKEN = 19,          // a datagram to port 53 reached the DNS socket
  WEFT_COUNT_DNS_LOST = 20,           // there was none
  WEFT_COUNT_OUTBOUND_EXCLUDED = 21,  // by the pod's annotations: passes
  WEFT_COUNT_INBOUND_EXCLUDED = 22,
  WEFT_COUNTERS = 23,
};

#define WEFT_ABI_VERSION 3
// The only entry of weft_abi.
struct weft_abi {
  __u32 version;
};

#endif
