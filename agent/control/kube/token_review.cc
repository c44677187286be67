#include "agent/control/kube/token_review.h"

#include "agent/identity/token.h"
#include "agent/objects/tree.h"

#include <algorithm>

namespace weft::control::kube {
namespace {

using objects::Tree;

constexpr std::string_view kExtra = "authentication.kubernetes.io/";
constexpr std::string_view kSubjectPrefix = "system:serviceaccount:";

Fail refuse(const std::string& reason) { return fail(Code::kRefused, "token: " + reason); }

// The one value of an extra of the user's; several, or none, are none.
std::string extra_of(const Tree& user, std::string_view name) {
  const Tree* extras = user.find("extra");
  if (extras == nullptr) return {};
  const Tree* values = extras->find(std::string(kExtra) + std::string(name));
  if (values == nullptr || values->items.size() != 1) return {};
  return values->items.front().text;
}

bool is_for_us(const Tree& status) {
  const Tree* audiences = status.find("audiences");
  return audiences != nullptr && std::ranges::any_of(audiences->items, [](const Tree& one) {
           return one.text == identity::kTokenAudience;
         });
}

}  // namespace

std::string review_request(std::string_view token) {
  Tree audiences = Tree::list();
  audiences.items.push_back(Tree::of(std::string(identity::kTokenAudience)));
  Tree spec = Tree::map();
  spec.add("token", Tree::of(std::string(token)));
  spec.add("audiences", std::move(audiences));
  Tree review = Tree::map();
  review.add("apiVersion", Tree::of(std::string("authentication.k8s.io/v1")));
  review.add("kind", Tree::of(std::string("TokenReview")));
  review.add("spec", std::move(spec));
  return objects::write_json(review);
}

Result<Reviewed> read_review(std::string_view json) {
  const Tree review = TRY(objects::parse_json(json));
  const Tree* status = review.find("status");
  if (review.text_of("kind") != "TokenReview" || status == nullptr) {
    return fail(Code::kInvalid, "the answer is no TokenReview");
  }
  const Tree* authenticated = status->find("authenticated");
  if (authenticated == nullptr || !authenticated->boolean) {
    const std::string reason(status->text_of("error"));
    return refuse("the API server does not accept it" + (reason.empty() ? "" : ": " + reason));
  }
  // A server that knows no audiences names none, and would accept a token for anything.
  if (!is_for_us(*status)) return refuse("wrong audience");
  const Tree* user = status->find("user");
  if (user == nullptr) return fail(Code::kInvalid, "the TokenReview names no user");
  Reviewed reviewed;
  reviewed.subject = user->text_of("username");
  if (!identity::is_service_account(reviewed.subject)) {
    return refuse("subject " + reviewed.subject + " is no service account");
  }
  const std::string_view rest = std::string_view(reviewed.subject).substr(kSubjectPrefix.size());
  reviewed.ns = rest.substr(0, rest.find(':'));
  reviewed.node = extra_of(*user, "node-name");
  reviewed.pod = extra_of(*user, "pod-name");
  reviewed.pod_uid = extra_of(*user, "pod-uid");
  return reviewed;
}

Result<std::string> node_of_pod(std::string_view json, std::string_view uid) {
  const Tree pod = TRY(objects::parse_json(json));
  const Tree* metadata = pod.find("metadata");
  const Tree* spec = pod.find("spec");
  if (metadata == nullptr || uid.empty() || metadata->text_of("uid") != uid) {
    return refuse("its pod is gone: another has its name");
  }
  if (spec == nullptr || spec->text_of("nodeName").empty()) {
    return refuse("its pod runs on no node yet");
  }
  return std::string(spec->text_of("nodeName"));
}

}  // namespace weft::control::kube
