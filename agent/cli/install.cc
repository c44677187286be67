// `weft install`, `upgrade` and `uninstall`: the chart inside of this program, handed to helm.
// Everything that they do can be done with helm alone.

#include "agent/cli/chart.h"
#include "agent/cli/commands.h"
#include "agent/cli/purge.h"
#include "agent/sandbox/spawn.h"
#include "ztunnel/base/flags.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>

namespace weft::cli {

namespace {

using sandbox::replace_process;

constexpr const char* kRelease = "weft";

const std::vector<Flag>& release_flags() {
  static const std::vector<Flag> flags = {
      {.name = "namespace",
       .value = "NAME",
       .help = "where Weft's own pods are",
       .fallback = "istio-system",
       .letter = 'n'},
      {.name = "kubeconfig", .value = "FILE", .help = "the cluster; none: as kubectl finds it"},
      {.name = "context", .value = "NAME", .help = "of the kubeconfig (its current-context)"},
      {.name = "dry-run",
       .help = "ask the API server what it would say, and change nothing",
       .kind = Flag::Kind::kSwitch},
      {.name = "no-wait",
       .help = "do not wait until all of it is ready",
       .kind = Flag::Kind::kSwitch},
      {.name = "timeout", .value = "DURATION", .help = "how long to wait", .fallback = "5m"},
  };
  return flags;
}

const std::vector<Flag>& install_flags() {
  static const std::vector<Flag> flags = [] {
    std::vector<Flag> all = release_flags();
    all.push_back({.name = "platform",
                   .value = "NAME",
                   .help = "gke, eks, aks, openshift, k3s, k3d, kind, minikube or microk8s"});
    all.push_back({.name = "set",
                   .value = "NAME=VALUE,..",
                   .help = "values of the chart: `helm show values` lists them"});
    all.push_back(
        {.name = "values", .value = "FILE", .help = "values of the chart", .letter = 'f'});
    return all;
  }();
  return flags;
}

bool is_in_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (access((folder + "/" + program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

// Helm with what the flags say of the cluster.
Result<std::vector<std::string>> helm_command(std::vector<std::string> argv, const Flags& flags) {
  if (!is_in_path("helm")) {
    return fail(Code::kNotFound,
                "helm is not in PATH: install it (https://helm.sh/docs/intro/install), or apply "
                "the output of `weft chart` with any other tool that takes Helm charts");
  }
  for (const char* name : {"kubeconfig", "context"}) {
    if (!flags.has(name)) continue;
    argv.push_back(std::string(name) == "context" ? "--kube-context" : "--kubeconfig");
    argv.push_back(flags.get(name));
  }
  argv.insert(argv.end(), flags.rest().begin(), flags.rest().end());
  return argv;
}

// Executes helm in place of this process.
int become_helm(std::vector<std::string> argv, const Flags& flags) {
  const auto command = helm_command(std::move(argv), flags);
  if (!command) return complain(command.error().to_string());
  return complain(replace_process(*command, std::nullopt).to_string());
}

// Helm, and when it is done what stays after it.
int uninstall_and_purge(std::vector<std::string> argv, const Flags& flags) {
  const auto command = helm_command(std::move(argv), flags);
  if (!command) return complain(command.error().to_string());
  sandbox::SpawnOptions how;
  how.argv = *command;
  std::error_code ignored;
  how.cwd = std::filesystem::current_path(ignored);
  how.stdin_fd = STDIN_FILENO;
  how.stdout_fd = STDOUT_FILENO;
  how.stderr_fd = STDERR_FILENO;
  how.session = false;
  const auto helm = sandbox::spawn(how);
  if (!helm) return complain(helm.error().to_string());
  if (const sandbox::Exit exit = sandbox::reap(*helm); !exit.ok()) return exit.code();
  const auto gone = purge(flags);
  if (!gone) return complain("weft uninstall --purge: " + gone.error().to_string());
  for (const std::string& path : *gone) std::printf("removed %s\n", path.c_str());
  return kDone;
}

Result<std::vector<std::string>> with_chart(std::vector<std::string> argv, const Flags& flags) {
  Fd chart = TRY(open_chart());
  argv.push_back("/proc/self/fd/" + std::to_string(chart.release()));
  argv.insert(argv.end(), {"--namespace", flags.get("namespace")});
  if (flags.has("platform"))
    argv.insert(argv.end(), {"--set", "platform=" + flags.get("platform")});
  if (flags.has("values")) argv.insert(argv.end(), {"--values", flags.get("values")});
  if (flags.has("set")) argv.insert(argv.end(), {"--set", flags.get("set")});
  if (flags.has("dry-run")) argv.emplace_back("--dry-run=server");
  return argv;
}

void add_waiting(std::vector<std::string>& argv, const Flags& flags) {
  if (flags.has("no-wait") || flags.has("dry-run")) return;
  argv.insert(argv.end(), {"--wait", "--timeout", flags.get("timeout")});
}

int run_with_chart(const char* command, std::vector<std::string> argv, const Args& args) {
  const auto flags = Flags::parse(args, install_flags());
  if (!flags) return complain(std::string(command) + ": " + flags.error().to_string(), kMisused);
  if (flags->help()) {
    std::fputs(Flags::help_text(command, install_flags()).c_str(), stdout);
    std::puts("\nWhat stands behind -- goes to helm.");
    return kDone;
  }
  auto full = with_chart(std::move(argv), *flags);
  if (!full) return complain(full.error().to_string());
  add_waiting(*full, *flags);
  return become_helm(std::move(*full), *flags);
}

}  // namespace

int run_install(const Args& args) {
  return run_with_chart("weft install",
                        {"helm", "upgrade", "--install", "--create-namespace", kRelease}, args);
}

int run_upgrade(const Args& args) {
  return run_with_chart("weft upgrade", {"helm", "upgrade", "--reset-then-reuse-values", kRelease},
                        args);
}

int run_uninstall(const Args& args) {
  std::vector<Flag> known = release_flags();
  known.push_back({.name = "purge",
                   .help = "also the CA's Secret weft-ca: every certificate of the mesh is then "
                           "worthless, and the next installation makes another root",
                   .kind = Flag::Kind::kSwitch});
  const auto flags = Flags::parse(args, known);
  if (!flags) return complain("weft uninstall: " + flags.error().to_string(), kMisused);
  if (flags->help()) {
    std::fputs(Flags::help_text("weft uninstall", known).c_str(), stdout);
    std::puts(
        "\nPods leave the mesh, nodes are as before. What stays: the CustomResourceDefinitions and "
        "the objects of their\nkinds, the CA's Secret weft-ca, so that the next installation has "
        "the same root, and the ConfigMaps\nistio-ca-root-cert; --purge removes the CA and these "
        "ConfigMaps.\nWhat stands behind -- goes to helm.");
    return kDone;
  }
  std::vector<std::string> argv = {"helm", "uninstall", kRelease, "--namespace",
                                   flags->get("namespace")};
  if (flags->has("dry-run")) argv.emplace_back("--dry-run");
  add_waiting(argv, *flags);
  const bool purges = flags->has("purge") && !flags->has("dry-run");
  if (!purges) return become_helm(std::move(argv), *flags);
  argv.emplace_back("--ignore-not-found");  // purging may be an afterthought
  return uninstall_and_purge(std::move(argv), *flags);
}

int run_chart(const Args& args) {
  if (args.size() == 1 && args[0] == "--help") {
    std::puts("Usage: weft chart > weft.tgz\n\nThe Helm chart that `weft install` installs.");
    return kDone;
  }
  if (!args.empty()) return complain("weft chart takes no arguments", kMisused);
  if (isatty(STDOUT_FILENO) == 1) {
    return complain("weft chart: an archive is no text: weft chart > weft.tgz", kMisused);
  }
  const std::string_view archive = chart_archive();
  const bool written = std::fwrite(archive.data(), 1, archive.size(), stdout) == archive.size();
  return written && std::fflush(stdout) == 0 ? kDone : complain("the chart was not written whole");
}

}  // namespace weft::cli
