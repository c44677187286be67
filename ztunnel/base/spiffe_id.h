#pragma once

#include "ztunnel/base/result.h"

#include <functional>
#include <string>
#include <string_view>

namespace weft {

// A workload's identity: spiffe://<trust domain>/ns/<namespace>/sa/<service account>, exactly these
// five parts, none empty, as Istio's ztunnel accepts it.
struct SpiffeId {
  std::string trust_domain;
  std::string ns;
  std::string service_account;

  static Result<SpiffeId> parse(std::string_view uri);
  std::string to_string() const;  // with "spiffe://"
  std::string principal() const;  // without, as policies write it

  auto operator<=>(const SpiffeId&) const = default;
};

}  // namespace weft

template <>
struct std::hash<weft::SpiffeId> {
  size_t operator()(const weft::SpiffeId& id) const noexcept {
    const std::hash<std::string> hash;
    return (hash(id.trust_domain) * 31 + hash(id.ns)) * 31 + hash(id.service_account);
  }
};
