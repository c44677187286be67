// `weft status`: asks control and every node's agent over their admin sockets and prints a table.

#include "agent/cli/admin_client.h"
#include "agent/cli/commands.h"
#include "agent/cli/reach.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstdio>

namespace weft::cli {

namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

// What one of Weft's processes says of itself; {"error": why} where it says nothing.
std::vector<Value> ask_all(const Places& places, const std::vector<Place>& asked) {
  std::vector<Value> said;
  for (auto& answer : ask_places(places, asked, "/status")) {
    Value value;
    if (!answer) {
      (*value.mutable_struct_value()->mutable_fields())["error"].set_string_value(
          answer.error().to_string());
    }
    said.push_back(answer ? std::move(*answer) : std::move(value));
  }
  return said;
}

std::string number(const Value& value) {
  return value.has_number_value() ? std::to_string(static_cast<int64_t>(value.number_value()))
                                  : "-";
}

void print_control(const Place& place, const Value& status) {
  std::printf("control      %s\n", place.process.c_str());
  if (const std::string& error = at(status, "error").string_value(); !error.empty()) {
    std::printf("  does not answer: %s\n", error.c_str());
    return;
  }
  const Value& certificates = at(status, "certificates");
  std::printf("  %s, listens on %s, trust domain %s\n",
              at(status, "ready").bool_value() ? "ready" : "NOT ready",
              at(status, "listen").string_value().c_str(),
              at(status, "trust_domain").string_value().c_str());
  std::printf("  certificates: %s issued, %s refused; root until %s\n",
              number(at(certificates, "issued")).c_str(),
              number(at(certificates, "refused")).c_str(),
              at(at(status, "root"), "not_after").string_value().c_str());
  for (const Value& node : at(status, "nodes").list_value().values()) {
    const std::string& nack = at(node, "last_nack").string_value();
    std::printf("  serves %s: %s acknowledged, %s refused%s\n",
                at(node, "node").string_value().c_str(), number(at(node, "acks")).c_str(),
                number(at(node, "nacks")).c_str(), nack.empty() ? "" : (": " + nack).c_str());
  }
  for (const Value& notice : at(status, "notices").list_value().values()) {
    std::printf("  note: %s: %s\n", at(notice, "object").string_value().c_str(),
                at(notice, "message").string_value().c_str());
  }
  const Value& errors = at(at(status, "source_errors"), "latest");
  for (const Value& error : errors.list_value().values()) {
    std::printf("  not accepted: %s\n", error.string_value().c_str());
  }
}

// What a ztunnel lacks, and what that means for its pods.
void print_ztunnel(const Value& ztunnel) {
  if (!ztunnel.has_struct_value()) return;
  if (const std::string& error = at(ztunnel, "error").string_value(); !error.empty()) {
    std::printf("  the ztunnel does not answer: %s\n", error.c_str());
    return;
  }
  const std::string& last_error = at(ztunnel, "lastError").string_value();
  const std::string why = last_error.empty() ? "" : ": " + last_error;
  if (!at(ztunnel, "configurationComplete").bool_value()) {
    std::printf("  ztunnel has no configuration from control yet; connections of its pods fail%s\n",
                why.c_str());
  } else if (!at(ztunnel, "controlConnected").bool_value()) {
    std::printf("  ztunnel does not reach control, and works on what it knows%s\n", why.c_str());
  }
  if (const std::string& error = at(ztunnel, "snapshotError").string_value(); !error.empty()) {
    std::printf("  ztunnel keeps no configuration on disk: %s\n", error.c_str());
  }
}

void print_node(const Place& node, const Value& status) {
  std::printf("\n%s\n  agent      %s\n", node.name.c_str(), node.process.c_str());
  std::printf("  ztunnel    %s\n", node.ztunnel.c_str());
  if (const std::string& error = at(status, "error").string_value(); !error.empty()) {
    std::printf("  the agent does not answer: %s\n", error.c_str());
    return;
  }
  print_ztunnel(at(status, "ztunnel"));
  for (const Value& pod : at(status, "pods").list_value().values()) {
    const std::string& why = at(pod, "why").string_value();
    std::printf("  pod %-15s %-10s %s/%s%s\n", at(pod, "address").string_value().c_str(),
                at(pod, "state").string_value().c_str(),
                at(pod, "namespace").string_value().c_str(), at(pod, "name").string_value().c_str(),
                why.empty() ? "" : ("  " + why).c_str());
    for (const Value& note : at(pod, "notes").list_value().values()) {
      std::printf("    note: %s\n", note.string_value().c_str());
    }
  }
}

bool is_well(const Value& status) { return at(status, "error").string_value().empty(); }

// A sandbox has one control and a cluster replicas of it, by their pods' names.
int print_json(const Places& places, const std::vector<Value>& controls,
               const std::vector<Value>& nodes) {
  Struct root;
  const bool is_sandbox = places.kubectl.empty();
  for (size_t i = 0; i < controls.size(); ++i) {
    Value& control = (*root.mutable_fields())["control"];
    if (is_sandbox) {
      control = controls[i];
    } else {
      (*control.mutable_struct_value()->mutable_fields())[places.controls[i].name] = controls[i];
    }
  }
  Struct& by_name = *(*root.mutable_fields())["nodes"].mutable_struct_value();
  for (size_t i = 0; i < nodes.size(); ++i) {
    (*by_name.mutable_fields())[places.nodes[i].name] = nodes[i];
  }
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(root, &json, options).ok()) {
    return complain("a text in the status is not UTF-8");
  }
  std::printf("%s", json.c_str());
  return kDone;
}

int show(const Places& places, bool json) {
  const std::vector<Value> controls = ask_all(places, places.controls);
  const std::vector<Value> nodes = ask_all(places, places.nodes);
  const bool well = std::ranges::any_of(controls, is_well) && std::ranges::all_of(nodes, is_well);
  if (json) {
    const int printed = print_json(places, controls, nodes);
    return well ? printed : kFailed;
  }
  if (controls.empty()) std::printf("control      no pod\n");
  for (size_t i = 0; i < controls.size(); ++i) print_control(places.controls[i], controls[i]);
  for (size_t i = 0; i < nodes.size(); ++i) print_node(places.nodes[i], nodes[i]);
  return well ? kDone : kFailed;
}

}  // namespace

int run_status(const Args& args) {
  std::vector<Flag> known = reach_flags();
  known.push_back(
      {.name = "output", .value = "json", .help = "everything they say, as JSON", .letter = 'o'});
  const auto flags = Flags::parse(args, known);
  if (!flags) return complain("weft status: " + flags.error().to_string(), kMisused);
  if (flags->help()) {
    std::fputs(Flags::help_text("weft status", known).c_str(), stdout);
    return kDone;
  }
  const bool json = flags->get("output") == "json";
  if (flags->has("output") && !json) return complain("weft status: -o: expected json", kMisused);
  const auto places = find_places(*flags);
  if (!places) return complain(places.error().to_string());
  return show(*places, json);
}

}  // namespace weft::cli
