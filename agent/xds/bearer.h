#pragma once

#include "agent/identity/token.h"

#include <grpcpp/support/status.h>
#include <grpcpp/support/string_ref.h>

#include <map>
#include <string>

namespace weft::xds {

// The token of the one "authorization: Bearer <token>" in a call's metadata. kRefused with the
// reason.
Result<std::string> bearer_of(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata);

// How a caller hears that it was not authenticated: UNAUTHENTICATED, or UNAVAILABLE where it may
// try again with the same token.
grpc::Status refusal_of(const Error& error);

}  // namespace weft::xds
