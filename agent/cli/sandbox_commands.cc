// `weft sandbox ...`: reads the command line, calls agent/sandbox, prints.

#include "agent/cli/commands.h"
#include "agent/cli/sandbox_get.h"
#include "agent/cli/sandbox_rollout.h"
#include "agent/sandbox/apply.h"
#include "agent/sandbox/kubelet.h"
#include "agent/sandbox/lifecycle.h"
#include "agent/sandbox/pod_space.h"
#include "agent/sandbox/pods.h"
#include "agent/sandbox/port_forward.h"
#include "agent/sandbox/services.h"
#include "ztunnel/base/flags.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

namespace weft::cli {

namespace {

using sandbox::Layout;

const Flag kName = {.name = "name",
                    .value = "NAME",
                    .help = "the sandbox, where there are several",
                    .fallback = "weft"};
const Flag kNamespace = {.name = "namespace",
                         .value = "NS",
                         .help = "the namespace of objects that name none",
                         .fallback = "default",
                         .letter = 'n'};
const Flag kFile = {.name = "filename",
                    .value = "FILE|DIR",
                    .help = "manifests: a file, or every *.yaml, *.yml and *.json of a folder",
                    .letter = 'f'};
const Flag kContainer = {.name = "container",
                         .value = "NAME",
                         .help = "the container, where the pod has several",
                         .letter = 'c'};

std::string joined(const std::vector<Error>& errors) {
  std::string text;
  for (const Error& error : errors) text += (text.empty() ? "" : "\nerror: ") + error.to_string();
  return text;
}

int finish(const sandbox::Applied& applied) {
  for (const std::string& line : applied.report) std::printf("%s\n", line.c_str());
  return applied.errors.empty() ? kDone : complain(joined(applied.errors));
}

// Parses, prints help or the mistake, finds the sandbox; then calls `run`.
template <class Run>
int with_flags(const std::string& command, const std::vector<Flag>& known, size_t positional_max,
               const Args& args, Run run) {
  auto flags = Flags::parse(args, known, positional_max);
  if (!flags)
    return complain("weft sandbox " + command + ": " + flags.error().to_string(), kMisused);
  if (flags->help()) {
    std::fputs(Flags::help_text("weft sandbox " + command, known).c_str(), stdout);
    return kDone;
  }
  const auto layout = Layout::make(flags->get("name"));
  if (!layout) {
    return complain(layout.error().to_string(),
                    layout.error().code == Code::kInvalid ? kMisused : kFailed);
  }
  return run(*flags, *layout);
}

template <class Run>
int when_up(const std::string& command, const std::vector<Flag>& known, size_t positional_max,
            const Args& args, Run run) {
  return with_flags(command, known, positional_max, args,
                    [&run](const Flags& flags, const Layout& layout) {
                      if (auto up = sandbox::need_up(layout); !up) {
                        return complain(up.error().to_string());
                      }
                      return run(flags, layout);
                    });
}

void print_progress(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

int run_up(const Args& args) {
  const std::vector<Flag> known = {
      kName,
      kFile,
      {.name = "nodes", .value = "N", .help = "how many nodes", .fallback = "2"},
      {.name = "no-mesh",
       .help = "pods and services only: start neither control nor agents nor ztunnels",
       .kind = Flag::Kind::kSwitch},
      {.name = "ip-families",
       .value = "dual|ipv4|ipv6",
       .help = "addresses of pods and services (dual, where this machine has IPv6)"},
      {.name = "ztunnel-flags",
       .value = "NAME=VALUE,..",
       .help = "more flags for every ztunnel: backend=epoll,certificate-ttl=60"},
      {.name = "control-flags", .value = "NAME=VALUE,..", .help = "more flags for control"},
      {.name = "ca-certs",
       .value = "DIR",
       .help = "your own CA (ca-key.pem, ca-cert.pem, cert-chain.pem, root-cert.pem)"},
      {.name = "keep-failed",
       .help = "leave what was made where it does not come up, for a look at the logs",
       .kind = Flag::Kind::kSwitch}};
  return with_flags("up", known, 0, args, [](const Flags& flags, const Layout& layout) {
    const auto nodes = flags.number("nodes", 1, sandbox::kNodesMax);
    if (!nodes) return complain("weft sandbox up: " + nodes.error().to_string(), kMisused);
    sandbox::UpOptions options;
    options.nodes = static_cast<int>(*nodes);
    options.mesh = !flags.has("no-mesh");
    if (flags.has("ip-families")) {
      const auto families = sandbox::parse_families(flags.get("ip-families"));
      if (!families) {
        return complain("weft sandbox up: --ip-families: " + families.error().to_string(),
                        kMisused);
      }
      options.families = *families;
    }
    options.keep_failed = flags.has("keep-failed");
    options.manifests = flags.get("filename");
    options.ztunnel_flags = flags.list("ztunnel-flags");
    options.control_flags = flags.list("control-flags");
    if (flags.has("ca-certs")) {
      std::error_code error;
      const auto folder = std::filesystem::absolute(flags.get("ca-certs"), error);
      options.control_flags.push_back("ca-certs=" + folder.string());
    }
    if (auto up = sandbox::bring_up(layout, options, print_progress); !up) {
      return complain(up.error().to_string());
    }
    print_progress("the sandbox \"" + layout.name() + "\" is up: " + std::to_string(options.nodes) +
                   " nodes");
    return kDone;
  });
}

int run_down(const Args& args) {
  return with_flags("down", {kName}, 0, args, [](const Flags&, const Layout& layout) {
    const auto down = sandbox::take_down(layout);
    if (!down) return complain(down.error().to_string());
    print_progress(*down ? "the sandbox \"" + layout.name() + "\" is down"
                         : "there is no sandbox \"" + layout.name() + "\"");
    return kDone;
  });
}

int run_apply(const Args& args) {
  Flag file = kFile;
  file.kind = Flag::Kind::kRequired;
  return when_up(
      "apply", {kName, kNamespace, file}, 0, args, [](const Flags& flags, const Layout& layout) {
        return finish(
            sandbox::apply_manifests(layout, flags.get("filename"), flags.get("namespace")));
      });
}

int run_delete(const Args& args) {
  constexpr size_t kNamesMax = 1000;
  return when_up("delete", {kName, kNamespace, kFile}, kNamesMax, args,
                 [](const Flags& flags, const Layout& layout) {
                   const std::string& ns = flags.get("namespace");
                   std::vector<std::string> words = flags.positional();
                   if (flags.has("filename")) {
                     if (!words.empty())
                       return complain("delete: expected -f FILE or KIND NAME", kMisused);
                     return finish(sandbox::delete_manifests(layout, flags.get("filename"), ns));
                   }
                   if (words.size() == 1 && words[0].find('/') != std::string::npos) {
                     const size_t slash = words[0].find('/');
                     words = {words[0].substr(0, slash), words[0].substr(slash + 1)};
                   }
                   if (words.size() < 2)
                     return complain("delete: expected -f FILE or KIND NAME", kMisused);
                   const auto kind = sandbox::kind_of(words[0]);
                   if (!kind) return complain(kind.error().to_string(), kMisused);
                   return finish(sandbox::delete_named(layout, *kind, ns,
                                                       Args(words.begin() + 1, words.end())));
                 });
}

int run_exec(const Args& args) {
  const std::vector<Flag> known = {kName,
                                   kNamespace,
                                   kContainer,
                                   {.name = "stdin",
                                    .help = "pass standard input on",
                                    .kind = Flag::Kind::kSwitch,
                                    .letter = 'i'},
                                   {.name = "tty",
                                    .help = "accepted: the command has this terminal in any case",
                                    .kind = Flag::Kind::kSwitch,
                                    .letter = 't'}};
  // As everybody types it.
  Args spelled;
  bool behind = false;
  for (const std::string& arg : args) {
    behind = behind || arg == "--";
    if (!behind && (arg == "-it" || arg == "-ti")) {
      spelled.insert(spelled.end(), {"-i", "-t"});
    } else {
      spelled.push_back(arg);
    }
  }
  return when_up("exec", known, 1, spelled, [](const Flags& flags, const Layout& layout) {
    if (flags.positional().empty() || flags.rest().empty()) {
      return complain("exec: expected POD -- COMMAND [ARGUMENT..]", kMisused);
    }
    const sandbox::Store store(layout.objects());
    const auto pod = sandbox::find_pod(store, flags.positional()[0], flags.get("namespace"));
    if (!pod) return complain(pod.error().to_string());
    const auto container = sandbox::find_container(**pod, flags.get("container"));
    if (!container) return complain(container.error().to_string());
    const Error error =
        sandbox::exec_in_pod(layout, **pod, *container, flags.rest(), flags.has("stdin"));
    // As shells and kubectl have it: no such program.
    constexpr int kNoProgram = 127;
    return complain(error.to_string(), error.code == Code::kNotFound ? kNoProgram : kFailed);
  });
}

int run_logs(const Args& args) {
  const std::vector<Flag> known = {
      kName,
      kNamespace,
      kContainer,
      {.name = "follow", .help = "go on as it grows", .kind = Flag::Kind::kSwitch, .letter = 'f'},
      {.name = "tail", .value = "LINES", .help = "only the last lines", .fallback = "-1"}};
  return when_up("logs", known, 1, args, [](const Flags& flags, const Layout& layout) {
    if (flags.positional().empty()) {
      return complain(
          "logs: expected POD, control, supervisor, node/NODE/agent or "
          "node/NODE/ztunnel",
          kMisused);
    }
    const auto tail = flags.number("tail", -1, 1'000'000);
    if (!tail) return complain("logs: " + tail.error().to_string(), kMisused);
    const sandbox::LogOptions options{flags.has("follow"), *tail};
    const std::string& what = flags.positional()[0];
    if (const auto path = sandbox::process_log_of(layout, what)) {
      const auto printed =
          sandbox::print_log(*path, options, [&layout] { return !sandbox::is_up(layout); });
      return printed ? kDone : complain(printed.error().to_string());
    } else if (what.starts_with("node/")) {
      return complain(path.error().to_string());
    }
    const sandbox::Store store(layout.objects());
    const auto pod = sandbox::find_pod(store, what, flags.get("namespace"));
    if (!pod) return complain(pod.error().to_string());
    const auto container = sandbox::find_container(**pod, flags.get("container"));
    if (!container) return complain(container.error().to_string());
    const std::string& uid = (*pod)->metadata().uid();
    const std::string cgroup = layout.pod_cgroup((*pod)->spec().nodename(), uid);
    const auto printed =
        sandbox::print_log(layout.container_log(uid, *container), options,
                           [&cgroup] { return !sandbox::pause_of(cgroup).has_value(); });
    return printed ? kDone : complain(printed.error().to_string());
  });
}

Result<void> find_targets(const sandbox::Store& store, const sandbox::PodPtr& pod,
                          const std::string& what, const std::string& ns,
                          std::vector<sandbox::Forward>& forwards) {
  const bool is_service = what.starts_with("svc/") || what.starts_with("service/");
  if (!is_service) {
    for (sandbox::Forward& forward : forwards) forward.target = forward.remote;
    return {};
  }
  const auto object = TRY(store.get({"Service", ns, what.substr(what.find('/') + 1)}));
  const auto* service = object ? object->as<crd::core::Service>() : nullptr;
  if (service == nullptr) return fail(Code::kNotFound, what + " not found");
  for (sandbox::Forward& forward : forwards) {
    for (const auto& port : service->spec().ports()) {
      if (port.port() != forward.remote) continue;
      forward.target = sandbox::target_port(port, *pod).value_or(0);
    }
    if (forward.target == 0) {
      return fail(Code::kNotFound, what + " has no port " + std::to_string(forward.remote));
    }
  }
  return {};
}

int run_port_forward(const Args& args) {
  constexpr size_t kWordsMax = 65;
  return when_up(
      "port-forward", {kName, kNamespace}, kWordsMax, args,
      [](const Flags& flags, const Layout& layout) {
        const auto& words = flags.positional();
        if (words.size() < 2) {
          return complain("port-forward: expected svc/NAME or pod/NAME, and LOCAL:REMOTE",
                          kMisused);
        }
        std::vector<sandbox::Forward> forwards;
        for (size_t i = 1; i < words.size(); ++i) {
          const auto forward = sandbox::parse_forward(words[i]);
          if (!forward) return complain(forward.error().to_string(), kMisused);
          forwards.push_back(*forward);
        }
        const sandbox::Store store(layout.objects());
        const std::string& ns = flags.get("namespace");
        const auto pod = sandbox::find_pod(store, words[0], ns);
        if (!pod) return complain(pod.error().to_string());
        if (auto found = find_targets(store, *pod, words[0], ns, forwards); !found) {
          return complain(found.error().to_string());
        }
        return complain(sandbox::forward_ports(layout, *pod, forwards, print_progress).to_string());
      });
}

// What keeps a pod from being ready, a line each; empty: every pod is.
std::vector<std::string> not_ready(const sandbox::Store& store) {
  std::vector<std::string> waiting;
  const auto all = store.list();
  if (!all) return {all.error().to_string()};
  for (const auto& object : *all) {
    const auto* pod = object->as<crd::core::Pod>();
    if (const auto* deployment = object->as<crd::core::Deployment>()) {
      const auto have = sandbox::ready_replicas(*deployment, *all);
      const size_t wanted = deployment->spec().has_replicas() ? deployment->spec().replicas() : 1;
      if (have < wanted) {
        waiting.push_back(object->key().to_string() + ": " + std::to_string(have) + " of " +
                          std::to_string(wanted) + " pods ready");
      }
    }
    if (pod == nullptr || sandbox::is_ready(*pod) || sandbox::is_finished(*pod)) continue;
    waiting.push_back(object->key().to_string() + ": not ready " +
                      pod->status().message().string_value());
  }
  return waiting;
}

int run_wait(const Args& args) {
  const std::vector<Flag> known = {
      kName,
      {.name = "timeout", .value = "SECONDS", .help = "at most this long", .fallback = "60"}};
  return when_up("wait", known, 0, args, [](const Flags& flags, const Layout& layout) {
    const auto seconds = flags.number("timeout", 0, 3600);
    if (!seconds) return complain("wait: " + seconds.error().to_string(), kMisused);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(*seconds);
    const sandbox::Store store(layout.objects());
    while (true) {
      const std::vector<std::string> waiting = not_ready(store);
      if (waiting.empty()) return kDone;
      if (std::chrono::steady_clock::now() >= end) {
        for (const std::string& line : waiting) std::fprintf(stderr, "%s\n", line.c_str());
        return complain("not every pod is ready after " + std::to_string(*seconds) + " s");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
}

int run_supervise(const Args& args) {
  const std::vector<Flag> known = {kName, {.name = "no-mesh", .kind = Flag::Kind::kSwitch}};
  return with_flags("supervise", known, 0, args, [](const Flags& flags, const Layout& layout) {
    auto ended = sandbox::run_supervisor(layout, !flags.has("no-mesh"));
    return ended ? kDone : complain(ended.error().to_string());
  });
}

int run_kubelet(const Args& args) {
  const std::vector<Flag> known = {
      {.name = "socket", .value = "PATH", .kind = Flag::Kind::kRequired}};
  const auto flags = Flags::parse(args, known);
  if (!flags) return complain("weft sandbox kubelet: " + flags.error().to_string(), kMisused);
  auto ended = sandbox::run_kubelet(flags->get("socket"));
  return ended ? kDone : complain(ended.error().to_string());
}

int run_pause(const Args&) { sandbox::pause_forever(); }

int run_get_here(const Args& args) {
  return when_up("get", get_flags(kName, kNamespace), 2, args,
                 [](const Flags& flags, const Layout& layout) { return run_get(flags, layout); });
}

int run_rollout_here(const Args& args) {
  return when_up(
      "rollout", rollout_flags(kName), 2, args,
      [](const Flags& flags, const Layout& layout) { return run_rollout(flags, layout); });
}

}  // namespace

int run_sandbox(const Args& args) {
  return dispatch(
      "weft sandbox",
      {{"up", "make a sandbox and start control, agents, ztunnels and pods", run_up},
       {"apply", "create or change objects from manifests", run_apply},
       {"delete", "delete objects", run_delete},
       {"get", "show objects", run_get_here},
       {"wait", "wait until every pod is ready", run_wait},
       {"exec", "run a command in a pod", run_exec},
       {"logs", "show what a pod, an agent, a ztunnel or control has printed", run_logs},
       {"rollout", "restart ztunnel: a new one takes over, the old one drains", run_rollout_here},
       {"port-forward", "reach a pod's port on 127.0.0.1", run_port_forward},
       {"down", "remove everything of a sandbox", run_down},
       {"supervise", "", run_supervise, true},
       {"kubelet", "", run_kubelet, true},
       {"pause", "", run_pause, true}},
      args);
}

}  // namespace weft::cli
