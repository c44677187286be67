// `weft ztunnel-config WHAT`: what each node's ztunnel knows, through its node agent.

#include "agent/cli/admin_client.h"
#include "agent/cli/commands.h"
#include "agent/cli/dump_tables.h"
#include "agent/cli/reach.h"
#include "agent/source/files.h"
#include "ztunnel/base/flags.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

namespace weft::cli {

namespace {

using google::protobuf::Value;

std::string certificates_now(const Value& dump) {
  const std::time_t seconds = std::time(nullptr);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char now[32];
  std::strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return certificates_table(dump, now);
}

// `singular` is what istioctl calls it.
struct Section {
  const char* name;
  const char* singular;
  const char* key;  // in the dump
  std::string (*table)(const Value& dump);
  bool in_all = true;
};
constexpr Section kSections[] = {
    {"workloads", "workload", "workloads", workloads_table},
    {"services", "service", "services", services_table},
    {"policies", "policy", "policies", policies_table},
    {"certificates", "certificate", "certificates", certificates_now},
    {"connections", "connection", "workloadState", connections_table, false},
};

// Null: all of them.
Result<const Section*> section_of(const std::string& word) {
  if (word == "all") return nullptr;
  std::vector<std::string> known = {"all"};
  for (const Section& section : kSections) {
    if (word == section.name || word == section.singular) return &section;
    known.emplace_back(section.name);
  }
  const std::string meant = closest(word, known);
  return fail(Code::kInvalid, "there is no \"" + word + "\"; " +
                                  (meant.empty() ? "expected workloads, services, policies, "
                                                   "certificates, connections or all"
                                                 : "did you mean \"" + meant + "\"?"));
}

struct Dump {
  std::string node;  // empty: of a file
  Result<Value> content;
};

std::vector<Dump> read_file(const std::string& path) {
  const auto text = source::read_file(path);
  if (!text) return {{"", Fail(text.error())}};
  Value value;
  if (!google::protobuf::util::JsonStringToMessage(*text, &value).ok() ||
      !value.has_struct_value()) {
    return {{"", fail(Code::kInvalid, path + ": expected the JSON of a /config_dump")}};
  }
  return {{"", std::move(value)}};
}

Result<std::vector<Dump>> collect(const Flags& flags) {
  if (flags.has("file")) return read_file(flags.get("file"));
  const Places places = TRY(find_places(flags));
  std::vector<Place> nodes = places.nodes;
  if (flags.has("node")) {
    std::erase_if(nodes, [&](const Place& one) { return one.name != flags.get("node"); });
    if (nodes.empty()) {
      return fail(Code::kNotFound, "there is no node \"" + flags.get("node") + "\"");
    }
  }
  auto answers = ask_places(places, nodes, "/ztunnel/config_dump");
  std::vector<Dump> dumps;
  for (size_t i = 0; i < nodes.size(); ++i) {
    dumps.push_back({nodes[i].name, std::move(answers[i])});
  }
  return dumps;
}

int print_json(const std::vector<Dump>& dumps, const Section* section, bool by_node) {
  Value root;
  for (const Dump& dump : dumps) {
    if (!dump.content) return complain(dump.node + ": " + dump.content.error().to_string());
    const Value& part = section == nullptr ? *dump.content : at(*dump.content, section->key);
    if (by_node) {
      (*root.mutable_struct_value()->mutable_fields())[dump.node] = part;
    } else {
      root = part;
    }
  }
  if (root.kind_case() == Value::KIND_NOT_SET) root.set_null_value({});
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(root, &json, options).ok()) {
    return complain("a text in the dump is not UTF-8");
  }
  std::printf("%s%s", json.c_str(), json.ends_with('\n') ? "" : "\n");
  return kDone;
}

bool lists_connections(const Value& dump) {
  for (const auto& [uid, pod] : at(dump, "workloadState").struct_value().fields()) {
    if (at(pod, "connections").has_struct_value()) return true;
  }
  return false;
}

// A list that is not the whole says so, beside it.
void complain_of_gaps(const Value& dump) {
  const Value& caveat = at(dump, "connectionsCaveat");
  if (!caveat.has_struct_value()) return;
  const auto omitted = static_cast<long long>(at(caveat, "omitted").number_value());
  if (omitted > 0) complain(std::to_string(omitted) + " more connections are open");
  if (!at(caveat, "complete").bool_value())
    complain("a worker did not answer: some may be missing");
}

int print_tables(const std::vector<Dump>& dumps, const Section* section, bool by_node) {
  bool failed = false;
  for (size_t i = 0; i < dumps.size(); ++i) {
    if (by_node) std::printf("%s%s\n", i > 0 ? "\n" : "", dumps[i].node.c_str());
    if (!dumps[i].content) {
      complain(dumps[i].node + ": " + dumps[i].content.error().to_string());
      failed = true;
      continue;
    }
    const Value& dump = *dumps[i].content;
    if (section != nullptr && !section->in_all && !lists_connections(dump)) {
      complain("this ztunnel does not list its connections");
      failed = true;
      continue;
    }
    const char* gap = "";
    for (const Section& one : kSections) {
      if (section == nullptr ? !one.in_all : section != &one) continue;
      std::printf("%s%s", gap, one.table(dump).c_str());
      gap = "\n";
    }
    if (section != nullptr && !section->in_all) complain_of_gaps(dump);
  }
  return failed ? kFailed : kDone;
}

}  // namespace

int run_ztunnel_config(const Args& args) {
  const std::string name = "weft ztunnel-config";
  std::vector<Flag> known = reach_flags();
  known.push_back({.name = "node", .value = "NODE", .help = "only this node's ztunnel (all)"});
  known.push_back(
      {.name = "file", .value = "FILE", .help = "a /config_dump that was saved, ours or Istio's"});
  known.push_back(
      {.name = "output", .value = "json", .help = "as the ztunnel says it", .letter = 'o'});
  const auto flags = Flags::parse(args, known, 1);
  if (!flags) return complain(name + ": " + flags.error().to_string(), kMisused);
  if (flags->help()) {
    std::fputs(
        Flags::help_text(name + " workloads|services|policies|certificates|connections|all", known)
            .c_str(),
        stdout);
    return kDone;
  }
  const bool json = flags->get("output") == "json";
  if (flags->has("output") && !json) return complain(name + ": -o: expected json", kMisused);
  const auto section = section_of(flags->positional().empty() ? "all" : flags->positional()[0]);
  if (!section) return complain(name + ": " + section.error().to_string(), kMisused);
  const auto dumps = collect(*flags);
  if (!dumps) return complain(dumps.error().to_string());
  const bool by_node = !flags->has("node") && !flags->has("file");
  return json ? print_json(*dumps, *section, by_node) : print_tables(*dumps, *section, by_node);
}

}  // namespace weft::cli
