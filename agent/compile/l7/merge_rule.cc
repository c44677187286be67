#include "agent/compile/l7/rules.h"

namespace weft::l7 {

namespace {

using crd::networking::HttpMatch;
using crd::networking::StringMatch;

// Whether a delegate's condition is not a part of its root's.
bool conflicts(const StringMatch& root, const StringMatch& leaf) {
  if (root.match_case() == StringMatch::MATCH_NOT_SET ||
      leaf.match_case() == StringMatch::MATCH_NOT_SET) {
    return false;
  }
  // Nobody can tell whether a regular expression is a part of another condition.
  if (root.match_case() == StringMatch::kRegex || leaf.match_case() == StringMatch::kRegex) {
    return true;
  }
  const std::string& text =
      leaf.match_case() == StringMatch::kPrefix ? leaf.prefix() : leaf.exact();
  if (root.match_case() == StringMatch::kPrefix) return !text.starts_with(root.prefix());
  return leaf.match_case() == StringMatch::kPrefix || text != root.exact();
}

template <class Conditions>
bool any_conflicts(const Conditions& root, const Conditions& leaf) {
  for (const auto& [name, condition] : leaf) {
    const auto own = root.find(name);
    if (own != root.end() && conflicts(own->second, condition)) return true;
  }
  return false;
}

bool labels_conflict(const HttpMatch& root, const HttpMatch& leaf) {
  for (const auto& [name, value] : leaf.sourcelabels()) {
    const auto own = root.sourcelabels().find(name);
    if (own != root.sourcelabels().end() && own->second != value) return true;
  }
  return false;
}

bool gateways_conflict(const HttpMatch& root, const HttpMatch& leaf) {
  if (root.gateways().empty()) return false;
  for (const std::string& gateway : leaf.gateways()) {
    bool found = false;
    for (const std::string& own : root.gateways()) found |= own == gateway;
    if (!found) return true;
  }
  return false;
}

bool conflicts(const HttpMatch& root, const HttpMatch& leaf) {
  return conflicts(root.uri(), leaf.uri()) || conflicts(root.scheme(), leaf.scheme()) ||
         conflicts(root.method(), leaf.method()) || conflicts(root.authority(), leaf.authority()) ||
         any_conflicts(root.headers(), leaf.headers()) ||
         any_conflicts(root.withoutheaders(), leaf.withoutheaders()) ||
         any_conflicts(root.queryparams(), leaf.queryparams()) ||
         root.ignoreuricase() != leaf.ignoreuricase() ||
         (root.port() != 0 && leaf.port() != 0 && root.port() != leaf.port()) ||
         (!root.sourcenamespace().empty() && root.sourcenamespace() != leaf.sourcenamespace()) ||
         labels_conflict(root, leaf) || gateways_conflict(root, leaf);
}

std::string joined(const std::string& root, const std::string& leaf) {
  if (root.empty() || leaf.empty()) return root + leaf;
  return root + "-" + leaf;
}

template <class Map>
void fill_map(const Map& root, Map& leaf) {
  for (const auto& [name, value] : root) leaf.insert({name, value});
}

HttpMatch merged(const HttpMatch& root, const HttpMatch& leaf) {
  HttpMatch out = leaf;
  out.set_name(joined(root.name(), leaf.name()));
  if (!leaf.has_uri() && root.has_uri()) *out.mutable_uri() = root.uri();
  if (!leaf.has_scheme() && root.has_scheme()) *out.mutable_scheme() = root.scheme();
  if (!leaf.has_method() && root.has_method()) *out.mutable_method() = root.method();
  if (!leaf.has_authority() && root.has_authority()) *out.mutable_authority() = root.authority();
  fill_map(root.headers(), *out.mutable_headers());
  fill_map(root.withoutheaders(), *out.mutable_withoutheaders());
  fill_map(root.queryparams(), *out.mutable_queryparams());
  fill_map(root.sourcelabels(), *out.mutable_sourcelabels());
  if (leaf.port() == 0) out.set_port(root.port());
  if (leaf.gateways().empty()) *out.mutable_gateways() = root.gateways();
  return out;
}

// Each condition of the root's must have one of the delegate's that is a part of it.
bool merge_matches(const Rule& root, Rule& delegate) {
  if (root.match().empty()) return true;
  if (delegate.match().empty()) {
    *delegate.mutable_match() = root.match();
    return true;
  }
  google::protobuf::RepeatedPtrField<HttpMatch> all;
  for (const HttpMatch& outer : root.match()) {
    bool found = false;
    for (const HttpMatch& inner : delegate.match()) {
      if (conflicts(outer, inner)) continue;
      *all.Add() = merged(outer, inner);
      found = true;
    }
    if (!found) return false;
  }
  delegate.mutable_match()->Swap(&all);
  return true;
}

}  // namespace

bool merge_rule(const Rule& root, Rule& delegate) {
  if (!merge_matches(root, delegate)) return false;
  delegate.set_name(joined(root.name(), delegate.name()));
  if (!delegate.has_rewrite() && root.has_rewrite()) *delegate.mutable_rewrite() = root.rewrite();
  if (!delegate.has_directresponse() && root.has_directresponse()) {
    *delegate.mutable_directresponse() = root.directresponse();
  }
  if (delegate.timeout().empty()) delegate.set_timeout(root.timeout());
  if (!delegate.has_retries() && root.has_retries()) *delegate.mutable_retries() = root.retries();
  if (!delegate.has_fault() && root.has_fault()) *delegate.mutable_fault() = root.fault();
  if (!delegate.has_mirror() && root.has_mirror()) *delegate.mutable_mirror() = root.mirror();
  if (delegate.mirrors().empty()) *delegate.mutable_mirrors() = root.mirrors();
  if (!delegate.has_mirrorpercent() && root.has_mirrorpercent()) {
    delegate.set_mirrorpercent(root.mirrorpercent());
  }
  if (!delegate.has_mirrorpercentage() && root.has_mirrorpercentage()) {
    *delegate.mutable_mirrorpercentage() = root.mirrorpercentage();
  }
  if (!delegate.has_corspolicy() && root.has_corspolicy()) {
    *delegate.mutable_corspolicy() = root.corspolicy();
  }
  if (!delegate.has_headers() && root.has_headers()) *delegate.mutable_headers() = root.headers();
  return true;
}

}  // namespace weft::l7
