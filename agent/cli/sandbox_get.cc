#include "agent/cli/sandbox_get.h"

#include "agent/cli/commands.h"
#include "agent/sandbox/apply.h"
#include "agent/sandbox/store.h"
#include "agent/sandbox/tables.h"
#include "agent/source/status.h"

#include <cstdio>
#include <ctime>

namespace weft::cli {

namespace {

using sandbox::ObjectPtr;

struct Query {
  std::string kind;
  std::string name;  // empty: all
  std::string ns;    // empty: all namespaces
  std::string output;
  std::string folder;  // of the objects
};

std::vector<ObjectPtr> matching(const std::vector<ObjectPtr>& all, const Query& query) {
  std::vector<ObjectPtr> found;
  for (const ObjectPtr& object : all) {
    const objects::Key key = object->key();
    if (key.kind != query.kind) continue;
    if (!query.name.empty() && key.name != query.name) continue;
    if (!key.ns.empty() && !query.ns.empty() && key.ns != query.ns) continue;
    found.push_back(object);
  }
  return found;
}

void print_documents(const std::vector<ObjectPtr>& objects, const Query& query) {
  if (query.output == "yaml") {
    for (size_t i = 0; i < objects.size(); ++i) {
      std::printf("%s%s", i > 0 ? "---\n" : "", objects::to_yaml(*objects[i]).c_str());
    }
    return;
  }
  if (!query.name.empty() && objects.size() == 1) {
    std::printf("%s\n", objects::to_json(*objects.front()).c_str());
    return;
  }
  std::printf("{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[");
  for (size_t i = 0; i < objects.size(); ++i) {
    std::printf("%s\n%s", i > 0 ? "," : "", objects::to_json(*objects[i]).c_str());
  }
  std::printf("]}\n");
}

// With what control has written beside the objects.
std::vector<ObjectPtr> with_statuses(std::vector<ObjectPtr> objects, const Query& query) {
  for (ObjectPtr& object : objects) object = source::with_status(query.folder, object);
  return objects;
}

// False: there was nothing to print.
bool print_kind(const std::vector<ObjectPtr>& all, const Query& query) {
  const std::vector<ObjectPtr> found = matching(all, query);
  if (query.output == "yaml" || query.output == "json") {
    print_documents(with_statuses(found, query), query);
    return true;
  }
  if (found.empty()) return false;
  sandbox::TableOptions options;
  options.wide = query.output == "wide";
  options.show_namespace = query.ns.empty() && sandbox::is_namespaced_kind(query.kind);
  options.now_seconds = std::time(nullptr);
  std::fputs(sandbox::print_table(query.kind, found, all, options).c_str(), stdout);
  return true;
}

int print_overview(const std::vector<ObjectPtr>& all, Query query) {
  bool any = false;
  for (const char* kind : {"Pod", "Service", "Deployment"}) {
    query.kind = kind;
    if (matching(all, query).empty()) continue;
    if (any) std::printf("\n");
    any = print_kind(all, query) || any;
  }
  if (!any) std::fprintf(stderr, "no pods, services or deployments\n");
  return kDone;
}

}  // namespace

std::vector<Flag> get_flags(const Flag& name, const Flag& ns) {
  return {name,
          ns,
          {.name = "output",
           .value = "wide|yaml|json",
           .help = "more columns, or the objects themselves",
           .letter = 'o'},
          {.name = "all-namespaces",
           .help = "objects of every namespace",
           .kind = Flag::Kind::kSwitch,
           .letter = 'A'}};
}

int run_get(const Flags& flags, const sandbox::Layout& layout) {
  Query query;
  query.ns = flags.has("all-namespaces") ? "" : flags.get("namespace");
  query.output = flags.get("output");
  query.folder = layout.objects();
  if (!query.output.empty() && query.output != "wide" && query.output != "yaml" &&
      query.output != "json") {
    return complain("get: -o: expected wide, yaml or json", kMisused);
  }
  const auto all = sandbox::Store(layout.objects()).list();
  if (!all) return complain(all.error().to_string());
  const auto& words = flags.positional();
  if (words.empty() || words[0] == "all") return print_overview(*all, query);
  const auto kind = sandbox::kind_of(words[0]);
  if (!kind) return complain(kind.error().to_string(), kMisused);
  if (*kind == "Node") {
    std::fputs(sandbox::print_nodes(layout.nodes(), query.output == "wide").c_str(), stdout);
    return kDone;
  }
  query.kind = *kind;
  if (words.size() > 1) query.name = words[1];
  if (!query.name.empty() && matching(*all, query).empty()) {
    return complain(words[0] + " \"" + query.name + "\" not found" +
                    (query.ns.empty() ? "" : " in namespace " + query.ns));
  }
  if (!print_kind(*all, query)) {
    std::fprintf(stderr, "no %s found%s\n", words[0].c_str(),
                 query.ns.empty() ? "" : (" in namespace " + query.ns).c_str());
  }
  return kDone;
}

}  // namespace weft::cli
