#include "agent/xds/bearer.h"

namespace weft::xds {

Result<std::string> bearer_of(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
  constexpr std::string_view kScheme = "Bearer ";
  const auto [begin, end] = metadata.equal_range("authorization");
  if (begin == end) return fail(Code::kRefused, "token: none in the metadata \"authorization\"");
  if (std::next(begin) != end) return fail(Code::kRefused, "token: more than one");
  const std::string_view value(begin->second.data(), begin->second.size());
  if (!value.starts_with(kScheme)) return fail(Code::kRefused, "token: expected a bearer token");
  return std::string(value.substr(kScheme.size()));
}

grpc::Status refusal_of(const Error& error) {
  return {error.code == Code::kUnavailable ? grpc::StatusCode::UNAVAILABLE
                                           : grpc::StatusCode::UNAUTHENTICATED,
          error.to_string()};
}

}  // namespace weft::xds
