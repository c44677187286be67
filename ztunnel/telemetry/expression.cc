#include "ztunnel/telemetry/expression.h"

#include "ztunnel/telemetry/expression_node.h"

#include <charconv>
#include <cmath>
#include <limits>

namespace weft::telemetry {
namespace {

using Node = Expression::Node;
using Op = Node::Op;

Value evaluate(const Node& node, const RequestFacts& facts);

bool is_nothing(const Value& value) { return std::holds_alternative<std::monostate>(value); }

std::optional<double> number(const Value& value) {
  if (const auto* whole = std::get_if<int64_t>(&value)) return static_cast<double>(*whole);
  if (const auto* broken = std::get_if<double>(&value)) return *broken;
  return std::nullopt;
}

// Nothing where they cannot be compared; < 0, 0 or > 0 otherwise.
std::optional<int> compare(const Value& a, const Value& b) {
  const auto order = [](const auto& x, const auto& y) { return x < y ? -1 : x > y ? 1 : 0; };
  const auto* whole_a = std::get_if<int64_t>(&a);
  const auto* whole_b = std::get_if<int64_t>(&b);
  if (whole_a != nullptr && whole_b != nullptr) return order(*whole_a, *whole_b);
  const auto number_a = number(a);
  const auto number_b = number(b);
  if (number_a && number_b) return order(*number_a, *number_b);
  if (a.index() != b.index()) return std::nullopt;
  if (const auto* text = std::get_if<std::string>(&a))
    return order(*text, std::get<std::string>(b));
  if (const auto* flag = std::get_if<bool>(&a)) return order(*flag, std::get<bool>(b));
  return std::nullopt;
}

Value equals(const Value& a, const Value& b) {
  if (is_nothing(a) || is_nothing(b)) return {};
  const auto order = compare(a, b);
  return order ? Value(*order == 0) : Value();
}

bool is_null(const Node& node) { return node.op == Op::kLiteral && is_nothing(node.literal); }

Value equality(const Node& node, const RequestFacts& facts) {
  const Value a = evaluate(*node.of[0], facts);
  const Value b = evaluate(*node.of[1], facts);
  if (is_null(*node.of[0]) || is_null(*node.of[1])) return is_nothing(a) && is_nothing(b);
  return equals(a, b);
}

Value both(const Node& node, const RequestFacts& facts, bool deciding) {
  const Value a = evaluate(*node.of[0], facts);
  if (const auto* flag = std::get_if<bool>(&a); flag != nullptr && *flag == deciding) return a;
  const Value b = evaluate(*node.of[1], facts);
  if (const auto* flag = std::get_if<bool>(&b); flag != nullptr && *flag == deciding) return b;
  const bool known = std::holds_alternative<bool>(a) && std::holds_alternative<bool>(b);
  return known ? Value(!deciding) : Value();
}

Value ordered(const Node& node, const RequestFacts& facts) {
  const auto order = compare(evaluate(*node.of[0], facts), evaluate(*node.of[1], facts));
  if (!order) return {};
  switch (node.op) {
    case Op::kLess:
      return *order < 0;
    case Op::kLessEqual:
      return *order <= 0;
    case Op::kGreater:
      return *order > 0;
    default:
      return *order >= 0;
  }
}

// Nothing where it does not fit: CEL has no wrapping numbers.
Value whole_arithmetic(Op op, int64_t a, int64_t b) {
  int64_t result = 0;
  const bool divides = op == Op::kDivide || op == Op::kRemainder;
  if (divides) {
    if (b == 0 || (a == std::numeric_limits<int64_t>::min() && b == -1)) return {};
    return op == Op::kDivide ? a / b : a % b;
  }
  const bool overflows = op == Op::kAdd        ? __builtin_add_overflow(a, b, &result)
                         : op == Op::kSubtract ? __builtin_sub_overflow(a, b, &result)
                                               : __builtin_mul_overflow(a, b, &result);
  return overflows ? Value() : Value(result);
}

Value arithmetic(const Node& node, const RequestFacts& facts) {
  Value a = evaluate(*node.of[0], facts);
  const Value b = evaluate(*node.of[1], facts);
  if (auto* text = std::get_if<std::string>(&a)) {
    const auto* other = std::get_if<std::string>(&b);
    if (node.op != Op::kAdd || other == nullptr) return {};
    return *text + *other;
  }
  const auto* whole_a = std::get_if<int64_t>(&a);
  const auto* whole_b = std::get_if<int64_t>(&b);
  if (whole_a != nullptr && whole_b != nullptr)
    return whole_arithmetic(node.op, *whole_a, *whole_b);
  const auto x = number(a);
  const auto y = number(b);
  if (!x || !y) return {};
  switch (node.op) {
    case Op::kAdd:
      return *x + *y;
    case Op::kSubtract:
      return *x - *y;
    case Op::kMultiply:
      return *x * *y;
    case Op::kDivide:
      return *x / *y;
    default:
      return {};
  }
}

Value is_in(const Node& node, const RequestFacts& facts) {
  const Value what = evaluate(*node.of[0], facts);
  const Node& where = *node.of[1];
  if (where.op == Op::kAttribute && is_map(where.attribute)) {
    const auto* name = std::get_if<std::string>(&what);
    return name == nullptr ? Value() : !is_nothing(entry_of(where.attribute, *name, facts));
  }
  if (where.op != Op::kList) return {};
  for (const auto& item : where.of) {
    const Value same = equals(what, evaluate(*item, facts));
    if (const auto* flag = std::get_if<bool>(&same); flag != nullptr && *flag) return true;
  }
  return is_nothing(what) ? Value() : Value(false);
}

Value of_text(const Node& node, const RequestFacts& facts) {
  const Value value = evaluate(*node.of[0], facts);
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return {};
  if (node.op == Op::kMatches) return re2::RE2::PartialMatch(*text, *node.pattern);
  if (node.op == Op::kSize) return static_cast<int64_t>(text->size());
  const Value other = evaluate(*node.of[1], facts);
  const auto* part = std::get_if<std::string>(&other);
  if (part == nullptr) return {};
  switch (node.op) {
    case Op::kStartsWith:
      return text->starts_with(*part);
    case Op::kEndsWith:
      return text->ends_with(*part);
    default:
      return text->find(*part) != std::string::npos;
  }
}

Value as_int(const Value& value) {
  if (std::holds_alternative<int64_t>(value)) return value;
  if (const auto* broken = std::get_if<double>(&value)) {
    constexpr double kLimit = 9.2e18;
    return std::abs(*broken) < kLimit ? Value(static_cast<int64_t>(*broken)) : Value();
  }
  const auto* text = std::get_if<std::string>(&value);
  int64_t whole = 0;
  if (text == nullptr || text->empty()) return {};
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), whole);
  return parsed.ec == std::errc() && parsed.ptr == text->data() + text->size() ? Value(whole)
                                                                               : Value();
}

Value negated(const Value& value) {
  if (const auto* whole = std::get_if<int64_t>(&value))
    return whole_arithmetic(Op::kSubtract, 0, *whole);
  if (const auto* broken = std::get_if<double>(&value)) return -*broken;
  return {};
}

Value evaluate(const Node& node, const RequestFacts& facts) {
  switch (node.op) {
    case Op::kLiteral:
      return node.literal;
    case Op::kAttribute:
      return value_of(node.attribute, facts);
    case Op::kEntry:
      return entry_of(node.attribute, node.name, facts);
    case Op::kList:
      return {};
    case Op::kNot: {
      const Value value = evaluate(*node.of[0], facts);
      const auto* flag = std::get_if<bool>(&value);
      return flag == nullptr ? Value() : Value(!*flag);
    }
    case Op::kNegate:
      return negated(evaluate(*node.of[0], facts));
    case Op::kOr:
      return both(node, facts, true);
    case Op::kAnd:
      return both(node, facts, false);
    case Op::kEqual:
      return equality(node, facts);
    case Op::kNotEqual: {
      const Value same = equality(node, facts);
      const auto* flag = std::get_if<bool>(&same);
      return flag == nullptr ? Value() : Value(!*flag);
    }
    case Op::kLess:
    case Op::kLessEqual:
    case Op::kGreater:
    case Op::kGreaterEqual:
      return ordered(node, facts);
    case Op::kIn:
      return is_in(node, facts);
    case Op::kAdd:
    case Op::kSubtract:
    case Op::kMultiply:
    case Op::kDivide:
    case Op::kRemainder:
      return arithmetic(node, facts);
    case Op::kIf: {
      const Value condition = evaluate(*node.of[0], facts);
      const auto* flag = std::get_if<bool>(&condition);
      return flag == nullptr ? Value() : evaluate(*node.of[*flag ? 1 : 2], facts);
    }
    case Op::kHas:
      return !is_nothing(evaluate(*node.of[0], facts));
    case Op::kString: {
      const Value value = evaluate(*node.of[0], facts);
      return is_nothing(value) ? Value() : Value(text_of(value));
    }
    case Op::kInt:
      return as_int(evaluate(*node.of[0], facts));
    case Op::kSize:
    case Op::kStartsWith:
    case Op::kEndsWith:
    case Op::kContains:
    case Op::kMatches:
      return of_text(node, facts);
  }
  return {};
}

}  // namespace

std::string text_of(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* whole = std::get_if<int64_t>(&value)) return std::to_string(*whole);
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* broken = std::get_if<double>(&value)) {
    std::string text(32, '\0');
    text.resize(static_cast<size_t>(
        std::to_chars(text.data(), text.data() + text.size(), *broken).ptr - text.data()));
    return text;
  }
  return "unknown";
}

Value Expression::value(const RequestFacts& facts) const { return evaluate(*root_, facts); }

bool Expression::holds(const RequestFacts& facts) const {
  const Value value = evaluate(*root_, facts);
  const auto* flag = std::get_if<bool>(&value);
  return flag != nullptr && *flag;
}

}  // namespace weft::telemetry
