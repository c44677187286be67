#pragma once

#include "agent/identity/token.h"

#include <grpcpp/support/string_ref.h>

#include <map>

namespace weft::xds {

// Who calls, by the one "authorization: Bearer <token>" in a call's metadata. kRefused with the
// reason.
Result<identity::Caller> caller_of(
    const std::multimap<grpc::string_ref, grpc::string_ref>& metadata,
    const identity::TokenVerifier& verifier);

}  // namespace weft::xds
