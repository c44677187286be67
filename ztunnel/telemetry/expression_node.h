#pragma once

#include "ztunnel/telemetry/expression.h"

#include <re2/re2.h>

#include <optional>

// An expression as it was read. Internal to the room.

namespace weft::telemetry {

enum class Attribute : uint8_t {
  kNothing,  // Envoy has it, we have no such thing
  kRequestPath,
  kRequestUrlPath,
  kRequestHost,
  kRequestScheme,
  kRequestMethod,
  kRequestReferer,
  kRequestUserAgent,
  kRequestId,
  kRequestProtocol,
  kRequestQuery,
  kRequestSize,
  kRequestDuration,
  kRequestHeaders,
  kResponseCode,
  kResponseDetails,
  kResponseFlags,
  kResponseGrpcStatus,
  kResponseSize,
  kResponseHeaders,
  kResponseTrailers,
  kConnectionMtls,
  kConnectionServerName,
  kConnectionPeerUri,
  kSourceAddress,
  kSourcePort,
  kDestinationAddress,
  kDestinationPort,
  kUpstreamAddress,
  kUpstreamFailure,
  kUpstreamTries,
  kRouteName,
  kClusterName,
};
// By its name, "request.path"; nullopt: there is none.
std::optional<Attribute> attribute_named(std::string_view name);
// Whether names that begin with this and a dot may be attributes.
bool is_attribute_prefix(std::string_view name);
inline bool is_map(Attribute attribute) {
  return attribute == Attribute::kRequestHeaders || attribute == Attribute::kResponseHeaders ||
         attribute == Attribute::kResponseTrailers;
}

Value value_of(Attribute attribute, const RequestFacts& facts);
// Of one of the maps; nothing where it has no such entry. `name` in lower case.
Value entry_of(Attribute map, std::string_view name, const RequestFacts& facts);

struct Expression::Node {
  enum class Op : uint8_t {
    kLiteral,
    kAttribute,
    kEntry,  // of a map, by `name`
    kList,
    kNot,
    kNegate,
    kOr,
    kAnd,
    kEqual,
    kNotEqual,
    kLess,
    kLessEqual,
    kGreater,
    kGreaterEqual,
    kIn,
    kAdd,
    kSubtract,
    kMultiply,
    kDivide,
    kRemainder,
    kIf,
    kHas,
    kSize,
    kString,
    kInt,
    kStartsWith,
    kEndsWith,
    kContains,
    kMatches,
  };
  Op op = Op::kLiteral;
  Value literal;
  Attribute attribute = Attribute::kNothing;
  std::string name;
  std::shared_ptr<const re2::RE2> pattern;  // kMatches
  std::vector<std::shared_ptr<const Node>> of;
};

}  // namespace weft::telemetry
