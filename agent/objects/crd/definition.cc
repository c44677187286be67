#include "agent/objects/crd/definition.h"

#include "proto/crd/rules.pb.h"

#include <algorithm>

namespace weft::objects {

namespace {

using google::protobuf::Descriptor;

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

template <class Texts>
Tree list_of(const Texts& texts) {
  Tree list = Tree::list();
  for (const auto& text : texts) list.items.push_back(Tree::of(std::string(text)));
  return list;
}

// "networking.istio.io" -> "networking-istio-io"; `kubectl get istio-io` lists them all.
Tree categories_of(std::string group) {
  std::string own = std::move(group);
  std::ranges::replace(own, '.', '-');
  return list_of(std::vector<std::string>{"istio-io", own});
}

Tree names_of(const Descriptor& kind, const crd::KindRules& rules) {
  Tree names = Tree::map();
  names.add("kind", Tree::of(kind.name()));
  names.add("listKind", Tree::of(kind.name() + "List"));
  names.add("plural", Tree::of(rules.plural()));
  names.add("singular", Tree::of(lower(kind.name())));
  if (rules.short_names_size() > 0) names.add("shortNames", list_of(rules.short_names()));
  names.add("categories", categories_of(rules.group()));
  return names;
}

Tree columns_of(const crd::KindRules& rules) {
  Tree columns = Tree::list();
  for (const crd::Column& column : rules.columns()) {
    Tree tree = Tree::map();
    tree.add("name", Tree::of(column.name()));
    tree.add("jsonPath", Tree::of(column.path()));
    tree.add("type", Tree::of(column.type().empty() ? "string" : column.type()));
    if (!column.description().empty()) tree.add("description", Tree::of(column.description()));
    columns.items.push_back(std::move(tree));
  }
  return columns;
}

Tree version_of(const std::string& name, bool stored, const crd::KindRules& rules,
                const Tree& schema) {
  Tree version = Tree::map();
  version.add("name", Tree::of(name));
  version.add("served", Tree::of(true));
  version.add("storage", Tree::of(stored));
  if (rules.columns_size() > 0) version.add("additionalPrinterColumns", columns_of(rules));
  Tree subresources = Tree::map();
  subresources.add("status", Tree::map());
  version.add("subresources", std::move(subresources));
  Tree holder = Tree::map();
  holder.add("openAPIV3Schema", schema);
  version.add("schema", std::move(holder));
  return version;
}

}  // namespace

Tree custom_resource_definition(const Descriptor& kind) {
  const crd::KindRules& rules = kind.options().GetExtension(crd::kind);
  Tree metadata = Tree::map();
  metadata.add("name", Tree::of(rules.plural() + "." + rules.group()));
  Tree versions = Tree::list();
  const Tree schema = schema_of(kind);
  for (int i = 0; i < rules.versions_size(); ++i) {
    versions.items.push_back(version_of(rules.versions(i), i == 0, rules, schema));
  }
  Tree spec = Tree::map();
  spec.add("group", Tree::of(rules.group()));
  spec.add("names", names_of(kind, rules));
  spec.add("scope", Tree::of("Namespaced"));
  spec.add("versions", std::move(versions));

  Tree definition = Tree::map();
  definition.add("apiVersion", Tree::of("apiextensions.k8s.io/v1"));
  definition.add("kind", Tree::of("CustomResourceDefinition"));
  definition.add("metadata", std::move(metadata));
  definition.add("spec", std::move(spec));
  return definition;
}

}  // namespace weft::objects
