#include "ztunnel/base/spiffe_id.h"

#include <algorithm>

namespace weft {
namespace {

constexpr std::string_view kScheme = "spiffe://";
constexpr size_t kUriBytesMax = 2048;  // SPIFFE-ID specification, section 2.3

bool is_segment(std::string_view text) {
  if (text == "." || text == "..") return false;  // SPIFFE-ID specification, section 2.2
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

}  // namespace

Result<SpiffeId> SpiffeId::parse(std::string_view uri) {
  const auto wrong = [&] {
    return fail(Code::kInvalid,
                "expected spiffe://<trust domain>/ns/<namespace>/sa/<service account>, got \"" +
                    std::string(uri.substr(0, kUriBytesMax)) + "\"");
  };
  if (uri.size() > kUriBytesMax || !uri.starts_with(kScheme)) return wrong();
  std::string_view rest = uri.substr(kScheme.size());
  std::string_view parts[5];
  for (size_t i = 0; i < 5; ++i) {
    const size_t slash = rest.find('/');
    if ((slash == std::string_view::npos) != (i == 4)) return wrong();
    parts[i] = rest.substr(0, slash);
    if (!is_segment(parts[i])) return wrong();
    if (i < 4) rest.remove_prefix(slash + 1);
  }
  if (parts[1] != "ns" || parts[3] != "sa") return wrong();
  return SpiffeId{std::string(parts[0]), std::string(parts[2]), std::string(parts[4])};
}

std::string SpiffeId::to_string() const { return std::string(kScheme) + principal(); }

std::string SpiffeId::principal() const {
  return trust_domain + "/ns/" + ns + "/sa/" + service_account;
}

}  // namespace weft
