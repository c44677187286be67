#include "agent/objects/document.h"
#include "agent/objects/kinds.h"
#include "agent/objects/names.h"
#include "agent/objects/object.h"
#include "agent/objects/reader.h"
#include "agent/objects/tree.h"
#include "agent/objects/validate.h"
#include "proto/crd/opaque.pb.h"

#include <google/protobuf/descriptor.h>

namespace weft::objects {

namespace {

constexpr const char* kDefaultNamespace = "default";

// Objects of a file, gathered document by document.
class Gatherer {
 public:
  explicit Gatherer(std::string_view origin) : origin_(origin) {}

  void add_document(const Tree& document, std::string_view place);
  void add_error(Code code, std::string message) {
    parsed_.errors.emplace_back(code, one_line(origin_ + ": " + std::move(message)));
  }
  Parsed take() { return std::move(parsed_); }

 private:
  void add_object(const Tree& document, const Kind& kind);
  void add_list(const Tree& document, std::string_view place);

  std::string origin_;
  Parsed parsed_;
};

// Kubernetes lets a path segment be a name for kinds that no DNS name is made of.
std::string wrong_with_path_name(std::string_view name) {
  const bool fits = name != "." && name != ".." && name.size() <= 253 && !name.contains('/') &&
                    !name.contains('%') && !name.contains('\0');
  return fits ? "" : "expected a name without '/' and '%', at most 253 characters";
}

// The document without what stands beside a message's fields: apiVersion, kind and, of an opaque
// kind, whatever its message does not list (that becomes "rest"). Takes the values out of it.
Tree fields_of(Tree& document, const Kind& kind) {
  const auto* type = kind.prototype->GetDescriptor();
  const bool opaque = type == crd::opaque::Opaque::descriptor();
  Tree fields = Tree::map();
  for (Tree::Member& member : document.members) {
    if (member.name == "apiVersion" || member.name == "kind") continue;
    const bool listed = member.name != "rest" && type->FindFieldByName(member.name) != nullptr;
    if (!opaque || listed) fields.add(member.name, std::move(member.value));
  }
  return fields;
}

void read_rest(const Tree& document, crd::opaque::Opaque& object, Report& report) {
  Tree rest = Tree::map();
  for (const Tree::Member& member : document.members) {
    const bool listed = member.name == "metadata" || member.name == "spec" ||
                        member.name == "status" || member.name == "apiVersion" ||
                        member.name == "kind";
    if (!listed) rest.members.push_back(member);
  }
  if (rest.members.empty()) return;
  google::protobuf::Value value;
  read_message(rest, value, report);
  *object.mutable_rest() = std::move(*value.mutable_struct_value());
}

// Who an error is about, as far as the document says.
std::string subject_of(const Tree& document, const Kind& kind) {
  const Tree* metadata = document.find("metadata");
  std::string ns;
  std::string name;
  if (metadata != nullptr) {
    ns = metadata->text_of("namespace");
    name = metadata->text_of("name");
    if (name.empty()) name = metadata->text_of("generateName");
  }
  if (ns.empty()) ns = kDefaultNamespace;
  if (name.empty()) name = "(no name)";
  return Key{std::string(kind.key_name), kind.namespaced ? ns : "", name}.to_string();
}

void settle_namespace(const Kind& kind, crd::core::ObjectMeta& metadata, Report& report) {
  if (kind.namespaced) {
    if (metadata.namespace_().empty()) metadata.set_namespace_(kDefaultNamespace);
  } else if (!metadata.namespace_().empty()) {
    const auto at_metadata = report.at("metadata");
    const auto here = report.at("namespace");
    report.add("expected none: the kind has no namespace");
  }
}

crd::core::ObjectMeta& mutable_metadata(google::protobuf::Message& message) {
  const auto* field = message.GetDescriptor()->FindFieldByName("metadata");
  return static_cast<crd::core::ObjectMeta&>(
      *message.GetReflection()->MutableMessage(&message, field));
}

void Gatherer::add_object(const Tree& document, const Kind& kind) {
  ReadObject read = read_object(document, kind);
  if (read.errors.empty()) parsed_.objects.push_back(std::move(read.object));
  for (Error& error : read.errors) parsed_.errors.push_back(std::move(error));
}

void Gatherer::add_list(const Tree& document, std::string_view place) {
  const Tree* items = document.find("items");
  if (items == nullptr || items->kind != Tree::Kind::kList) {
    add_error(Code::kInvalid, std::string(place) + ": List: items: expected a list");
    return;
  }
  for (size_t i = 0; i < items->items.size(); ++i) {
    add_document(items->items[i], std::string(place) + ": List: items[" + std::to_string(i) + "]");
  }
}

void Gatherer::add_document(const Tree& document, std::string_view place) {
  const std::string before = std::string(place) + ": ";
  if (document.kind != Tree::Kind::kMap) {
    add_error(Code::kInvalid, before + "expected an object, got " + document.describe());
    return;
  }
  const std::string_view kind_name = document.text_of("kind");
  const std::string_view api_version = document.text_of("apiVersion");
  if (kind_name.empty()) {
    add_error(Code::kInvalid, before + "kind: missing; expected a string");
    return;
  }
  if (kind_name == "List" && api_version == "v1") return add_list(document, place);
  const auto kind = find_kind(api_version, kind_name);
  if (!kind) {
    const Tree* metadata = document.find("metadata");
    const std::string_view name = metadata != nullptr ? metadata->text_of("name") : "";
    add_error(Code::kInvalid, before + (name.empty() ? "" : "\"" + std::string(name) + "\": ") +
                                  kind.error().message);
    return;
  }
  add_object(document, **kind);
}

std::string place_of(const Tree& document, size_t index) {
  if (document.line > 0) return "line " + std::to_string(document.line);
  return "document " + std::to_string(index + 1);
}

}  // namespace

ReadObject read_object(Tree document, const Kind& kind) {
  Report report(subject_of(document, kind));
  for (const char* name : {"apiVersion", "kind"}) {
    size_t count = 0;
    for (const Tree::Member& member : document.members) count += member.name == name ? 1 : 0;
    const auto here = report.at(name);
    if (count > 1) report.add("written twice");
  }
  std::string api_version(document.text_of("apiVersion"));
  std::shared_ptr<google::protobuf::Message> message(kind.prototype->New());
  read_message(fields_of(document, kind), *message, report);
  crd::core::ObjectMeta& metadata = mutable_metadata(*message);
  settle_namespace(kind, metadata, report);
  validate_meta(metadata, report);
  if (auto* opaque = dynamic_cast<crd::opaque::Opaque*>(message.get())) {
    read_rest(document, *opaque, report);
    const auto here = report.at("metadata");
    check_text(metadata.name(), "name", wrong_with_path_name, report);
  }
  if (kind.validate != nullptr) kind.validate(*message, report);
  return {std::make_shared<Object>(std::move(api_version), std::string(kind.name), message),
          report.take()};
}

Parsed parse_manifests(std::string_view text, std::string_view origin) {
  Gatherer gatherer(origin);
  const size_t first = text.find_first_not_of(" \t\r\n");
  const bool must_be_json = origin.ends_with(".json");
  if (must_be_json || (first != std::string_view::npos && text[first] == '{')) {
    // Most of what begins with '{' is JSON; the rest is YAML in flow style.
    const auto document = parse_json(text);
    if (document) {
      gatherer.add_document(*document, "document 1");
      return gatherer.take();
    }
    if (must_be_json) {
      gatherer.add_error(document.error().code, document.error().message);
      return gatherer.take();
    }
  }
  const YamlDocuments yaml = parse_yaml(text);
  for (size_t i = 0; i < yaml.documents.size(); ++i) {
    gatherer.add_document(yaml.documents[i], place_of(yaml.documents[i], i));
  }
  for (const Error& error : yaml.error) gatherer.add_error(error.code, error.message);
  return gatherer.take();
}

}  // namespace weft::objects
