// `weft waypoint`: makes waypoints, lists them, takes them away. Flags and tables are istioctl's.

#include "agent/cli/cluster.h"
#include "agent/cli/commands.h"
#include "agent/cli/dump_tables.h"
#include "agent/cli/waypoint_place.h"
#include "ztunnel/base/flags.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <thread>

namespace weft::cli {

namespace {

using objects::Tree;

constexpr const char* kClass = "weft-waypoint";
constexpr const char* kIstioClass = "istio-waypoint";
constexpr const char* kUseWaypoint = "istio.io/use-waypoint";
constexpr const char* kDataplaneMode = "istio.io/dataplane-mode";
constexpr const char* kWaypointFor = "istio.io/waypoint-for";
constexpr std::chrono::milliseconds kLookEvery{200};
constexpr std::array<std::string_view, 4> kTraffic{"service", "workload", "all", "none"};

std::vector<Flag> flags_known() {
  std::vector<Flag> flags = {
      {.name = "namespace",
       .value = "NAME",
       .help = "of the waypoint",
       .fallback = "default",
       .letter = 'n'},
      {.name = "all-namespaces",
       .help = "list: of all of them",
       .kind = Flag::Kind::kSwitch,
       .letter = 'A'},
      {.name = "name", .value = "NAME", .help = "of the waypoint", .fallback = "waypoint"},
      {.name = "for",
       .value = "service|workload|all|none",
       .help = "what it stands before (service)"},
      {.name = "enroll-namespace",
       .help = "apply: the namespace's services and pods use it",
       .kind = Flag::Kind::kSwitch},
      {.name = "overwrite",
       .help = "with --enroll-namespace: also where another waypoint is in use",
       .kind = Flag::Kind::kSwitch},
      {.name = "wait",
       .help = "apply: until it is programmed",
       .kind = Flag::Kind::kSwitch,
       .letter = 'w'},
      {.name = "waypoint-timeout",
       .value = "SECONDS",
       .help = "how long --wait and status wait",
       .fallback = "90"},
      {.name = "revision",
       .value = "NAME",
       .help = "label istio.io/rev of the Gateway",
       .letter = 'r'},
      {.name = "all",
       .help = "delete: every waypoint of the namespace",
       .kind = Flag::Kind::kSwitch},
      {.name = "sandbox", .value = "NAME", .help = "in this sandbox, instead of on a cluster"}};
  const std::vector<Flag>& cluster = cluster_flags();
  flags.insert(flags.end(), cluster.begin(), cluster.end());
  return flags;
}

Tree gateway_of(const Flags& flags) {
  Tree labels = Tree::map();
  if (flags.has("for")) labels.add(kWaypointFor, Tree::of(flags.get("for")));
  if (flags.has("revision")) labels.add("istio.io/rev", Tree::of(flags.get("revision")));
  Tree meta = Tree::map();
  if (!labels.members.empty()) meta.add("labels", std::move(labels));
  meta.add("name", Tree::of(flags.get("name")));
  meta.add("namespace", Tree::of(flags.get("namespace")));
  Tree listener = Tree::map();
  listener.add("name", Tree::of("mesh"));
  listener.add("port", Tree::of(int64_t{15008}));
  listener.add("protocol", Tree::of("HBONE"));
  Tree listeners = Tree::list();
  listeners.items.push_back(std::move(listener));
  Tree spec = Tree::map();
  spec.add("gatewayClassName", Tree::of(kClass));
  spec.add("listeners", std::move(listeners));
  Tree gateway = Tree::map();
  gateway.add("apiVersion", Tree::of("gateway.networking.k8s.io/v1"));
  gateway.add("kind", Tree::of("Gateway"));
  gateway.add("metadata", std::move(meta));
  gateway.add("spec", std::move(spec));
  return gateway;
}

const Tree& at(const Tree& tree, std::string_view name) {
  static const Tree kNothing;
  const Tree* found = tree.find(name);
  return found == nullptr ? kNothing : *found;
}

bool is_waypoint(const Tree& gateway) {
  const std::string_view name = at(gateway, "spec").text_of("gatewayClassName");
  return name == kClass || name == kIstioClass;
}

std::string text_of(const Tree& gateway, std::string_view name) {
  return std::string(at(gateway, "metadata").text_of(name));
}

std::string label_of(const Tree& gateway, const char* key, const char* otherwise) {
  const std::string_view value = at(at(gateway, "metadata"), "labels").text_of(key);
  return value.empty() ? otherwise : std::string(value);
}

std::string_view condition_of(const Tree& gateway, std::string_view type) {
  for (const Tree& one : at(at(gateway, "status"), "conditions").items) {
    if (one.text_of("type") == type) return one.text_of("status");
  }
  return "Unknown";
}

// The waypoints of the namespaces that the flags name, in order.
Result<std::vector<Tree>> waypoints_of(WaypointPlace& place, const Flags& flags) {
  const bool everywhere = flags.has("all-namespaces");
  auto all = place.gateways(everywhere ? "" : flags.get("namespace"));
  if (!all && all.error().code == Code::kNotFound) {
    return fail(Code::kNotFound, "the cluster has no Gateway API: install its definitions first");
  }
  if (!all) return Fail(std::move(all.error()));
  std::erase_if(*all, [](const Tree& gateway) { return !is_waypoint(gateway); });
  std::ranges::sort(*all, {}, [](const Tree& gateway) {
    return std::pair(text_of(gateway, "namespace"), text_of(gateway, "name"));
  });
  return all;
}

// Until the waypoint is programmed; kTimeout with what its Gateway says last.
Result<void> wait_for(WaypointPlace& place, const Flags& flags, std::chrono::seconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  std::string last = "its Gateway has no status yet";
  while (true) {
    for (const Tree& gateway : TRY(place.gateways(flags.get("namespace")))) {
      if (text_of(gateway, "name") != flags.get("name")) continue;
      if (condition_of(gateway, "Programmed") == "True") return {};
      for (const Tree& one : at(at(gateway, "status"), "conditions").items) {
        if (one.text_of("status") != "True") last = std::string(one.text_of("message"));
      }
    }
    if (std::chrono::steady_clock::now() >= end) {
      return fail(Code::kTimeout, "waypoint " + flags.get("namespace") + "/" + flags.get("name") +
                                      " is not programmed: " + last);
    }
    std::this_thread::sleep_for(kLookEvery);
  }
}

Result<void> enroll(WaypointPlace& place, const Flags& flags) {
  const std::string& ns = flags.get("namespace");
  const Tree labels = TRY(place.labels_of(ns));
  const std::string_view present = labels.text_of(kUseWaypoint);
  if (!present.empty() && present != flags.get("name") && !flags.has("overwrite")) {
    return fail(Code::kRefused, "namespace " + ns + " uses the waypoint \"" + std::string(present) +
                                    "\": --overwrite replaces it");
  }
  if (labels.text_of(kDataplaneMode) != "ambient") {
    std::fprintf(stderr,
                 "warning: namespace %s is not in the mesh, so nothing goes through its waypoint: "
                 "label it %s=ambient\n",
                 ns.c_str(), kDataplaneMode);
  }
  TRY(place.label(ns, kUseWaypoint, flags.get("name")));
  std::printf("namespace %s labeled with \"%s: %s\"\n", ns.c_str(), kUseWaypoint,
              flags.get("name").c_str());
  return {};
}

Result<void> apply(WaypointPlace& place, const Flags& flags) {
  const auto limit = std::chrono::seconds(TRY(flags.number("waypoint-timeout", 0, 86400)));
  TRY(place.labels_of(flags.get("namespace")));  // a clear word where there is no such namespace
  TRY(place.apply(gateway_of(flags)));
  std::printf("waypoint %s/%s applied\n", flags.get("namespace").c_str(),
              flags.get("name").c_str());
  if (flags.has("enroll-namespace")) TRY(enroll(place, flags));
  if (!flags.has("wait")) return {};
  TRY(wait_for(place, flags, limit));
  std::printf("waypoint %s/%s is ready\n", flags.get("namespace").c_str(),
              flags.get("name").c_str());
  return {};
}

Result<void> list(WaypointPlace& place, const Flags& flags) {
  const bool everywhere = flags.has("all-namespaces");
  const std::vector<Tree> waypoints = TRY(waypoints_of(place, flags));
  if (waypoints.empty()) {
    std::printf("no waypoints found%s\n",
                everywhere ? "" : (" in namespace " + flags.get("namespace")).c_str());
    return {};
  }
  std::vector<std::vector<std::string>> rows = {{"NAME", "REVISION", "TRAFFIC-TYPE", "PROGRAMMED"}};
  if (everywhere) rows[0].insert(rows[0].begin(), "NAMESPACE");
  for (const Tree& one : waypoints) {
    rows.push_back({text_of(one, "name"), label_of(one, "istio.io/rev", "default"),
                    label_of(one, kWaypointFor, "service"),
                    std::string(condition_of(one, "Programmed"))});
    if (everywhere) rows.back().insert(rows.back().begin(), text_of(one, "namespace"));
  }
  std::fputs(aligned(rows).c_str(), stdout);
  return {};
}

Result<void> status(WaypointPlace& place, const Flags& flags) {
  const bool everywhere = flags.has("all-namespaces");
  const std::vector<Tree> waypoints = TRY(waypoints_of(place, flags));
  std::vector<std::vector<std::string>> rows = {{"NAME", "STATUS", "TYPE", "REASON", "MESSAGE"}};
  if (everywhere) rows[0].insert(rows[0].begin(), "NAMESPACE");
  bool is_well = true;
  for (const Tree& one : waypoints) {
    const std::string name = text_of(one, "name");
    const auto& wanted = flags.positional();
    if (wanted.size() > 1 && std::ranges::find(wanted, name) == wanted.end()) continue;
    is_well = is_well && condition_of(one, "Programmed") == "True";
    for (const Tree& condition : at(at(one, "status"), "conditions").items) {
      rows.push_back(
          {name, std::string(condition.text_of("status")), std::string(condition.text_of("type")),
           std::string(condition.text_of("reason")), std::string(condition.text_of("message"))});
      if (everywhere) rows.back().insert(rows.back().begin(), text_of(one, "namespace"));
    }
  }
  if (rows.size() > 1) std::fputs(aligned(rows).c_str(), stdout);
  if (waypoints.empty()) return fail(Code::kNotFound, "there is no waypoint");
  if (!is_well) return fail(Code::kUnavailable, "a waypoint is not programmed");
  return {};
}

Result<void> remove(WaypointPlace& place, const Flags& flags) {
  std::vector<std::string> names(flags.positional().begin() + 1, flags.positional().end());
  if (names.empty() && !flags.has("all")) {
    return fail(Code::kInvalid, "expected names of waypoints, or --all");
  }
  if (flags.has("all")) {
    for (const Tree& one : TRY(waypoints_of(place, flags))) names.push_back(text_of(one, "name"));
  }
  for (const std::string& name : names) {
    TRY(place.remove(flags.get("namespace"), name));
    std::printf("waypoint %s/%s deleted\n", flags.get("namespace").c_str(), name.c_str());
  }
  const Tree labels = TRY(place.labels_of(flags.get("namespace")));
  const std::string used(labels.text_of(kUseWaypoint));
  if (std::ranges::find(names, used) == names.end()) return {};
  std::fprintf(stderr,
               "warning: namespace %s still names it in %s: its traffic is refused until the label "
               "is taken away\n",
               flags.get("namespace").c_str(), kUseWaypoint);
  return {};
}

Result<void> check(const Flags& flags) {
  if (flags.has("for") && std::ranges::find(kTraffic, flags.get("for")) == kTraffic.end()) {
    return fail(Code::kInvalid,
                "--for: expected service, workload, all or none, got \"" + flags.get("for") + "\"");
  }
  return {};
}

Result<void> run(const std::string& what, const Flags& flags) {
  TRY(check(flags));
  if (what == "generate") {
    std::fputs(objects::write_yaml(gateway_of(flags)).c_str(), stdout);
    return {};
  }
  const auto place = TRY(open_waypoint_place(flags));
  if (what == "apply") return apply(*place, flags);
  if (what == "list") return list(*place, flags);
  if (what == "status") return status(*place, flags);
  return remove(*place, flags);
}

}  // namespace

int run_waypoint(const Args& args) {
  constexpr std::array kCommands{"apply", "list", "status", "delete", "generate"};
  constexpr size_t kNamesMax = 64;
  const std::string title = "weft waypoint apply|list|status|delete|generate [NAME..]";
  const auto flags = Flags::parse(args, flags_known(), 1 + kNamesMax);
  if (!flags) return complain("weft waypoint: " + flags.error().to_string(), kMisused);
  if (flags->help()) {
    std::fputs(Flags::help_text(title, flags_known()).c_str(), stdout);
    return kDone;
  }
  const std::string what = flags->positional().empty() ? "" : flags->positional().front();
  if (std::ranges::find(kCommands, what) == kCommands.end()) {
    return complain("weft waypoint: expected apply, list, status, delete or generate" +
                        (what.empty() ? std::string() : ", got \"" + what + "\""),
                    kMisused);
  }
  if (auto done = run(what, *flags); !done) {
    return complain("weft waypoint " + what + ": " + done.error().to_string(),
                    done.error().code == Code::kInvalid ? kMisused : kFailed);
  }
  return kDone;
}

}  // namespace weft::cli
