#include "agent/compile/authorization_policy.h"

#include "agent/objects/names.h"

#include <algorithm>
#include <set>

namespace weft::compile {

namespace security = crd::security;
using Spec = security::AuthorizationPolicySpec;
using Strings = google::protobuf::RepeatedPtrField<std::string>;

namespace {

constexpr const char* kDryRunAnnotation = "istio.io/dry-run";
constexpr std::string_view kLocalTrustDomain = "cluster.local";

// Converts the rules of one policy and notes what no node proxy can see.
class Converter {
 public:
  Converter(const MeshConfig& config, std::string ns, model::Policy::Action action)
      : config_(config), ns_(std::move(ns)), action_(action) {}

  // Nothing: the rule is left out.
  std::optional<model::Rule> rule(const security::Rule& rule);
  const std::set<std::string>& unseen() const { return unseen_; }

 private:
  model::Match source(const security::Source& source);
  model::Match operation(const security::Operation& operation);
  model::Match condition(const security::Condition& condition);
  void note(const Strings& values, const char* field) {
    if (!values.empty()) unseen_.insert(field);
  }
  std::vector<model::Pattern> principals(const Strings& values) const;
  std::vector<model::Account> accounts(const Strings& values) const;

  const MeshConfig& config_;
  std::string ns_;
  model::Policy::Action action_;
  std::set<std::string> unseen_;
};

model::Pattern pattern(std::string_view text) {
  using Kind = model::Pattern::Kind;
  if (text == "*") return {Kind::kPresent, {}};
  if (text.starts_with('*')) return {Kind::kSuffix, std::string(text.substr(1))};
  if (text.ends_with('*')) return {Kind::kPrefix, std::string(text.substr(0, text.size() - 1))};
  return {Kind::kExact, std::string(text)};
}

std::vector<model::Pattern> patterns(const Strings& values) {
  std::vector<model::Pattern> result;
  for (const std::string& value : values) result.push_back(pattern(value));
  return result;
}

// What validation has let through always parses.
std::vector<Cidr> blocks(const Strings& values) {
  std::vector<Cidr> result;
  for (const std::string& value : values) {
    if (const auto block = Cidr::parse(value)) result.push_back(*block);
  }
  return result;
}

std::vector<uint32_t> ports(const Strings& values) {
  std::vector<uint32_t> result;
  for (const std::string& value : values) {
    if (const auto port = objects::parse_port(value)) result.push_back(*port);
  }
  return result;
}

// A principal of the mesh's own trust domain, or of an alias of it, means the same account under
// all of them: certificates of either are accepted. "cluster.local" stands for the own one,
// whatever that is called.
std::vector<model::Pattern> Converter::principals(const Strings& values) const {
  const auto& aliases = config_.trust_domain_aliases;
  std::vector<model::Pattern> result;
  for (const std::string& value : values) {
    const std::string_view domain = std::string_view(value).substr(0, value.find('/'));
    const bool own = domain.size() < value.size() &&
                     (domain == kLocalTrustDomain || domain == config_.trust_domain ||
                      std::ranges::find(aliases, domain) != aliases.end());
    if (!own) {
      result.push_back(pattern(value));
      continue;
    }
    const std::string rest = value.substr(domain.size());
    result.push_back(pattern(config_.trust_domain + rest));
    for (const std::string& alias : aliases) {
      if (alias != config_.trust_domain) result.push_back(pattern(alias + rest));
    }
  }
  return result;
}

std::vector<model::Account> Converter::accounts(const Strings& values) const {
  std::vector<model::Account> result;
  for (const std::string& value : values) {
    const size_t slash = value.find('/');
    if (slash == std::string::npos) {
      result.push_back({ns_, value});
    } else {
      result.push_back({value.substr(0, slash), value.substr(slash + 1)});
    }
  }
  return result;
}

model::Match Converter::source(const security::Source& source) {
  note(source.requestprincipals(), "requestPrincipals");
  note(source.notrequestprincipals(), "notRequestPrincipals");
  note(source.remoteipblocks(), "remoteIpBlocks");
  note(source.notremoteipblocks(), "notRemoteIpBlocks");
  note(source.trustdomains(), "trustDomains");
  note(source.nottrustdomains(), "notTrustDomains");
  return {.namespaces = patterns(source.namespaces()),
          .not_namespaces = patterns(source.notnamespaces()),
          .principals = principals(source.principals()),
          .not_principals = principals(source.notprincipals()),
          .accounts = accounts(source.serviceaccounts()),
          .not_accounts = accounts(source.notserviceaccounts()),
          .sources = blocks(source.ipblocks()),
          .not_sources = blocks(source.notipblocks())};
}

model::Match Converter::operation(const security::Operation& operation) {
  note(operation.hosts(), "hosts");
  note(operation.nothosts(), "notHosts");
  note(operation.methods(), "methods");
  note(operation.notmethods(), "notMethods");
  note(operation.paths(), "paths");
  note(operation.notpaths(), "notPaths");
  return {.ports = ports(operation.ports()), .not_ports = ports(operation.notports())};
}

model::Match Converter::condition(const security::Condition& condition) {
  const std::string& key = condition.key();
  model::Match match;
  if (key == "source.ip") {
    match.sources = blocks(condition.values());
    match.not_sources = blocks(condition.notvalues());
  } else if (key == "source.namespace") {
    match.namespaces = patterns(condition.values());
    match.not_namespaces = patterns(condition.notvalues());
  } else if (key == "source.principal") {
    match.principals = principals(condition.values());
    match.not_principals = principals(condition.notvalues());
  } else if (key == "source.serviceAccount") {
    match.accounts = accounts(condition.values());
    match.not_accounts = accounts(condition.notvalues());
  } else if (key == "destination.ip") {
    match.destinations = blocks(condition.values());
    match.not_destinations = blocks(condition.notvalues());
  } else if (key == "destination.port") {
    match.ports = ports(condition.values());
    match.not_ports = ports(condition.notvalues());
  } else {
    unseen_.insert(key);
  }
  return match;
}

// A clause of ORed matches. One that is empty has lost all its conditions: it is true for every
// connection that the policy means, and with it the clause; so there is no clause.
void add_clause(std::vector<model::Match> matches, model::Rule& rule) {
  for (const model::Match& match : matches) {
    if (match == model::Match{}) return;
  }
  if (!matches.empty()) rule.all_of.push_back({.any_of = std::move(matches)});
}

std::optional<model::Rule> Converter::rule(const security::Rule& rule) {
  const std::set<std::string> unseen_before = std::exchange(unseen_, {});
  model::Rule result;
  std::vector<model::Match> to;
  for (const security::To& entry : rule.to()) to.push_back(operation(entry.operation()));
  add_clause(std::move(to), result);
  std::vector<model::Match> from;
  for (const security::From& entry : rule.from()) from.push_back(source(entry.source()));
  add_clause(std::move(from), result);
  for (const security::Condition& entry : rule.when()) add_clause({condition(entry)}, result);
  const bool complete = unseen_.empty();
  unseen_.insert(unseen_before.begin(), unseen_before.end());
  if (!complete && action_ == model::Policy::Action::kAllow) return std::nullopt;
  return result;
}

model::Policy::Scope scope_of(const security::AuthorizationPolicy& object,
                              const MeshConfig& config) {
  if (object.spec().has_selector()) return model::Policy::Scope::kSelected;
  return object.metadata().namespace_() == config.root_namespace ? model::Policy::Scope::kMesh
                                                                 : model::Policy::Scope::kNamespace;
}

bool has_targets(const Spec& spec) { return spec.has_targetref() || spec.targetrefs_size() > 0; }

bool is_dry_run(const security::AuthorizationPolicy& object, std::vector<std::string>& notices) {
  const std::string_view value = value_of(object.metadata().annotations(), kDryRunAnnotation);
  if (value.empty() || value == "false" || value == "False" || value == "FALSE" || value == "0" ||
      value == "f" || value == "F") {
    return false;
  }
  const bool is_true = value == "true" || value == "True" || value == "TRUE" || value == "1" ||
                       value == "t" || value == "T";
  const bool possible = object.spec().action() != Spec::CUSTOM;
  if (is_true && possible) return true;
  notices.emplace_back(std::string("the annotation ") + kDryRunAnnotation +
                       (is_true ? " is not for CUSTOM" : " must be true or false") +
                       ": the policy is enforced");
  return false;
}

std::string join(const std::set<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

bool is_by_selector(const security::AuthorizationPolicy& object) {
  return object.spec().has_selector() && !has_targets(object.spec()) &&
         object.spec().action() != Spec::AUDIT;
}

bool applies_to(const security::AuthorizationPolicy& object, const std::string& ns,
                const Labels& labels, const MeshConfig& config) {
  const std::string& own = object.metadata().namespace_();
  return is_by_selector(object) && (own == ns || own == config.root_namespace) &&
         selects(object.spec().selector().matchlabels(), labels);
}

std::vector<std::string> selected_policies_of(const std::string& ns, const Labels& labels,
                                              const Store& store, const MeshConfig& config) {
  std::vector<std::string> keys;
  const auto add = [&](const std::string& from) {
    store.policies_by_label.for_candidates(from, labels, [&](const std::string& name) {
      const auto* object = store.policies.find(from, name);
      if (object != nullptr && applies_to(*object, ns, labels, config)) {
        keys.push_back(from + "/" + name);
      }
    });
  };
  add(ns);
  if (ns != config.root_namespace) add(config.root_namespace);
  return keys;
}

CompiledPolicy compile_policy(const security::AuthorizationPolicy& object,
                              const MeshConfig& config) {
  CompiledPolicy result;
  const Spec& spec = object.spec();
  if (has_targets(spec)) {
    result.notices.emplace_back(
        "is for a waypoint or gateway (targetRefs), and those cannot be asked yet: requests to "
        "what it is for are refused");
    return result;
  }
  if (spec.action() == Spec::AUDIT) {
    result.notices.emplace_back("AUDIT is not supported: nothing is logged because of it");
    result.unsupported = "ztunnel does not support the AUDIT action";
    return result;
  }
  const auto action =
      spec.action() == Spec::ALLOW ? model::Policy::Action::kAllow : model::Policy::Action::kDeny;
  model::Policy policy{.name = object.metadata().name(),
                       .ns = object.metadata().namespace_(),
                       .scope = scope_of(object, config),
                       .action = action,
                       .rules = {},
                       .dry_run = is_dry_run(object, result.notices)};
  Converter converter(config, policy.ns, action);
  for (const security::Rule& rule : spec.rules()) {
    if (auto converted = converter.rule(rule)) policy.rules.push_back(std::move(*converted));
  }
  if (spec.action() == Spec::CUSTOM) {
    result.notices.emplace_back("CUSTOM: the provider " + spec.provider().name() +
                                " cannot be asked: what the rules match is denied");
    result.unsupported =
        "ztunnel does not support the CUSTOM action: what its rules match is denied.";
  }
  if (!converter.unseen().empty()) {
    result.notices.emplace_back(
        "a node proxy sees no HTTP and cannot judge " + join(converter.unseen()) +
        (action == model::Policy::Action::kAllow
             ? ": the rules with it are left out, so less is allowed than the policy says"
             : ": these conditions are left out, so more is denied than the policy says"));
    result.unsupported +=
        (result.unsupported.empty() ? "" : " ") +
        std::string("ztunnel does not support HTTP attributes (found: ") +
        join(converter.unseen()) +
        "). In ambient mode you must use a waypoint proxy to enforce HTTP rules. " +
        (action == model::Policy::Action::kAllow
             ? "Within an ALLOW policy, rules matching HTTP attributes are omitted. This will be "
               "more restrictive than requested."
             : "DENY policy with HTTP attributes is enforced without the HTTP rules. This will be "
               "more restrictive than requested.");
  }
  result.policy = std::move(policy);
  return result;
}

}  // namespace weft::compile
