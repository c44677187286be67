#include "agent/cni/chain.h"

#include "agent/objects/tree.h"

#include <algorithm>

namespace weft::cni {
namespace {

using objects::Tree;

constexpr std::string_view kPluginType = "weft-cni";
constexpr std::string_view kOurEnding = "-weft.conflist";

std::string_view stem_of(std::string_view name) { return name.substr(0, name.rfind('.')); }

Tree entry_tree(const PluginEntry& entry) {
  Tree tree = Tree::map();
  tree.add("type", Tree::of(std::string(kPluginType)));
  tree.add("socket", Tree::of(entry.socket));
  Tree namespaces = Tree::list();
  for (const std::string& name : entry.exclude_namespaces) {
    namespaces.items.push_back(Tree::of(name));
  }
  tree.add("excludeNamespaces", std::move(namespaces));
  return tree;
}

// A single plugin's configuration as a list of one (CNI 1.1, section 1; libcni does the same).
Tree as_list(Tree conf) {
  if (conf.find("plugins") != nullptr) return conf;
  Tree list = Tree::map();
  for (const char* name : {"cniVersion", "name"}) {
    if (const Tree* value = conf.find(name)) list.add(name, *value);
  }
  Tree plugins = Tree::list();
  plugins.items.push_back(std::move(conf));
  list.add("plugins", std::move(plugins));
  return list;
}

Tree* plugins_of(Tree& list) {
  const auto member = std::ranges::find(list.members, "plugins", &Tree::Member::name);
  if (member == list.members.end() || member->value.kind != Tree::Kind::kList) return nullptr;
  return &member->value;
}

bool can_chain(std::string_view version) {
  return !version.empty() && !version.starts_with("0.1.") && !version.starts_with("0.2.");
}

}  // namespace

bool is_conf_name(std::string_view name) {
  return name.ends_with(".conf") || name.ends_with(".conflist") || name.ends_with(".json");
}

bool is_our_name(std::string_view name) { return name.ends_with(kOurEnding); }

std::string primary_of(const std::vector<std::string>& names) {
  std::string first;
  for (const std::string& name : names) {
    if (!is_conf_name(name) || is_our_name(name)) continue;
    if (first.empty() || name < first) first = name;
  }
  return first;
}

std::string chained_name(std::string_view primary) {
  return std::string(stem_of(primary)) + std::string(kOurEnding);
}

Result<std::string> chained_text(std::string_view primary, const PluginEntry& entry) {
  Tree conf = TRY(objects::parse_json(primary));
  if (conf.kind != Tree::Kind::kMap) return fail(Code::kInvalid, "expected an object");
  Tree list = as_list(std::move(conf));
  Tree* plugins = plugins_of(list);
  if (plugins == nullptr || plugins->items.empty()) {
    return fail(Code::kInvalid, "plugins: expected a list of plugins");
  }
  for (const Tree& plugin : plugins->items) {
    if (plugin.text_of("type").empty()) return fail(Code::kInvalid, "plugins: one has no type");
    if (plugin.text_of("type") == kPluginType) {
      return fail(Code::kUnsupported, "has weft-cni already: take it out, the agent adds it");
    }
  }
  if (list.text_of("name").empty()) return fail(Code::kInvalid, "name: expected the network's");
  if (!can_chain(list.text_of("cniVersion"))) {
    return fail(Code::kUnsupported, "cniVersion \"" + std::string(list.text_of("cniVersion")) +
                                        "\": plugins can be chained from 0.3.0 on");
  }
  plugins->items.push_back(entry_tree(entry));
  return objects::write_json(list) + "\n";
}

bool is_chained(std::string_view text) {
  Result<Tree> list = objects::parse_json(text);
  if (!list) return false;
  const Tree* plugins = plugins_of(*list);
  return plugins != nullptr && !plugins->items.empty() &&
         plugins->items.back().text_of("type") == kPluginType;
}

}  // namespace weft::cni
