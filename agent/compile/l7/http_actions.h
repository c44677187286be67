#pragma once

#include "agent/compile/compiler.h"
#include "proto/crd/virtual_service.pb.h"
#include "proto/route.pb.h"

#include <cstdint>
#include <string>

// What a VirtualService's rule says to do with a request, field by field, with Istio's defaults.
namespace weft::l7 {

void fill_redirect(const crd::networking::HttpRedirect& redirect, uint32_t port,
                   weft::route::Redirect& out);
void fill_answer(const crd::networking::DirectResponse& answer, weft::route::DirectResponse& out);
void fill_rewrite(const crd::networking::HttpRewrite& rewrite, weft::route::Rewrite& out);
void fill_cors(const crd::networking::CorsPolicy& policy, weft::route::Cors& out);
void fill_fault(const crd::networking::HttpFault& fault, weft::route::Fault& out);

// The value of a host header among these, which is no header but a rewrite of :authority, is
// returned.
std::string fill_headers(const crd::networking::HeaderOperations& operations,
                         weft::route::HeaderChanges& out);

// Whether the header is the request's :authority.
bool is_authority(std::string name);

// What the rule says; else what the mesh does; else Istio's. False: none.
bool fill_retry(const crd::networking::HttpRoute& rule, const compile::MeshConfig& config,
                weft::route::Retry& out);
// For routes that no rule makes: a request that reached nobody may be sent again.
void fill_default_retry(weft::route::Retry& out);

uint32_t per_million(double percent);

}  // namespace weft::l7
