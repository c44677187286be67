#include "agent/compile/analyze/explain.h"

#include "agent/compile/analyze/explainer.h"
#include "agent/compile/analyze/finding.h"
#include "agent/compile/analyze/policies_over.h"
#include "agent/compile/peer_authentication.h"
#include "agent/objects/names.h"

#include <algorithm>
#include <optional>

namespace weft::analyze {

namespace core = crd::core;

namespace {

Place place_in(const std::string& text) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos) return {"", text};
  return {text.substr(0, slash), text.substr(slash + 1)};
}

std::string account_of(const core::Pod& pod) {
  const std::string& name = pod.spec().serviceaccountname();
  return name.empty() ? "default" : name;
}

SpiffeId identity_of(const Shape& shape, const compile::MeshConfig& config) {
  return {config.trust_domain, shape.origin.ns, account_of(shape.pod)};
}

const char* words_of(Shape::Mesh mesh) {
  switch (mesh) {
    case Shape::Mesh::kIn:
      return "in the mesh";
    case Shape::Mesh::kOut:
      return "outside the mesh";
    case Shape::Mesh::kUnknown:
      return "nobody knows whether in the mesh: its Namespace is not among the objects";
  }
  return "";
}

// "PeerAuthentication default/strict" for a policy that was made of one.
std::string title_of(const model::Policy& policy) {
  if (policy.name == compile::kStaticStrictName) return "PeerAuthentication, mode STRICT";
  if (policy.name.starts_with(compile::kConvertedPrefix)) {
    return "PeerAuthentication " + policy.ns + "/" +
           policy.name.substr(std::string_view(compile::kConvertedPrefix).size());
  }
  return "AuthorizationPolicy " + policy.key();
}

// Whether the destination's ztunnel is told who calls. Who may be in the mesh is taken to be.
bool identifies(const Shape& from, const Shape& to) {
  return from.mesh != Shape::Mesh::kOut && to.mesh != Shape::Mesh::kOut;
}

}  // namespace

std::optional<IpAddress> address_of(const core::Pod& pod) {
  const auto address = IpAddress::parse(pod.status().podip());
  return address ? std::optional(*address) : std::nullopt;
}

const Shape* find_shape(const Cluster& cluster, const std::string& ns, const std::string& name) {
  const Shape* made = nullptr;
  for (const Shape& shape : cluster.running()) {
    if (shape.origin.ns != ns) continue;
    if (shape.origin.name == name) return &shape;
    if (made == nullptr && shape.origin.name.starts_with(name + "-")) made = &shape;
  }
  return made;
}

void Explainer::conclude(Answer allowed, const std::string& why) {
  constexpr const char* kWords[] = {"refused", "it depends", "allowed"};
  say(std::string(kWords[static_cast<int>(allowed)]) + ": " + why);
  result_.allowed = std::min(result_.allowed, allowed);
}

Result<Explanation> Explainer::run() {
  const std::string from_ns = question_.from.ns.empty() ? "default" : question_.from.ns;
  from_ = find_shape(cluster_, from_ns, question_.from.name);
  if (from_ == nullptr) {
    return fail(Code::kNotFound,
                "there is no pod " + from_ns + "/" + question_.from.name + " to come from");
  }
  say("from " + origin_of(from_->origin) + ", " + words_of(from_->mesh) +
      (from_->mesh == Shape::Mesh::kIn
           ? ", as " + identity_of(*from_, cluster_.config()).to_string()
           : ""));
  if (question_.address) {
    to_address(*question_.address);
  } else if (!to_named() && !to_host(question_.host)) {
    const std::string ns = question_.to.ns.empty() ? from_ns : question_.to.ns;
    return fail(
        Code::kNotFound,
        "there is neither a Service nor a pod " + ns + "/" + question_.to.name +
            (question_.host.empty() ? "" : ", nor a ServiceEntry with the host " + question_.host));
  }
  return std::move(result_);
}

void Explainer::to_workload(const Shape& to, uint16_t port) {
  const auto address = address_of(to.pod);
  say("endpoint " + origin_of(to.origin) + (address ? " (" + address->to_string() + ")" : "") +
      ", port " + std::to_string(port) + ", " + words_of(to.mesh));
  carry(to);
  judge(to, port);
}

void Explainer::carry(const Shape& to) {
  if (waypoint_) {
    return say(to.mesh == Shape::Mesh::kOut
                   ? "  carried by the waypoint as plain text"
                   : "  carried by the waypoint over mutual TLS (HBONE, port 15008)");
  }
  const bool both = identifies(*from_, to);
  const std::string& here = from_->pod.spec().nodename();
  const std::string& there = to.pod.spec().nodename();
  if (!both) {
    say("  carried as plain text, without the source's identity");
  } else if (!here.empty() && here == there) {
    say("  carried within " + here + ": both identities are known, the bytes are not encrypted");
  } else if (here.empty() || there.empty()) {
    say("  carried over mutual TLS (HBONE), or unencrypted where both run on one node");
  } else {
    say("  carried from " + here + " to " + there + " over mutual TLS (HBONE, port 15008)");
  }
}

void Explainer::judge(const Shape& to, uint16_t port) {
  if (to.mesh == Shape::Mesh::kOut) {
    return conclude(Answer::kYes, "nothing is enforced for a workload outside the mesh");
  }
  Call call;
  call.port = port;
  call.source_ip = address_of(from_->pod);
  call.destination_ip = address_of(to.pod);
  if (identifies(*from_, to)) call.source = identity_of(*from_, cluster_.config());
  if (waypoint_) call.source = waypoint_;
  const std::vector<model::Policy> policies = policies_over(cluster_, to);
  for (const model::Policy& policy : policies) {
    const Matched matched = matches(policy, call);
    const bool denies = policy.action == model::Policy::Action::kDeny;
    std::string line = std::string("  ") + (denies ? "DENY  " : "ALLOW ") + title_of(policy) + ": ";
    if (matched.answer == Answer::kNo) {
      line += policy.rules.empty() ? "has no rules and never matches" : "no rule matches";
    } else {
      line += (matched.answer == Answer::kYes ? "matches by rule " : "may match by rule ") +
              std::to_string(matched.rule + 1);
    }
    say(line + (policy.dry_run ? " (dry run: decides nothing)" : ""));
  }
  const Decision decision = decide(policies, call);
  if (decision.allowed == Answer::kDepends) {
    conclude(Answer::kDepends, "on addresses that are not known, by " + title_of(*decision.by));
  } else if (decision.by != nullptr) {
    conclude(decision.allowed, "by " + title_of(*decision.by));
  } else if (decision.allowed == Answer::kNo) {
    conclude(Answer::kNo, "there are ALLOW policies, and none of them matches");
  } else {
    conclude(Answer::kYes, policies.empty() ? "no policy applies"
                                            : "nothing denies it, and there is no ALLOW policy");
  }
}

Result<Question> parse_question(const std::string& from, const std::string& to) {
  Question question;
  question.from = place_in(from);
  const size_t colon = to.rfind(':');
  const auto port =
      colon == std::string::npos ? std::nullopt : objects::parse_port(to.substr(colon + 1));
  if (!port)
    return fail(Code::kInvalid, "expected TO:PORT such as shop/web:80, got \"" + to + "\"");
  question.port = *port;
  std::string target = to.substr(0, colon);
  if (target.starts_with('[') && target.ends_with(']'))
    target = target.substr(1, target.size() - 2);
  const size_t dot = target.find('.');
  if (const auto address = IpAddress::parse(target)) {
    question.address = *address;
  } else if (!target.contains('/') && dot != std::string::npos) {
    question.host = target;
    // A host name: "web.shop", "web.shop.svc.cluster.local".
    const std::string rest = target.substr(dot + 1);
    target = rest.substr(0, rest.find('.')) + "/" + target.substr(0, dot);
  }
  question.to = place_in(target);
  if (question.from.name.empty() || question.to.name.empty()) {
    return fail(Code::kInvalid, "expected FROM and TO:PORT such as shop/client shop/web:80");
  }
  return question;
}

Result<Explanation> explain(const Cluster& cluster, const Question& question) {
  return Explainer(cluster, question).run();
}

}  // namespace weft::analyze
