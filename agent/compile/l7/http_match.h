#pragma once

#include "proto/crd/virtual_service.pb.h"
#include "proto/route.pb.h"

#include <optional>

namespace weft::l7 {

// A rule's condition on requests to this port of a service behind a waypoint. Nothing where no
// request there can fulfil it: another port, not for the mesh, or only for certain clients, which a
// waypoint does not tell apart.
std::optional<weft::route::HttpMatch> compile_match(const crd::networking::HttpMatch& match,
                                                    uint32_t port);

// Whether every request fulfils it: Istio leaves out the rules that follow.
bool is_catch_all(const weft::route::HttpMatch& match);

// Whether rules with these gateways are for the mesh; none: they are.
template <class Texts>
bool is_for_mesh(const Texts& gateways) {
  for (const auto& gateway : gateways) {
    if (gateway == "mesh") return true;
  }
  return gateways.empty();
}

}  // namespace weft::l7
