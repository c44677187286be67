#include "agent/sandbox/pods.h"

#include "agent/sandbox/cgroup.h"
#include "agent/sandbox/environment.h"
#include "agent/sandbox/files.h"
#include "agent/sandbox/pod_space.h"
#include "agent/sandbox/services.h"
#include "agent/sandbox/spawn.h"
#include "ztunnel/base/fd.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <thread>

namespace weft::sandbox {

namespace {

// A person reads along: quick enough to feel live.
constexpr std::chrono::milliseconds kFollowTurn{100};

std::vector<PodPtr> pods_in(const std::vector<ObjectPtr>& all, const std::string& ns) {
  std::vector<PodPtr> pods;
  for (const ObjectPtr& object : all) {
    const auto* pod = object->as<crd::core::Pod>();
    if (pod != nullptr && pod->metadata().namespace_() == ns) pods.emplace_back(object, pod);
  }
  return pods;
}

PodPtr first_usable(const std::vector<PodPtr>& pods) {
  const auto usable =
      std::find_if(pods.begin(), pods.end(), [](const PodPtr& pod) { return is_ready(*pod); });
  if (usable != pods.end()) return *usable;
  return pods.empty() ? nullptr : pods.front();
}

std::vector<PodPtr> pods_of(const objects::Object& owner, const std::vector<PodPtr>& pods) {
  std::vector<PodPtr> mine;
  for (const PodPtr& pod : pods) {
    const auto* service = owner.as<crd::core::Service>();
    const bool owned = pod->metadata().ownerreferences_size() > 0 &&
                       pod->metadata().ownerreferences(0).uid() == owner.metadata().uid();
    if ((service != nullptr ? selects(*service, *pod) : owned) && !is_leaving(*pod)) {
      mine.push_back(pod);
    }
  }
  return mine;
}

// Closing fd 0 alone would give the next file that is opened its number.
Result<void> no_stdin() {
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null || ::dup2(null.get(), STDIN_FILENO) < 0) return fail_errno(errno, "opening /dev/null");
  return {};
}

Result<void> become_member(const Layout& layout, const crd::core::Pod& pod,
                           const std::string& container, bool keep_stdin) {
  const std::string cgroup = layout.pod_cgroup(pod.spec().nodename(), pod.metadata().uid());
  const pid_t pause = TRY(pause_of(cgroup));
  if (!keep_stdin) TRY(no_stdin());
  TRY(write_control_file(cgroup + "/" + container + "/cgroup.procs", "0"));
  return enter_pod(pause);
}

std::vector<std::string> split_at_nul(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\0', at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

}  // namespace

Result<PodPtr> find_pod(const Store& store, const std::string& what, const std::string& ns) {
  const auto all = TRY(store.list());
  const std::vector<PodPtr> pods = pods_in(all, ns);
  const size_t slash = what.find('/');
  const std::string kind = slash == std::string::npos ? "pod" : what.substr(0, slash);
  const std::string name = slash == std::string::npos ? what : what.substr(slash + 1);
  if (kind == "pod" || kind == "pods" || kind == "po") {
    for (const PodPtr& pod : pods) {
      if (pod->metadata().name() == name) return pod;
    }
    return fail(Code::kNotFound, "pod \"" + name + "\" not found in namespace " + ns);
  }
  const bool service = kind == "svc" || kind == "service" || kind == "services";
  if (!service && kind != "deploy" && kind != "deployment" && kind != "deployments") {
    return fail(Code::kInvalid,
                "\"" + what + "\": expected NAME, pod/NAME, svc/NAME or deploy/NAME");
  }
  for (const ObjectPtr& object : all) {
    const auto& meta = object->metadata();
    if (object->kind() != (service ? "Service" : "Deployment") || meta.name() != name ||
        meta.namespace_() != ns) {
      continue;
    }
    if (PodPtr pod = first_usable(pods_of(*object, pods))) return pod;
    return fail(Code::kNotFound, what + " has no pods");
  }
  return fail(Code::kNotFound, what + " not found in namespace " + ns);
}

Result<std::string> find_container(const crd::core::Pod& pod, const std::string& wanted) {
  std::string names;
  for (const auto* containers : {&pod.spec().containers(), &pod.spec().initcontainers()}) {
    for (const auto& container : *containers) {
      if (wanted.empty() || container.name() == wanted) return container.name();
      names += (names.empty() ? "" : ", ") + container.name();
    }
  }
  return fail(Code::kNotFound, "pod " + pod.metadata().name() + " has no container \"" + wanted +
                                   "\": it has " + names);
}

Error exec_in_pod(const Layout& layout, const crd::core::Pod& pod, const std::string& container,
                  const std::vector<std::string>& argv, bool keep_stdin) {
  const std::string folder = layout.pod(pod.metadata().uid()) + "/" + container;
  const auto environment = read_file(folder + ".env");
  const auto cwd = read_file(folder + ".cwd");
  if (!environment || !cwd) {
    return Error(Code::kUnavailable,
                 "container " + container + " of pod " + pod.metadata().name() +
                     " has not been started: " + pod.status().message().string_value());
  }
  if (auto joined = become_member(layout, pod, container, keep_stdin); !joined) {
    return std::move(joined).error().in("pod " + pod.metadata().name());
  }
  if (::chdir(cwd->c_str()) != 0) return errno_error(errno, "entering " + *cwd);
  return replace_process(argv, split_at_nul(*environment));
}

Result<std::string> process_log_of(const Layout& layout, const std::string& what) {
  if (what == "control" || what == "supervisor") return layout.process_log(what);
  for (const std::string& node : layout.nodes()) {
    for (const char* part : {"agent", "ztunnel"}) {
      if (what == "node/" + node + "/" + part) return layout.process_log(node + "-" + part);
    }
  }
  return fail(Code::kNotFound, "\"" + what +
                                   "\": expected control, supervisor, node/NODE/agent or "
                                   "node/NODE/ztunnel");
}

Result<void> print_log(const std::string& path, const LogOptions& options,
                       const std::function<bool()>& has_ended) {
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail(Code::kNotFound, "there is no log yet");
  if (options.tail >= 0) {
    const std::string tail = tail_of(path, static_cast<size_t>(options.tail));
    const off_t end = ::lseek(file.get(), 0, SEEK_END);
    if (end > 0 && options.tail > 0) {
      ::lseek(file.get(), std::max<off_t>(0, end - static_cast<off_t>(tail.size()) - 1), SEEK_SET);
    }
  }
  char chunk[65536];
  while (true) {
    const bool last = !options.follow || has_ended();
    ssize_t got = 0;
    while ((got = ::read(file.get(), chunk, sizeof chunk)) > 0) {
      for (ssize_t at = 0; at < got;) {
        const ssize_t wrote = ::write(STDOUT_FILENO, chunk + at, static_cast<size_t>(got - at));
        if (wrote < 0 && errno != EINTR) return fail_errno(errno, "writing");
        at += std::max<ssize_t>(0, wrote);
      }
    }
    if (got < 0 && errno != EINTR) return fail_errno(errno, "reading " + path);
    if (last) return {};
    std::this_thread::sleep_for(kFollowTurn);
  }
}

}  // namespace weft::sandbox
