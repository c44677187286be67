#include "agent/compile/analyze/finding.h"

#include "agent/objects/report.h"
#include "agent/objects/tree.h"

#include <algorithm>
#include <tuple>

namespace weft::analyze {

namespace {

constexpr const char* kSuppressAnnotation = "galley.istio.io/analyze-suppress";

bool lists(std::string_view codes, std::string_view code) {
  while (!codes.empty()) {
    const size_t comma = std::min(codes.find(','), codes.size());
    std::string_view one = codes.substr(0, comma);
    codes.remove_prefix(std::min(comma + 1, codes.size()));
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    if (one == code || one == "*") return true;
  }
  return false;
}

auto order_of(const Finding& finding) {
  return std::tuple(-static_cast<int>(finding.rule.level), std::string_view(finding.origin),
                    finding.rule.code, std::string_view(finding.message));
}

}  // namespace

std::string_view to_string(Level level) {
  switch (level) {
    case Level::kInfo:
      return "Info";
    case Level::kWarning:
      return "Warning";
    case Level::kError:
      return "Error";
  }
  return "Error";
}

std::string origin_of(const objects::Key& key) {
  return key.kind + " " + (key.ns.empty() ? key.name : key.ns + "/" + key.name);
}

std::string to_json_line(const Finding& finding) {
  using objects::Tree;
  Tree tree = Tree::map();
  tree.add("code", Tree::of(std::string(finding.rule.code)));
  tree.add("level", Tree::of(std::string(to_string(finding.rule.level))));
  tree.add("origin", Tree::of(finding.origin));
  tree.add("message", Tree::of(finding.message));
  return objects::write_json(tree);
}

std::string to_text_line(const Finding& finding) {
  return std::string(to_string(finding.rule.level)) + " [" + std::string(finding.rule.code) +
         "] (" + finding.origin + ") " + finding.message;
}

Findings::Findings(const std::vector<std::shared_ptr<const objects::Object>>& objects) {
  for (const auto& object : objects) {
    const auto& annotations = object->metadata().annotations();
    const auto found = annotations.find(kSuppressAnnotation);
    if (found != annotations.end()) suppressed_[object->key()] = found->second;
  }
}

void Findings::add(const Rule& rule, const objects::Key& about, std::string message) {
  const auto found = suppressed_.find(about);
  if (found != suppressed_.end() && lists(found->second, rule.code)) return;
  add_for_origin(rule, origin_of(about), std::move(message));
}

void Findings::add_for_origin(const Rule& rule, std::string origin, std::string message) {
  findings_.push_back(
      {rule, objects::one_line(std::move(origin)), objects::one_line(std::move(message))});
}

std::vector<Finding> Findings::take() {
  std::ranges::sort(findings_, {}, order_of);
  const auto [first, last] = std::ranges::unique(findings_, {}, order_of);
  findings_.erase(first, last);
  return std::move(findings_);
}

}  // namespace weft::analyze
