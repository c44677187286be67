#include "agent/source/overlay.h"

#include "agent/objects/names.h"
#include "agent/objects/tree.h"

namespace weft::source {

namespace {

bool may_be_file_name(std::string_view text) {
  for (const char character : text) {
    if (character == '/' || static_cast<unsigned char>(character) < 0x20) return false;
  }
  return text.size() <= 128;
}

}  // namespace

Result<Overlay> Overlay::for_pod(std::string ns, std::string name, std::string uid) {
  if (!objects::wrong_with_label_name(ns).empty() || !objects::wrong_with_subdomain(name).empty() ||
      !may_be_file_name(uid)) {
    return fail(Code::kInvalid, "Pod/" + ns + "/" + name + ": not the name of a pod with a uid");
  }
  Overlay overlay;
  overlay.ns = std::move(ns);
  overlay.name = std::move(name);
  overlay.uid = std::move(uid);
  return overlay;
}

Result<Overlay> Overlay::parse(std::string_view json) {
  const objects::Tree tree = TRY(objects::parse_json(json));
  Overlay overlay =
      TRY(for_pod(std::string(tree.text_of("namespace")), std::string(tree.text_of("name")),
                  std::string(tree.text_of("uid"))));
  const objects::Tree* annotations = tree.find("annotations");
  if (annotations == nullptr || annotations->kind != objects::Tree::Kind::kMap) {
    return fail(Code::kInvalid, "annotations: expected a map");
  }
  if (annotations->members.size() > kAnnotationsMax) {
    return fail(Code::kLimit, "more than " + std::to_string(kAnnotationsMax) + " annotations");
  }
  for (const objects::Tree::Member& member : annotations->members) {
    if (member.value.is_null()) {
      overlay.annotations[member.name] = std::nullopt;
    } else if (member.value.kind == objects::Tree::Kind::kString) {
      overlay.annotations[member.name] = member.value.text;
    } else {
      return fail(Code::kInvalid, "annotations[" + member.name + "]: expected a string or null");
    }
  }
  return overlay;
}

std::string Overlay::to_json() const {
  objects::Tree values = objects::Tree::map();
  for (const auto& [key, value] : annotations) {
    values.add(key, value ? objects::Tree::of(*value) : objects::Tree());
  }
  objects::Tree tree = objects::Tree::map();
  tree.add("namespace", objects::Tree::of(ns));
  tree.add("name", objects::Tree::of(name));
  tree.add("uid", objects::Tree::of(uid));
  tree.add("annotations", std::move(values));
  return objects::write_json(tree) + "\n";
}

std::string Overlay::file_name() const { return ns + "." + name + "." + uid + ".json"; }

std::shared_ptr<const objects::Object> Overlay::lay_over(
    const std::shared_ptr<const objects::Object>& pod) const {
  const auto* message = pod->as<crd::core::Pod>();
  if (message == nullptr || message->metadata().uid() != uid) return pod;
  auto copy = std::make_shared<crd::core::Pod>(*message);
  auto& target = *copy->mutable_metadata()->mutable_annotations();
  for (const auto& [key, value] : annotations) {
    if (value) {
      target[key] = *value;
    } else {
      target.erase(key);
    }
  }
  return std::make_shared<objects::Object>(pod->api_version(), pod->kind(), std::move(copy));
}

}  // namespace weft::source
