#include "agent/control/kube/ca_secret.h"

#include "agent/objects/tree.h"
#include "agent/source/kube/base64.h"

#include <algorithm>

namespace weft::control::kube {
namespace {

using objects::Tree;

Result<std::string> text_of(const Tree& data, std::string_view name, bool is_required) {
  const Tree* found = data.find(name);
  if (found == nullptr || found->text.empty()) {
    if (!is_required) return std::string();
    return fail(Code::kInvalid, "data." + std::string(name) + " is missing");
  }
  auto text = source::kube::decode_base64(found->text);
  if (!text) return fail(Code::kInvalid, "data." + std::string(name) + " is not base64");
  return text;
}

}  // namespace

Result<identity::CaFiles> read_ca_secret(std::string_view json) {
  // The parser's own messages could quote what it read.
  const auto secret = objects::parse_json(json);
  if (!secret) return fail(Code::kInvalid, "the answer is no Secret");
  const Tree* data = secret->find("data");
  if (secret->text_of("kind") != "Secret" || data == nullptr) {
    return fail(Code::kInvalid, "it has no data");
  }
  identity::CaFiles files;
  files.key = TRY(text_of(*data, "ca-key.pem", true));
  files.certificate = TRY(text_of(*data, "ca-cert.pem", true));
  files.chain = TRY(text_of(*data, "cert-chain.pem", false));
  files.roots = TRY(text_of(*data, "root-cert.pem", true));
  return files;
}

std::string new_ca_secret(const std::string& ns, const std::string& name,
                          const identity::CaFiles& files) {
  Tree labels = Tree::map();
  labels.add("app.kubernetes.io/part-of", Tree::of(std::string("weft")));
  labels.add("app.kubernetes.io/managed-by", Tree::of(std::string("weft-control")));
  Tree metadata = Tree::map();
  metadata.add("name", Tree::of(name));
  metadata.add("namespace", Tree::of(ns));
  metadata.add("labels", std::move(labels));
  Tree data = Tree::map();
  data.add("ca-key.pem", Tree::of(files.key));
  data.add("ca-cert.pem", Tree::of(files.certificate));
  if (!files.chain.empty()) data.add("cert-chain.pem", Tree::of(files.chain));
  data.add("root-cert.pem", Tree::of(files.roots));
  Tree secret = Tree::map();
  secret.add("apiVersion", Tree::of(std::string("v1")));
  secret.add("kind", Tree::of(std::string("Secret")));
  secret.add("metadata", std::move(metadata));
  secret.add("type", Tree::of(std::string("Opaque")));
  secret.add("stringData", std::move(data));
  return objects::write_json(secret);
}

bool was_written_by(std::string_view json, std::string_view manager) {
  const auto object = objects::parse_json(json);
  if (!object) return false;
  const Tree* metadata = object->find("metadata");
  const Tree* fields = metadata == nullptr ? nullptr : metadata->find("managedFields");
  return fields != nullptr && std::ranges::any_of(fields->items, [&](const Tree& one) {
           return one.text_of("manager") == manager;
         });
}

}  // namespace weft::control::kube
