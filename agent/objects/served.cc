#include "agent/objects/served.h"

#include "agent/objects/document.h"
#include "agent/objects/read_fields.h"
#include "agent/objects/stand_in.h"
#include "proto/crd/core.pb.h"
#include "proto/crd/opaque.pb.h"

#include <simdjson.h>

#include <functional>
#include <random>

namespace weft::objects {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using simdjson::dom::element;
using simdjson::dom::element_type;

// A page is asked for by number of objects, and an object is below 1.5 MiB where etcd has its
// default limits; the client bounds what it reads of a page, this bounds what is looked at.
constexpr size_t kPageBytesMax = 1U << 30;
// Between events the parser keeps as much memory as an ordinary one needs.
constexpr size_t kKeptParserBytes = 64U << 10;

std::string_view text_of(const element& of, std::string_view name) {
  std::string_view text;
  return of[name].get(text) == simdjson::SUCCESS ? text : std::string_view();
}

// Kubernetes' own kinds. A ConfigMap's text is the mesh's business, so it is held to the letter.
bool is_lenient(const Kind& kind) {
  return !kind.group.contains(".istio.io") && kind.group != "gateway.networking.k8s.io" &&
         kind.name != "ConfigMap";
}

// Copies what is read into a Tree, and digests it on the way.
class Copier {
 public:
  explicit Copier(bool lenient) : lenient_(lenient) {}

  // `type` null: everything.
  bool copy(const element& from, const Descriptor* type, Tree& into, size_t depth = 0);
  uint64_t digest() const { return digest_; }

 private:
  bool copy_map(const element& from, const Descriptor* type, Tree& into, size_t depth);
  bool copy_field(std::string_view name, const element& value, const Descriptor* type, Tree& into,
                  size_t depth);
  bool copy_annotations(const element& from, Tree& metadata);
  void mix(std::string_view text) { mix(std::hash<std::string_view>{}(text)); }
  void mix(uint64_t value) {
    digest_ = (digest_ ^ value) * 0x9e3779b97f4a7c15ULL;
    digest_ ^= digest_ >> 32U;
  }

  static uint64_t seed() {
    static const uint64_t value = std::random_device{}() | 1U;
    return value;
  }

  bool lenient_;
  uint64_t digest_ = seed();
  size_t nodes_ = 0;
};

// None that is read is the same as none at all.
bool Copier::copy_annotations(const element& from, Tree& metadata) {
  Tree annotations = Tree::map();
  simdjson::dom::object members;
  if (from.get(members) != simdjson::SUCCESS) return true;
  for (const auto member : members) {
    if (!is_read_annotation(member.key)) continue;
    mix(member.key);
    annotations.add(std::string(member.key), Tree());
    if (!copy(member.value, nullptr, annotations.members.back().value)) return false;
  }
  if (!annotations.members.empty()) metadata.add("annotations", std::move(annotations));
  return true;
}

bool Copier::copy_field(std::string_view name, const element& value, const Descriptor* type,
                        Tree& into, size_t depth) {
  const Descriptor* inner = nullptr;
  if (type != nullptr) {
    const FieldDescriptor* field = type->FindFieldByName(std::string(name));
    if (field == nullptr && lenient_) return true;
    if (field != nullptr && !is_read(*field)) return true;
    if (field != nullptr && !field->is_map()) inner = field->message_type();
    // A Value, a wrapper: whatever it holds.
    if (inner != nullptr && inner->full_name().starts_with("google.protobuf.")) inner = nullptr;
  }
  if (type == crd::core::ObjectMeta::descriptor() && name == "annotations") {
    return copy_annotations(value, into);
  }
  mix(name);
  into.add(std::string(name), Tree());
  return copy(value, inner, into.members.back().value, depth + 1);
}

// Of a pod's conditions only this one is read.
bool is_read_condition(const element& item, const Descriptor* type) {
  return type != crd::core::PodCondition::descriptor() || text_of(item, "type") == "Ready";
}

bool Copier::copy(const element& from, const Descriptor* type, Tree& into, size_t depth) {
  if (++nodes_ > kTreeNodesMax || depth > kDepthMax) return false;
  mix(static_cast<uint64_t>(from.type()));
  switch (from.type()) {
    case element_type::NULL_VALUE:
      return true;
    case element_type::BOOL:
      into = Tree::of(from.get_bool().value_unsafe());
      mix(into.boolean ? 1U : 2U);
      return true;
    case element_type::INT64:
      into = Tree::of(from.get_int64().value_unsafe());
      mix(static_cast<uint64_t>(into.integer));
      return true;
    case element_type::UINT64:
      into = Tree::of(static_cast<double>(from.get_uint64().value_unsafe()));
      mix(from.get_uint64().value_unsafe());
      return true;
    case element_type::DOUBLE:
      into = Tree::of(from.get_double().value_unsafe());
      mix(std::bit_cast<uint64_t>(into.number));
      return true;
    case element_type::STRING:
      into = Tree::of(std::string(from.get_string().value_unsafe()));
      mix(into.text);
      return true;
    case element_type::ARRAY:
      into = Tree::list();
      for (const auto item : from.get_array().value_unsafe()) {
        if (!is_read_condition(item, type)) continue;
        if (!copy(item, type, into.items.emplace_back(), depth + 1)) return false;
      }
      return true;
    case element_type::OBJECT:
      into = Tree::map();
      for (const auto member : from.get_object().value_unsafe()) {
        if (!copy_field(member.key, member.value, type, into, depth)) return false;
      }
      return true;
  }
  return false;
}

// Who it is, as far as the server says; empty: nobody.
ServedObject name_of(const element& object, const ServedKind& kind) {
  ServedObject served;
  element metadata;
  if (object["metadata"].get(metadata) != simdjson::SUCCESS) return served;
  served.key = {std::string(kind.kind->key_name), std::string(text_of(metadata, "namespace")),
                std::string(text_of(metadata, "name"))};
  if (!kind.kind->namespaced) served.key.ns.clear();
  served.uid = text_of(metadata, "uid");
  int64_t generation = 0;
  if (metadata["generation"].get(generation) == simdjson::SUCCESS) served.generation = generation;
  return served;
}

bool is_named(const ServedObject& served, const ServedKind& kind) {
  return !served.key.name.empty() && (!kind.kind->namespaced || !served.key.ns.empty());
}

// The members of the object that are read; apiVersion and kind stand in lists only once.
bool copy_document(const element& object, const ServedKind& kind, Copier& copier, Tree& document) {
  document = Tree::map();
  document.add("apiVersion", Tree::of(kind.api_version));
  document.add("kind", Tree::of(std::string(kind.kind->name)));
  const Descriptor* type = kind.kind->prototype->GetDescriptor();
  const bool is_opaque = type == crd::opaque::Opaque::descriptor();
  for (const auto member : simdjson::dom::object(object)) {
    if (member.key == "apiVersion" || member.key == "kind") continue;
    if (kind.metadata_only && member.key != "metadata") continue;
    const FieldDescriptor* field = type->FindFieldByName(std::string(member.key));
    if (field == nullptr && !is_opaque && is_lenient(*kind.kind)) continue;
    if (field != nullptr && !is_read(*field)) continue;
    const Descriptor* inner = field != nullptr ? field->message_type() : nullptr;
    if (inner != nullptr && inner->full_name().starts_with("google.protobuf.")) inner = nullptr;
    document.add(std::string(member.key), Tree());
    if (!copier.copy(member.value, inner, document.members.back().value)) return false;
  }
  return true;
}

// As a manifest has it: in lists, apiVersion and kind may stand only once, above the items.
std::string manifest_of(const element& object, const ServedKind& kind) {
  const std::string text = simdjson::minify(object);
  if (!text_of(object, "kind").empty()) return text;
  return R"({"apiVersion":")" + kind.api_version + R"(","kind":")" + std::string(kind.kind->name) +
         "\"," + text.substr(1);
}

// Fields that the kind requires may be missing where only metadata was asked for.
void read_into(ServedObject& served, Tree document, const ServedKind& kind, const element& from) {
  const bool lenient = is_lenient(*kind.kind) || kind.metadata_only;
  ReadObject read = read_object(std::move(document), *kind.kind);
  if (read.object->key() != served.key) {
    served.errors.emplace_back(
        Code::kInvalid,
        served.key.to_string() + ": expected to be read as " + read.object->key().to_string());
    return;
  }
  if (read.errors.empty() || lenient) {
    served.object = std::move(read.object);
    return;
  }
  served.errors = std::move(read.errors);
  auto in_force = security_of(manifest_of(from, kind), served.key.to_string() + ".json");
  if (!in_force.empty() && in_force.front()->key() == served.key) {
    served.stand_in = std::move(in_force.front());
  }
}

ServedObject read_one(const element& object, const ServedKind& kind) {
  ServedObject served = name_of(object, kind);
  if (!is_named(served, kind)) return served;
  Copier copier(is_lenient(*kind.kind));
  Tree document;
  if (!copy_document(object, kind, copier, document)) {
    served.errors.emplace_back(
        Code::kLimit, served.key.to_string() + ": too deep, or more values than any object has");
    return served;
  }
  served.content = copier.digest();
  element status;
  if (kind.keeps_status && object["status"].get(status) == simdjson::SUCCESS) {
    Copier(false).copy(status, nullptr, served.status);
  }
  read_into(served, std::move(document), kind, object);
  return served;
}

simdjson::error_code parse(simdjson::dom::parser& parser, std::string_view json, element& root) {
  if (const auto failed = parser.allocate(json.size(), kDepthMax)) return failed;
  return parser.parse(json.data(), json.size(), true).get(root);
}

Fail not_json(simdjson::error_code failed) {
  return fail(Code::kInvalid,
              std::string("the API server sent no JSON: ") + simdjson::error_message(failed));
}

void read_status(const element& status, ServedEvent& event) {
  int64_t code = 0;
  if (status["code"].get(code) == simdjson::SUCCESS) event.code = static_cast<int>(code);
  event.reason = text_of(status, "reason");
  event.message = text_of(status, "message");
}

Result<ServedEvent> read_event_with(simdjson::dom::parser& parser, std::string_view json,
                                    const ServedKind& kind) {
  using Type = ServedEvent::Type;
  element root;
  if (const auto failed = parse(parser, json, root)) return not_json(failed);
  const std::string_view type = text_of(root, "type");
  element object;
  if (!root.is_object() || root["object"].get(object) != simdjson::SUCCESS || !object.is_object()) {
    return fail(Code::kInvalid, "the API server sent a watch event without an object");
  }
  ServedEvent event;
  if (type == "ERROR") {
    event.type = Type::kError;
    read_status(object, event);
    return event;
  }
  element metadata;
  if (object["metadata"].get(metadata) == simdjson::SUCCESS) {
    event.resource_version = text_of(metadata, "resourceVersion");
  }
  if (event.resource_version.empty()) {
    return fail(Code::kInvalid, "the API server sent a watch event without a resourceVersion");
  }
  if (type == "BOOKMARK") return event;
  const bool is_change = type == "ADDED" || type == "MODIFIED";
  if (!is_change && type != "DELETED") {
    return fail(Code::kInvalid, "the API server sent a watch event of no known type");
  }
  event.type = is_change ? Type::kChanged : Type::kDeleted;
  event.object = is_change ? read_one(object, kind) : name_of(object, kind);
  if (is_named(event.object, kind)) return event;
  return fail(Code::kInvalid, "the API server sent a watch event of an object without a name");
}

}  // namespace

Result<ServedPage> read_page(std::string_view json, const ServedKind& kind) {
  simdjson::dom::parser parser(kPageBytesMax);
  element root;
  if (const auto failed = parse(parser, json, root)) return not_json(failed);
  element metadata;
  simdjson::dom::array items;
  if (!root.is_object() || root["metadata"].get(metadata) != simdjson::SUCCESS ||
      text_of(metadata, "resourceVersion").empty()) {
    return fail(Code::kInvalid, "the API server sent a list without a resourceVersion");
  }
  ServedPage page{.objects = {},
                  .resource_version = std::string(text_of(metadata, "resourceVersion")),
                  .next = std::string(text_of(metadata, "continue"))};
  // Of an empty list, some servers send null.
  if (root["items"].get(items) != simdjson::SUCCESS) return page;
  page.objects.reserve(items.size());
  for (const element item : items) {
    if (item.is_object()) page.objects.push_back(read_one(item, kind));
    if (!item.is_object() || !is_named(page.objects.back(), kind)) {
      return fail(Code::kInvalid, "the API server sent a list with an object without a name");
    }
  }
  return page;
}

Result<ServedEvent> read_event(std::string_view json, const ServedKind& kind) {
  if (json.size() > kTextBytesMax) {
    return fail(Code::kLimit, "the API server sent a watch event of more than " +
                                  std::to_string(kTextBytesMax) + " bytes");
  }
  if (json.size() > kKeptParserBytes) {
    simdjson::dom::parser parser(kTextBytesMax);
    return read_event_with(parser, json, kind);
  }
  thread_local simdjson::dom::parser parser(kTextBytesMax);
  return read_event_with(parser, json, kind);
}

}  // namespace weft::objects
