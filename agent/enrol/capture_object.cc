#include "agent/enrol/capture_object.h"

#include "bpf/capture.skel.h"
#include "bpf/weft_abi.h"
#include "ztunnel/base/log.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <string>

namespace weft::enrol {
namespace {

constexpr const char* kTarget = "capture";
constexpr size_t kLibbpfTextMax = 16 * 1024;  // the end of a verifier log says what was refused

// What libbpf has to say while one call runs, for the error message. libbpf's print function is one
// for the process and has no context, so this is the only global here; the agent loads programs
// from one thread.
class LibbpfText {
 public:
  LibbpfText() {
    text().clear();
    previous_ = libbpf_set_print(&LibbpfText::print);
  }
  ~LibbpfText() { libbpf_set_print(previous_); }
  LibbpfText(const LibbpfText&) = delete;
  LibbpfText& operator=(const LibbpfText&) = delete;

  static std::string& text() {
    static std::string collected;
    return collected;
  }

 private:
  static int print(libbpf_print_level level, const char* format, va_list arguments)
      __attribute__((format(printf, 2, 0))) {
    if (level != LIBBPF_WARN) return 0;
    char line[2048];
    const int length = vsnprintf(line, sizeof(line), format, arguments);
    text().append(line);
    if (text().size() > kLibbpfTextMax) text().erase(0, text().size() - kLibbpfTextMax);
    return length;
  }

  libbpf_print_fn_t previous_;
};

Error explain_load(int error_number, const std::string& libbpf_text) {
  if (error_number == EPERM || error_number == EACCES) {
    if (geteuid() != 0) {
      return {Code::kUnsupported,
              "loading the capture programs needs root (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN)"};
    }
  }
  if (error_number == ENOSYS) {
    return {Code::kUnsupported, "this kernel has no bpf(2) (CONFIG_BPF_SYSCALL)"};
  }
  Error error = errno_error(error_number, "loading the capture programs (Linux 5.18 or newer)");
  if (libbpf_text.empty()) return error;
  return {error.code, error.message, Error(Code::kInternal, libbpf_text)};
}

bool has_layout_of(int fd, const bpf_map* map) {
  bpf_map_info info{};
  uint32_t length = sizeof(info);
  return bpf_obj_get_info_by_fd(fd, &info, &length) == 0 && info.type == bpf_map__type(map) &&
         info.key_size == bpf_map__key_size(map) && info.value_size == bpf_map__value_size(map) &&
         info.max_entries == bpf_map__max_entries(map);
}

std::string pin_name(const bpf_map* map) { return std::string("map-") + bpf_map__name(map); }

bool is_shared(const bpf_map* map) { return !bpf_map__is_internal(map); }

// The version is written last, so that maps of an agent that died while pinning do not pass.
bool has_our_version(const PinFolder& pins, const bpf_map* version_map) {
  const Result<Fd> pinned = pins.get(pin_name(version_map));
  const uint32_t key = 0;
  struct weft_abi abi{};
  return pinned && *pinned && has_layout_of(pinned->get(), version_map) &&
         bpf_map_lookup_elem(pinned->get(), &key, &abi) == 0 && abi.version == WEFT_ABI_VERSION;
}

// Whether all maps were there and ours, and are now used by the skeleton.
Result<bool> take_over_maps(const PinFolder& pins, weft_capture& skeleton) {
  if (!has_our_version(pins, skeleton.maps.weft_abi)) return false;
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, skeleton.obj) {
    if (!is_shared(map)) continue;
    const Fd pinned = TRY(pins.get(pin_name(map)));
    if (!pinned || !has_layout_of(pinned.get(), map)) return false;
    if (bpf_map__reuse_fd(map, pinned.get()) != 0) {
      return fail_errno(errno, "taking over the pinned map " + pins.path_of(pin_name(map)));
    }
  }
  return true;
}

Result<void> pin_maps(const PinFolder& pins, weft_capture& skeleton) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, skeleton.obj) {
    if (is_shared(map)) TRY(pins.pin(bpf_map__fd(map), pin_name(map)));
  }
  const uint32_t key = 0;
  const struct weft_abi abi{.version = WEFT_ABI_VERSION};
  if (bpf_map_update_elem(bpf_map__fd(skeleton.maps.weft_abi), &key, &abi, BPF_ANY) != 0) {
    return fail_errno(errno, "writing the version of the pinned maps");
  }
  return {};
}

Result<weft_capture*> open_skeleton() {
  weft_capture* skeleton = weft_capture__open();
  if (skeleton == nullptr) return fail_errno(errno, "opening the embedded capture programs");
  return skeleton;
}

// Detaches every pinned link, so that what an incompatible agent left behind does nothing any more.
Result<void> drop_pins(const PinFolder& pins) {
  const std::vector<std::string> names = TRY(pins.names());
  for (const std::string& name : names) {
    if (name.starts_with("map-")) {
      TRY(pins.unpin(name));
    } else {
      TRY(detach_pinned(pins, name));
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<CaptureObject>> CaptureObject::load(const PinFolder& pins,
                                                           uint64_t node_netns_cookie) {
  const LibbpfText libbpf;
  std::unique_ptr<CaptureObject> object(new CaptureObject(TRY(open_skeleton())));
  bool taken_over = TRY(take_over_maps(pins, *object->skeleton_));
  if (!taken_over) {
    const std::vector<std::string> left = TRY(pins.names());
    if (!left.empty()) {
      log::warn(kTarget)
          .field("pins", pins.path())
          .say("pinned maps are incomplete or of another version: capturing anew");
      TRY(drop_pins(pins));
      object.reset(new CaptureObject(TRY(open_skeleton())));
    }
  }
  // The per-pod program is loaded once for each pod, by load_deliver().
  bpf_program__set_autoload(object->skeleton_->progs.deliver, false);
  object->skeleton_->rodata->node_netns_cookie = node_netns_cookie;
  if (const int error = weft_capture__load(object->skeleton_); error != 0) {
    return Fail(explain_load(-error, LibbpfText::text()));
  }
  if (!taken_over) TRY(pin_maps(pins, *object->skeleton_));
  return object;
}

CaptureObject::~CaptureObject() { weft_capture__destroy(skeleton_); }

CaptureObject::Maps CaptureObject::maps() const {
  return {.pods = bpf_map__fd(skeleton_->maps.weft_pods),
          .proxies = bpf_map__fd(skeleton_->maps.weft_proxies),
          .listeners = bpf_map__fd(skeleton_->maps.weft_listeners),
          .slots = bpf_map__fd(skeleton_->maps.weft_slots),
          .scope_ports = bpf_map__fd(skeleton_->maps.weft_scope_ports),
          .scope_ranges = bpf_map__fd(skeleton_->maps.weft_scope_ranges),
          .probes = bpf_map__fd(skeleton_->maps.weft_probes),
          .counters = bpf_map__fd(skeleton_->maps.weft_counters)};
}

CaptureObject::Programs CaptureObject::programs() const {
  return {.connect4 = bpf_program__fd(skeleton_->progs.connect4),
          .connect6 = bpf_program__fd(skeleton_->progs.connect6),
          .bind_inner_leg = bpf_program__fd(skeleton_->progs.bind_inner_leg),
          .peer_port4 = bpf_program__fd(skeleton_->progs.peer_port4),
          .peer_port6 = bpf_program__fd(skeleton_->progs.peer_port6),
          .note_probe = bpf_program__fd(skeleton_->progs.note_probe),
          .mark_datagrams = bpf_program__fd(skeleton_->progs.mark_datagrams)};
}

Result<Fd> CaptureObject::load_deliver(uint32_t slot) const {
  const LibbpfText libbpf;
  const std::unique_ptr<weft_capture, decltype(&weft_capture__destroy)> instance(
      TRY(open_skeleton()), &weft_capture__destroy);
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, instance->obj) {
    if (!is_shared(map)) continue;
    const bpf_map* ours = bpf_object__find_map_by_name(skeleton_->obj, bpf_map__name(map));
    if (bpf_map__reuse_fd(map, bpf_map__fd(ours)) != 0) {
      return fail_errno(errno, "sharing a map with a pod's program");
    }
  }
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, instance->obj) {
    bpf_program__set_autoload(program, program == instance->progs.deliver);
  }
  instance->rodata->pod_slot = slot;
  if (const int error = weft_capture__load(instance.get()); error != 0) {
    return Fail(explain_load(-error, LibbpfText::text()));
  }
  Fd copy(dup(bpf_program__fd(instance->progs.deliver)));
  if (!copy) return fail_errno(errno, "keeping a pod's program");
  return copy;
}

Result<LinkTarget> link_target(int link_fd) {
  bpf_link_info info{};
  uint32_t length = sizeof(info);
  if (bpf_obj_get_info_by_fd(link_fd, &info, &length) != 0) {
    return fail_errno(errno, "looking at a pinned link");
  }
  LinkTarget target;
  if (info.type == BPF_LINK_TYPE_CGROUP) target.cgroup_id = info.cgroup.cgroup_id;
  if (info.type == BPF_LINK_TYPE_NETNS) target.netns_inode = info.netns.netns_ino;
  return target;
}

Result<void> attach_pinned(const PinFolder& pins, const std::string& name, int program_fd,
                           int target_fd, int attach_type, const LinkTarget& target) {
  const Fd pinned = TRY(pins.get(name));
  if (pinned) {
    const LinkTarget present = TRY(link_target(pinned.get()));
    const bool same =
        present.cgroup_id == target.cgroup_id && present.netns_inode == target.netns_inode;
    if (same && bpf_link_update(pinned.get(), program_fd, nullptr) == 0) return {};
    TRY(detach_pinned(pins, name));
  }
  const Fd link(
      bpf_link_create(program_fd, target_fd, static_cast<bpf_attach_type>(attach_type), nullptr));
  if (!link) {
    if (errno == EPERM && geteuid() == 0 && target.cgroup_id != 0) {
      return fail(Code::kRefused,
                  "attaching " + name +
                      ": another program holds this cgroup exclusively (attached without "
                      "BPF_F_ALLOW_MULTI); give a cgroup above it by --cgroup-root, or detach it");
    }
    return fail_errno(errno, "attaching " + name);
  }
  return pins.pin(link.get(), name);
}

Result<void> detach_pinned(const PinFolder& pins, const std::string& name) {
  const Fd pinned = TRY(pins.get(name));
  if (!pinned) return {};
  // Unpinning alone would leave it attached for as long as somebody holds a descriptor. ENOLINK:
  // its cgroup or network namespace is gone already.
  bpf_link_detach(pinned.get());
  return pins.unpin(name);
}

}  // namespace weft::enrol
