#include "agent/cni/plugin.h"

#include "agent/cni/json_text.h"
#include "agent/cni/message.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

namespace weft::cni {
namespace {

// Those whose result a plugin behind another one can hand on as it came (since 0.3.0).
constexpr std::array<std::string_view, 5> kVersions{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
constexpr std::string_view kNewestVersion = "1.1.0";

// Error codes of the specification, section 5.
enum ErrorCode {
  kIncompatibleVersion = 1,
  kInvalidEnvironment = 4,
  kUndecodable = 6,
  kInvalidConfig = 7,
  kTryAgainLater = 11,
  kNotCaptured = 100,  // ours: plugins number from here
};

struct Failure {
  int code = 0;
  std::string message;
  std::string details;
};

// The plugin's own entry in the list, as the runtime hands it over.
struct Config {
  std::string version;
  std::string socket;
  std::vector<std::string> exclude_namespaces;
  std::optional<std::string_view> previous;  // prevResult, as it is written
};

Reply failure(const std::string& version, const Failure& why) {
  return {1, "{\"cniVersion\":" + json_quoted(version) + ",\"code\":" + std::to_string(why.code) +
                 ",\"msg\":" + json_quoted("weft-cni: " + why.message) +
                 ",\"details\":" + json_quoted(why.details) + "}\n"};
}

Result<Config> parse_config(std::string_view text) {
  Config config;
  for (const JsonMember& member : TRY(json_members(text))) {
    const auto in_place = [&](Error error) { return Fail(std::move(error).in(member.name)); };
    if (member.name == "cniVersion" || member.name == "socket") {
      Result<std::string> value = json_string(member.value);
      if (!value) return in_place(value.error());
      (member.name == "socket" ? config.socket : config.version) = std::move(*value);
    } else if (member.name == "excludeNamespaces") {
      const auto items = json_items(member.value);
      if (!items) return in_place(items.error());
      for (const std::string_view item : *items) {
        Result<std::string> value = json_string(item);
        if (!value) return in_place(value.error());
        config.exclude_namespaces.push_back(std::move(*value));
      }
    } else if (member.name == "prevResult") {
      const auto result = json_members(member.value);
      if (!result) return in_place(result.error());
      config.previous = member.value;
    }
  }
  return config;
}

std::string versions_text() {
  std::string text;
  for (const std::string_view version : kVersions) {
    text += (text.empty() ? "" : ",") + json_quoted(version);
  }
  return "[" + text + "]";
}

Reply answer_version(const std::string& asked) {
  return {0, "{\"cniVersion\":" + json_quoted(asked) + ",\"supportedVersions\":" + versions_text() +
                 "}\n"};
}

std::string question_text(const Call& call, const PodName& pod, const Config& config) {
  return "{\"version\":" + std::to_string(kMessageVersion) +
         ",\"command\":" + json_quoted(call.command) +
         ",\"container\":" + json_quoted(call.container) +
         ",\"interface\":" + json_quoted(call.interface) + ",\"namespace\":" + json_quoted(pod.ns) +
         ",\"name\":" + json_quoted(pod.name) + ",\"uid\":" + json_quoted(pod.uid) +
         ",\"prevResult\":" + std::string(config.previous.value_or("{}")) + "}";
}

// What the agent said: an error with its remedy, or that the pod may start.
std::optional<Failure> judge(const std::string& answer) {
  const auto members = json_members(answer);
  Failure why{.code = kNotCaptured, .message = {}, .details = {}};
  if (members) {
    for (const JsonMember& member : *members) {
      Result<std::string> value = json_string(member.value);
      if (!value) continue;
      if (member.name == "state" && (*value == kCaptured || *value == kNotInMesh)) return {};
      if (member.name == "error") why.message = std::move(*value);
      if (member.name == "remedy") why.details = std::move(*value);
    }
  }
  if (why.message.empty()) {
    why.message = "the node agent gave an answer that this weft-cni does not understand";
    why.details = "are the agent and weft-cni of one version? The agent installs its own";
  }
  return why;
}

std::optional<Failure> ask_about(const Call& call, const PodName& pod, const Config& config,
                                 const AskAgent& ask) {
  const bool excluded = std::ranges::count(config.exclude_namespaces, pod.ns) > 0;
  const bool bound = call.command == "ADD" && !excluded;
  const Result<std::string> answer = ask({.socket = config.socket,
                                          .text = question_text(call, pod, config),
                                          .netns = call.netns,
                                          .patience = bound ? kPatience : kCourtesy,
                                          .insists = bound});
  if (excluded || call.command == "DEL") return {};
  if (answer) return judge(*answer);
  return Failure{
      .code = kTryAgainLater,
      .message = "pod " + pod.ns + "/" + pod.name + " may not start before it is known whether " +
                 "the mesh must capture it, and the node agent does not answer: " +
                 answer.error().to_string(),
      .details =
          "is the weft-agent pod of this node running? The kubelet tries again by itself. "
          "Namespaces that must start without the agent: excludeNamespaces"};
}

Reply act(const Call& call, const Config& config, const AskAgent& ask) {
  const bool adds = call.command == "ADD";
  if (adds && !config.previous) {
    return failure(config.version,
                   {kInvalidConfig, "prevResult is missing",
                    "weft-cni makes no interface: it stands behind the plugin that does"});
  }
  if (adds && call.netns.empty()) {
    return failure(config.version, {kInvalidEnvironment, "CNI_NETNS is empty", "see CNI 1.1, 2"});
  }
  const Result<PodName> pod = parse_pod_name(call.args);
  if (!pod) {
    return failure(config.version, {kInvalidEnvironment, pod.error().to_string(), "CNI_ARGS"});
  }
  if (!pod->name.empty()) {
    if (config.socket.empty()) {
      return failure(config.version, {kInvalidConfig, "socket is missing",
                                      "expected the path of the node agent's socket"});
    }
    if (const auto why = ask_about(call, *pod, config, ask)) return failure(config.version, *why);
  }
  return {0, adds ? std::string(*config.previous) + "\n" : ""};
}

}  // namespace

Result<PodName> parse_pod_name(std::string_view args) {
  if (args.size() > kArgsBytesMax) {
    return fail(Code::kLimit, "longer than " + std::to_string(kArgsBytesMax) + " bytes");
  }
  PodName pod;
  while (!args.empty()) {
    const size_t end = std::min(args.find(';'), args.size());
    const std::string_view pair = args.substr(0, end);
    args.remove_prefix(std::min(end + 1, args.size()));
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view key = pair.substr(0, equals);
    const std::string value(pair.substr(equals + 1));
    if (key == "K8S_POD_NAMESPACE") pod.ns = value;
    if (key == "K8S_POD_NAME") pod.name = value;
    if (key == "K8S_POD_UID") pod.uid = value;
  }
  if (pod.name.empty() != pod.ns.empty()) {
    return fail(Code::kInvalid, "expected both K8S_POD_NAMESPACE and K8S_POD_NAME, or neither");
  }
  return pod;
}

Reply run_plugin(const Call& call, const AskAgent& ask) {
  if (call.config.size() > kConfigBytesMax) {
    return failure(std::string(kNewestVersion),
                   {kUndecodable, "the configuration is too long",
                    "expected at most " + std::to_string(kConfigBytesMax) + " bytes"});
  }
  const Result<Config> config = parse_config(call.config);
  if (!config) {
    return failure(std::string(kNewestVersion),
                   {kUndecodable, "the configuration: " + config.error().to_string(), "stdin"});
  }
  if (call.command == "VERSION") return answer_version(config->version);
  if (std::ranges::count(kVersions, config->version) == 0) {
    return failure(std::string(kNewestVersion),
                   {kIncompatibleVersion, "cniVersion \"" + config->version + "\"",
                    "expected one of " + versions_text()});
  }
  // A STATUS that fails makes the node NotReady, and its pods leave their Services: too much where
  // an agent is restarted for a moment, and pods that start meanwhile wait for it anyway.
  // A GC finds nothing: what was made for a pod goes with its network namespace.
  if (call.command == "STATUS" || call.command == "GC") return {};
  if (call.command == "ADD" || call.command == "DEL" || call.command == "CHECK") {
    return act(call, *config, ask);
  }
  return failure(config->version, {kInvalidEnvironment, "CNI_COMMAND \"" + call.command + "\"",
                                   "expected ADD, DEL, CHECK, GC, STATUS or VERSION"});
}

}  // namespace weft::cni
