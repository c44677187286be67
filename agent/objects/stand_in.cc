#include "agent/objects/stand_in.h"

#include "agent/objects/names.h"
#include "agent/objects/tree.h"
#include "proto/crd/security.pb.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>
#include <sstream>

namespace weft::objects {

namespace {

using crd::security::AuthorizationPolicy;
using crd::security::AuthorizationPolicySpec;
using crd::security::MutualTls;
using crd::security::PeerAuthentication;

constexpr std::string_view kPolicyKind = "AuthorizationPolicy";
constexpr std::string_view kPeerKind = "PeerAuthentication";
constexpr std::string_view kGroup = "security.istio.io/";
constexpr const char* kApiVersion = "security.istio.io/v1";
constexpr const char* kDryRunAnnotation = "istio.io/dry-run";
constexpr size_t kReasonBytesMax = 1024;

const Tree kNothing;

const Tree& member(const Tree& tree, std::string_view name) {
  const Tree* found = tree.find(name);
  return found != nullptr ? *found : kNothing;
}

// The labels, if they are all that the selector says.
std::optional<std::vector<std::pair<std::string, std::string>>> selector_of(const Tree& spec) {
  const Tree* selector = spec.find("selector");
  if (selector == nullptr || selector->members.size() != 1) return std::nullopt;
  const Tree& labels = member(*selector, "matchLabels");
  if (labels.kind != Tree::Kind::kMap || labels.members.empty()) return std::nullopt;
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const Tree::Member& label : labels.members) {
    if (label.value.kind != Tree::Kind::kString) return std::nullopt;
    pairs.emplace_back(label.name, label.value.text);
  }
  return pairs;
}

bool refuses_nobody(const Tree& document) {
  const Tree& spec = member(document, "spec");
  const Tree& annotations = member(member(document, "metadata"), "annotations");
  return spec.text_of("action") == "AUDIT" || spec.find("targetRef") != nullptr ||
         spec.find("targetRefs") != nullptr || annotations.text_of(kDryRunAnnotation) == "true";
}

template <class Message>
void fill_metadata(std::string_view ns, std::string_view name, const std::string& nameless,
                   const std::string& reason, Message& message) {
  auto& metadata = *message.mutable_metadata();
  const bool named = !name.empty() && wrong_with_subdomain(name).empty();
  const bool placed = !ns.empty() && wrong_with_label_name(ns).empty();
  metadata.set_name(named ? std::string(name) : nameless);
  metadata.set_namespace_(placed ? std::string(ns) : "default");
  (*metadata.mutable_annotations())[kUnreadableAnnotation] = reason.substr(0, kReasonBytesMax);
}

template <class Spec>
void fill_selector(const Tree& spec, Spec& into) {
  const auto labels = selector_of(spec);
  if (!labels) return;
  for (const auto& [key, value] : *labels) {
    (*into.mutable_selector()->mutable_matchlabels())[key] = value;
  }
}

std::shared_ptr<const Object> stand_in(std::string_view kind, std::string_view ns,
                                       std::string_view name, const std::string& nameless,
                                       const Tree& spec, const std::string& reason) {
  if (kind == kPolicyKind) {
    auto policy = std::make_shared<AuthorizationPolicy>();
    fill_metadata(ns, name, nameless, reason, *policy);
    fill_selector(spec, *policy->mutable_spec());
    policy->mutable_spec()->set_action(AuthorizationPolicySpec::DENY);
    policy->mutable_spec()->add_rules();
    return std::make_shared<Object>(kApiVersion, std::string(kind), std::move(policy));
  }
  auto peer = std::make_shared<PeerAuthentication>();
  fill_metadata(ns, name, nameless, reason, *peer);
  fill_selector(spec, *peer->mutable_spec());
  peer->mutable_spec()->mutable_mtls()->set_mode(MutualTls::STRICT);
  return std::make_shared<Object>(kApiVersion, std::string(kind), std::move(peer));
}

bool is_security(std::string_view kind) { return kind == kPolicyKind || kind == kPeerKind; }

// One document: what is good of it, or what stands for it.
void add(const Tree& document, std::string_view origin,
         std::vector<std::shared_ptr<const Object>>& out) {
  if (document.text_of("kind") == "List") {
    for (const Tree& item : member(document, "items").items) add(item, origin, out);
    return;
  }
  const std::string_view kind = document.text_of("kind");
  if (!is_security(kind)) return;
  // Of another group it is somebody else's; of another version of ours it is unreadable.
  if (!document.text_of("apiVersion").starts_with(kGroup)) return;
  Parsed parsed = parse_manifests(write_json(document), origin);
  if (parsed.errors.empty()) {
    std::ranges::move(parsed.objects, std::back_inserter(out));
    return;
  }
  if (kind == kPolicyKind && refuses_nobody(document)) return;
  // Without a name of its own it must not take another one's place, in this file or the next.
  std::ostringstream nameless;
  nameless << "unreadable-" << std::hex << std::hash<std::string_view>{}(origin) << "-"
           << out.size();
  const Tree& metadata = member(document, "metadata");
  out.push_back(stand_in(kind, metadata.text_of("namespace"), metadata.text_of("name"),
                         nameless.str(), member(document, "spec"),
                         parsed.errors.front().to_string()));
}

// Of a file that is no YAML or JSON: the sandbox names files "Kind_namespace_name.json".
void add_by_name(std::string_view origin, const std::string& reason,
                 std::vector<std::shared_ptr<const Object>>& out) {
  const std::string stem = std::filesystem::path(origin).stem().string();
  const size_t first = stem.find('_');
  const size_t second = stem.find('_', first + 1);
  if (first == std::string::npos || second == std::string::npos) return;
  const std::string_view kind = std::string_view(stem).substr(0, first);
  if (!is_security(kind)) return;
  out.push_back(stand_in(kind, std::string_view(stem).substr(first + 1, second - first - 1),
                         std::string_view(stem).substr(second + 1), "unreadable", kNothing,
                         reason));
}

}  // namespace

std::vector<std::shared_ptr<const Object>> security_of(std::string_view text,
                                                       std::string_view origin) {
  std::vector<std::shared_ptr<const Object>> out;
  if (const auto json = parse_json(text)) {
    add(*json, origin, out);
    return out;
  }
  const YamlDocuments yaml = parse_yaml(text);
  for (const Tree& document : yaml.documents) add(document, origin, out);
  if (!yaml.error.empty()) add_by_name(origin, yaml.error.front().to_string(), out);
  return out;
}

}  // namespace weft::objects
