// `weft status`: asks control and every node's agent over their admin sockets and prints a table.

#include "agent/cli/admin_client.h"
#include "agent/cli/commands.h"
#include "agent/sandbox/layout.h"
#include "agent/sandbox/lifecycle.h"
#include "agent/sandbox/mesh.h"
#include "agent/sandbox/tables.h"
#include "ztunnel/base/flags.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <cstdio>

namespace weft::cli {

namespace {

using google::protobuf::Struct;
using google::protobuf::Value;
using sandbox::Layout;

// What one of Weft's processes says of itself; {"error": why} where it says nothing.
Value ask(const std::string& socket_path) {
  auto answer = ask_json(socket_path, "/status");
  if (answer) return std::move(*answer);
  Value value;
  (*value.mutable_struct_value()->mutable_fields())["error"].set_string_value(
      answer.error().to_string());
  return value;
}

std::string number(const Value& value) {
  return value.has_number_value() ? std::to_string(static_cast<int64_t>(value.number_value()))
                                  : "-";
}

std::string process_line(const Layout& layout, const std::string& name) {
  const auto state = sandbox::read_process_state(layout, name);
  if (!state) return "not started";
  std::string line = state->state;
  if (state->pid > 0) line += " (pid " + std::to_string(state->pid) + ")";
  if (state->restarts > 0) {
    line += ", restarted " + std::to_string(state->restarts) +
            (state->restarts == 1 ? " time" : " times");
  }
  return line;
}

void print_control(const Layout& layout, const Value& status) {
  std::printf("control      %s\n", process_line(layout, "control").c_str());
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

void print_node(const Layout& layout, const std::string& node, const Value& status) {
  std::printf("\n%s\n  agent      %s\n", node.c_str(),
              process_line(layout, node + "-agent").c_str());
  std::printf("  ztunnel    %s\n", process_line(layout, node + "-ztunnel").c_str());
  if (const std::string& error = at(status, "error").string_value(); !error.empty()) {
    std::printf("  the agent does not answer: %s\n", error.c_str());
    return;
  }
  const Value& ztunnel = at(status, "ztunnel");
  if (const std::string& error = at(ztunnel, "error").string_value(); !error.empty()) {
    std::printf("  the ztunnel does not answer: %s\n", error.c_str());
  }
  if (const std::string& error = at(ztunnel, "snapshotError").string_value(); !error.empty()) {
    std::printf("  ztunnel keeps no configuration on disk: %s\n", error.c_str());
  }
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

int print_json(const Value& control, const std::vector<std::pair<std::string, Value>>& nodes) {
  Struct root;
  (*root.mutable_fields())["control"] = control;
  Struct& by_name = *(*root.mutable_fields())["nodes"].mutable_struct_value();
  for (const auto& [name, status] : nodes) (*by_name.mutable_fields())[name] = status;
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(root, &json, options).ok()) {
    return complain("a text in the status is not UTF-8");
  }
  std::printf("%s", json.c_str());
  return kDone;
}

int show(const Layout& layout, bool json) {
  const Value control = ask(layout.control() + "/admin.sock");
  bool well = is_well(control);
  std::vector<std::pair<std::string, Value>> nodes;
  for (const std::string& node : layout.nodes()) {
    nodes.emplace_back(node, ask(layout.node(node) + "/agent.sock"));
    well = well && is_well(nodes.back().second);
  }
  if (json) {
    const int printed = print_json(control, nodes);
    return well ? printed : kFailed;
  }
  print_control(layout, control);
  for (const auto& [node, status] : nodes) print_node(layout, node, status);
  return well ? kDone : kFailed;
}

}  // namespace

int run_status(const Args& args) {
  const std::vector<Flag> known = {
      {.name = "sandbox",
       .value = "NAME",
       .help = "the sandbox, where there are several",
       .fallback = "weft"},
      {.name = "output", .value = "json", .help = "everything they say, as JSON", .letter = 'o'}};
  const auto flags = Flags::parse(args, known);
  if (!flags) return complain("weft status: " + flags.error().to_string(), kMisused);
  if (flags->help()) {
    std::fputs(Flags::help_text("weft status", known).c_str(), stdout);
    return kDone;
  }
  const bool json = flags->get("output") == "json";
  if (flags->has("output") && !json) return complain("weft status: -o: expected json", kMisused);
  const auto layout = Layout::make(flags->get("sandbox"));
  if (!layout) return complain(layout.error().to_string(), kMisused);
  if (auto up = sandbox::need_up(*layout); !up) return complain(up.error().to_string());
  return show(*layout, json);
}

}  // namespace weft::cli
