#include "agent/control/kube/gateway_status.h"

namespace weft::control::kube {
namespace {

using objects::Tree;

const char* word(bool is_true) { return is_true ? "True" : "False"; }

const Tree* condition_in(const Tree* status, const std::string& type) {
  const Tree* conditions = status == nullptr ? nullptr : status->find("conditions");
  if (conditions == nullptr) return nullptr;
  for (const Tree& one : conditions->items) {
    if (one.text_of("type") == type) return &one;
  }
  return nullptr;
}

// Whether `has` says all that `wanted` does; the server adds what it likes.
bool covers(const Tree& has, const Tree& wanted) {
  if (has.kind != wanted.kind) return false;
  switch (wanted.kind) {
    case Tree::Kind::kMap:
      for (const Tree::Member& member : wanted.members) {
        const Tree* there = has.find(member.name);
        if (there == nullptr || !covers(*there, member.value)) return false;
      }
      return true;
    case Tree::Kind::kList:
      if (has.items.size() != wanted.items.size()) return false;
      for (size_t i = 0; i < wanted.items.size(); ++i) {
        if (!covers(has.items[i], wanted.items[i])) return false;
      }
      return true;
    case Tree::Kind::kInteger:
      return has.integer == wanted.integer;
    case Tree::Kind::kBool:
      return has.boolean == wanted.boolean;
    default:
      return has.text == wanted.text;
  }
}

}  // namespace

GatewayStatus::GatewayStatus(const Tree& server, std::string now)
    : status_(server.find("status")), now_(std::move(now)) {
  const Tree* metadata = server.find("metadata");
  const Tree* generation = metadata == nullptr ? nullptr : metadata->find("generation");
  if (generation != nullptr) generation_ = generation->integer;
}

Tree GatewayStatus::conditions(const std::vector<GatewayCondition>& wanted,
                               const Tree* before) const {
  Tree list = Tree::list();
  for (const GatewayCondition& condition : wanted) {
    const Tree* old = condition_in(before, condition.type);
    const bool is_same = old != nullptr && old->text_of("status") == word(condition.is_true);
    Tree tree = Tree::map();
    tree.add("type", Tree::of(condition.type));
    tree.add("status", Tree::of(word(condition.is_true)));
    tree.add("reason", Tree::of(condition.reason));
    tree.add("message", Tree::of(condition.message));
    tree.add("observedGeneration", Tree::of(generation_));
    tree.add("lastTransitionTime",
             Tree::of(is_same ? std::string(old->text_of("lastTransitionTime")) : now_));
    list.items.push_back(std::move(tree));
  }
  return list;
}

std::string GatewayStatus::patch_of(const objects::Object& object, Tree status) const {
  if (status_ != nullptr && covers(*status_, status)) return "";
  Tree metadata = Tree::map();
  metadata.add("name", Tree::of(object.metadata().name()));
  if (!object.metadata().namespace_().empty()) {
    metadata.add("namespace", Tree::of(object.metadata().namespace_()));
  }
  metadata.add("uid", Tree::of(object.metadata().uid()));
  Tree patch = Tree::map();
  patch.add("apiVersion", Tree::of(object.api_version()));
  patch.add("kind", Tree::of(object.kind()));
  patch.add("metadata", std::move(metadata));
  patch.add("status", std::move(status));
  return objects::write_json(patch);
}

}  // namespace weft::control::kube
