#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/telemetry/request.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace weft::telemetry {

// What an expression gives; monostate: nothing, as what it asks for is not there or does not fit.
using Value = std::variant<std::monostate, bool, int64_t, double, std::string>;

// As a metric's tag or a log says it; "unknown" for nothing.
std::string text_of(const Value& value);

// The part of CEL that Istio's documents use in access log filters and metric tags: literals,
// request.*, response.*, connection.*, source.*, destination.*, upstream.* and xds.* attributes,
// comparisons, ! && ||, arithmetic, "in", a ? b : c, has(), size(), string(), int(), startsWith,
// endsWith, contains and matches. Read once; immutable. Asking takes time linear in its size.
//
// As CEL has it, || and && have a value as soon as one side decides, even where the other has none.
// Beyond CEL, what is not there equals null.
class Expression {
 public:
  static constexpr size_t kTextBytesMax = 4 * 1024;
  static constexpr size_t kDepthMax = 50;

  // kInvalid says where, and what was expected.
  static Result<Expression> parse(std::string_view text);

  Value value(const RequestFacts& facts) const;
  // Whether it is true, and not something else.
  bool holds(const RequestFacts& facts) const;

  struct Node;

 private:
  friend class ExpressionParser;
  std::shared_ptr<const Node> root_;
};

}  // namespace weft::telemetry
