#pragma once

#include <string>
#include <string_view>

namespace weft::l7 {

// A host name as a rule of namespace `ns` means it, in lower case: a name without a dot is a
// Service of that namespace; "*" and whatever has a dot stay as they are.
std::string full_host(std::string_view host, const std::string& ns,
                      const std::string& cluster_domain);

bool is_wildcard(std::string_view host);  // "*" or "*.example.com"
// Whether the pattern, a host or a wildcard, means this host.
bool host_matches(std::string_view pattern, std::string_view host);
// Of two patterns for one host: an exact one, then the longer one.
bool is_more_specific(std::string_view pattern, std::string_view other);

// Whether an object of namespace `own` with this exportTo is seen from namespace `viewer`.
// `otherwise`: what counts where it says nothing; empty: everybody sees it.
template <class Texts, class Others>
bool is_exported_to(const Texts& names, const Others& otherwise, const std::string& own,
                    const std::string& viewer) {
  const auto sees = [&](const std::string& name) {
    return name == "*" || name == viewer || (name == "." && own == viewer);
  };
  if (names.size() > 0) {
    for (const auto& name : names) {
      if (sees(name)) return true;
    }
    return false;
  }
  for (const auto& name : otherwise) {
    if (sees(name)) return true;
  }
  return otherwise.size() == 0;
}

}  // namespace weft::l7
