#pragma once

#include "agent/enrol/bpffs.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <cstdint>
#include <memory>

struct weft_capture;  // the libbpf skeleton, in gen/bpf/capture.skel.h

namespace weft::enrol {

// bpf/capture.bpf.c, loaded: maps taken over from their pins or made and pinned, programs verified.
// Nothing is attached.
class CaptureObject {
 public:
  // Where pinned maps are of another layout than ours (an older agent's), or incomplete, everything
  // in the folder is unpinned first: those pods have to be captured anew.
  static Result<std::unique_ptr<CaptureObject>> load(const PinFolder& pins,
                                                     uint64_t node_netns_cookie);
  ~CaptureObject();

  struct Maps {
    int pods, proxies, listeners, slots, scope_ports, scope_ranges, probes, counters;
  };
  Maps maps() const;
  struct Programs {
    int connect4, connect6, bind_inner_leg, peer_port4, peer_port6, note_probe, mark_datagrams;
  };
  Programs programs() const;

  // An instance of the sk_lookup program that serves the slot.
  Result<Fd> load_deliver(uint32_t slot) const;

 private:
  explicit CaptureObject(weft_capture* skeleton) : skeleton_(skeleton) {}
  weft_capture* skeleton_;
};

// A link as the kernel describes it: what a program is attached to. 0: nothing any more.
struct LinkTarget {
  uint64_t cgroup_id = 0;
  uint64_t netns_inode = 0;
};
Result<LinkTarget> link_target(int link_fd);

// Attaches the program to the target by a link pinned as `name`. A pinned link that is on the same
// target already gets the program instead, atomically; one on another target is detached.
Result<void> attach_pinned(const PinFolder& pins, const std::string& name, int program_fd,
                           int target_fd, int attach_type, const LinkTarget& target);
// Detaches and unpins; what is not there is fine.
Result<void> detach_pinned(const PinFolder& pins, const std::string& name);

}  // namespace weft::enrol
