#include "agent/compile/analyze/mistakes.h"

#include "agent/objects/kinds.h"

#include <algorithm>

namespace weft::analyze {

namespace {

// The object that "Kind/ns/name" or "Kind/name" stands for; a path of a file stands for none.
std::optional<objects::Key> key_in(std::string_view subject) {
  const size_t first = subject.find('/');
  if (first == std::string_view::npos) return std::nullopt;
  const std::string_view kind = subject.substr(0, first);
  const auto known = std::ranges::find(objects::kinds(), kind, &objects::Kind::key_name);
  if (known == objects::kinds().end()) return std::nullopt;
  const std::string_view rest = subject.substr(first + 1);
  const size_t second = rest.find('/');
  if (!known->namespaced) return objects::Key{std::string(kind), "", std::string(rest)};
  if (second == std::string_view::npos) return std::nullopt;
  return objects::Key{std::string(kind), std::string(rest.substr(0, second)),
                      std::string(rest.substr(second + 1))};
}

// An API group that is neither Kubernetes' nor one that a mesh reads: somebody else's objects.
bool is_foreign(std::string_view message) {
  constexpr std::string_view kBefore = " of ";
  if (!message.contains("kind: unknown kind \"")) return false;
  const size_t at = message.rfind(kBefore);
  if (at == std::string_view::npos) return false;
  const std::string_view api_version = message.substr(at + kBefore.size());
  const size_t slash = api_version.find('/');
  if (slash == std::string_view::npos) return false;
  const std::string_view group = api_version.substr(0, slash);
  return group.contains('.') && !group.ends_with("istio.io") && !group.ends_with("k8s.io");
}

}  // namespace

Mistake understand(const Error& error) {
  const std::string text = error.to_string();
  const size_t colon = text.find(": ");
  if (colon == std::string::npos) return {kMalformed, text, "cannot be read", std::nullopt};
  const std::string subject = text.substr(0, colon);
  Mistake mistake{kMalformed, subject, text.substr(colon + 2), key_in(subject)};
  if (mistake.object) {
    mistake.origin = origin_of(*mistake.object);
    if (mistake.message.starts_with("is in ") && mistake.message.contains(" and again in ")) {
      mistake.rule = kTwice;
    }
  } else if (is_foreign(mistake.message)) {
    mistake.rule = kForeign;
  }
  return mistake;
}

}  // namespace weft::analyze
