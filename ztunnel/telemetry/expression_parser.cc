#include "ztunnel/telemetry/expression_node.h"

#include <cctype>
#include <charconv>
#include <unordered_map>

namespace weft::telemetry {
namespace {

using Node = Expression::Node;
using NodePtr = std::shared_ptr<const Node>;
using Op = Node::Op;

bool is_name_start(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool is_name_part(char c) {
  return is_name_start(c) || std::isdigit(static_cast<unsigned char>(c)) != 0;
}

NodePtr make(Op op, std::vector<NodePtr> of) {
  auto node = std::make_shared<Node>();
  node->op = op;
  node->of = std::move(of);
  return node;
}
NodePtr literal(Value value) {
  auto node = std::make_shared<Node>();
  node->literal = std::move(value);
  return node;
}

struct Binary {
  std::string_view sign;
  Op op;
};
using Level = std::vector<Binary>;
// From the loosest; where a sign begins another's, the longer one stands first.
const std::vector<Level>& levels() {
  static const std::vector<Level> kLevels{
      {{"||", Op::kOr}},
      {{"&&", Op::kAnd}},
      {{"==", Op::kEqual},
       {"!=", Op::kNotEqual},
       {"<=", Op::kLessEqual},
       {">=", Op::kGreaterEqual},
       {"<", Op::kLess},
       {">", Op::kGreater},
       {"in", Op::kIn}},
      {{"+", Op::kAdd}, {"-", Op::kSubtract}},
      {{"*", Op::kMultiply}, {"/", Op::kDivide}, {"%", Op::kRemainder}}};
  return kLevels;
}

struct Function {
  Op op;
  size_t arguments;  // its object, if any, among them
};
const std::unordered_map<std::string_view, Function>& methods() {
  static const std::unordered_map<std::string_view, Function> kAll{
      {"startsWith", {Op::kStartsWith, 2}},
      {"endsWith", {Op::kEndsWith, 2}},
      {"contains", {Op::kContains, 2}},
      {"matches", {Op::kMatches, 2}},
      {"size", {Op::kSize, 1}}};
  return kAll;
}
const std::unordered_map<std::string_view, Function>& functions() {
  static const std::unordered_map<std::string_view, Function> kAll{{"has", {Op::kHas, 1}},
                                                                   {"size", {Op::kSize, 1}},
                                                                   {"string", {Op::kString, 1}},
                                                                   {"int", {Op::kInt, 1}},
                                                                   {"matches", {Op::kMatches, 2}}};
  return kAll;
}

}  // namespace

class ExpressionParser {
 public:
  explicit ExpressionParser(std::string_view text) : text_(text) {}

  Result<NodePtr> whole() {
    auto node = TRY(ternary());
    skip_space();
    if (at_ < text_.size()) return wrong("expected its end");
    return node;
  }

 private:
  // Deeper texts are refused before they can exhaust the stack.
  struct Deeper {
    explicit Deeper(size_t& depth) : of(depth) { ++of; }
    ~Deeper() { --of; }
    size_t& of;
  };

  Fail wrong(const std::string& what) const {
    return fail(Code::kInvalid, "character " + std::to_string(at_ + 1) + ": " + what);
  }
  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }
  std::string_view rest() const { return text_.substr(at_); }
  bool take(std::string_view sign) {
    skip_space();
    if (!rest().starts_with(sign)) return false;
    const size_t end = at_ + sign.size();
    if (is_name_start(sign.front()) && end < text_.size() && is_name_part(text_[end])) return false;
    at_ = end;
    return true;
  }
  Result<void> expect(std::string_view sign) {
    if (take(sign)) return {};
    return wrong("expected \"" + std::string(sign) + "\"");
  }
  std::string_view take_name() {
    skip_space();
    const size_t begin = at_;
    if (at_ < text_.size() && is_name_start(text_[at_])) {
      while (at_ < text_.size() && is_name_part(text_[at_])) ++at_;
    }
    return text_.substr(begin, at_ - begin);
  }

  Result<NodePtr> ternary() {
    const Deeper deeper(depth_);
    if (depth_ > Expression::kDepthMax) return wrong("too deep");
    auto condition = TRY(binary(0));
    if (!take("?")) return condition;
    auto yes = TRY(ternary());
    TRY(expect(":"));
    auto no = TRY(ternary());
    return make(Op::kIf, {std::move(condition), std::move(yes), std::move(no)});
  }

  Result<NodePtr> binary(size_t level) {
    if (level == levels().size()) return unary();
    auto left = TRY(binary(level + 1));
    while (const Binary* found = sign_of(level)) {
      auto right = TRY(binary(level + 1));
      left = make(found->op, {std::move(left), std::move(right)});
    }
    return left;
  }
  const Binary* sign_of(size_t level) {
    for (const Binary& one : levels()[level]) {
      if (take(one.sign)) return &one;
    }
    return nullptr;
  }

  Result<NodePtr> unary() {
    const Deeper deeper(depth_);
    if (depth_ > Expression::kDepthMax) return wrong("too deep");
    if (take("!")) {
      auto of = TRY(unary());
      return make(Op::kNot, {std::move(of)});
    }
    if (take("-")) {
      auto of = TRY(unary());
      return make(Op::kNegate, {std::move(of)});
    }
    auto node = TRY(primary());
    while (true) {
      if (take("[")) {
        node = TRY(index(node));
      } else if (take(".")) {
        node = TRY(member(node));
      } else {
        return node;
      }
    }
  }

  Result<NodePtr> index(const NodePtr& of) {
    auto key = TRY(ternary());
    TRY(expect("]"));
    const auto* name = std::get_if<std::string>(&key->literal);
    if (of->op != Op::kAttribute || name == nullptr) {
      return wrong("expected headers, and a name in quotes");
    }
    if (of->attribute == Attribute::kNothing) return of;
    if (!is_map(of->attribute)) return wrong("expected headers before \"[\"");
    return entry(of->attribute, *name);
  }
  static NodePtr entry(Attribute map, std::string name) {
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    auto node = std::make_shared<Node>();
    node->op = Op::kEntry;
    node->attribute = map;
    node->name = std::move(name);
    return node;
  }

  Result<NodePtr> member(const NodePtr& of) {
    const std::string_view name = take_name();
    if (name.empty()) return wrong("expected a name behind \".\"");
    if (take("(")) {
      const auto found = methods().find(name);
      if (found == methods().end()) {
        return wrong("there is no function \"" + std::string(name) + "\"");
      }
      std::vector<NodePtr> arguments{of};
      return call(found->second, std::move(arguments));
    }
    if (of->op == Op::kAttribute && of->attribute == Attribute::kNothing) return of;
    if (of->op == Op::kAttribute && is_map(of->attribute)) {
      return entry(of->attribute, std::string(name));
    }
    return wrong("there is no \"" + std::string(name) + "\" of that");
  }

  Result<NodePtr> call(const Function& function, std::vector<NodePtr> arguments) {
    while (!take(")")) {
      if (arguments.size() >= function.arguments) return wrong("too many arguments");
      arguments.push_back(TRY(ternary()));
      if (!take(",")) {
        TRY(expect(")"));
        break;
      }
    }
    if (arguments.size() != function.arguments) return wrong("too few arguments");
    if (function.op != Op::kMatches) return make(function.op, std::move(arguments));
    const auto* pattern = std::get_if<std::string>(&arguments.back()->literal);
    if (pattern == nullptr) return wrong("expected a pattern in quotes");
    auto node = std::make_shared<Node>();
    node->op = Op::kMatches;
    auto compiled = std::make_shared<const re2::RE2>(*pattern, re2::RE2::Quiet);
    if (!compiled->ok()) return wrong("the pattern: " + compiled->error());
    node->pattern = std::move(compiled);
    node->of.push_back(std::move(arguments.front()));
    return NodePtr(std::move(node));
  }

  Result<NodePtr> primary() {
    skip_space();
    if (take("(")) {
      auto node = TRY(ternary());
      TRY(expect(")"));
      return node;
    }
    if (take("[")) return list();
    if (at_ >= text_.size()) return wrong("expected a value");
    const char c = text_[at_];
    if (c == '"' || c == '\'') return string();
    if (std::isdigit(static_cast<unsigned char>(c)) != 0) return number();
    return named();
  }

  Result<NodePtr> list() {
    std::vector<NodePtr> items;
    while (!take("]")) {
      items.push_back(TRY(ternary()));
      if (!take(",")) {
        TRY(expect("]"));
        break;
      }
    }
    return make(Op::kList, std::move(items));
  }

  Result<NodePtr> string() {
    const char quote = text_[at_++];
    std::string value;
    while (at_ < text_.size() && text_[at_] != quote) {
      char c = text_[at_++];
      if (c == '\\' && at_ < text_.size()) {
        c = text_[at_++];
        if (c == 'n') c = '\n';
        if (c == 't') c = '\t';
      }
      value += c;
    }
    if (at_ >= text_.size()) return wrong("expected the text's closing quote");
    ++at_;
    return literal(std::move(value));
  }

  Result<NodePtr> number() {
    const char* begin = text_.data() + at_;
    const char* end = text_.data() + text_.size();
    int64_t whole = 0;
    const auto as_whole = std::from_chars(begin, end, whole);
    double broken = 0;
    const auto as_broken = std::from_chars(begin, end, broken);
    const bool is_whole = as_whole.ec == std::errc() && as_whole.ptr == as_broken.ptr;
    if (!is_whole && as_broken.ec != std::errc()) return wrong("the number is out of range");
    at_ += static_cast<size_t>((is_whole ? as_whole.ptr : as_broken.ptr) - begin);
    return literal(is_whole ? Value(whole) : Value(broken));
  }

  Result<NodePtr> named() {
    std::string name(take_name());
    if (name.empty()) return wrong("expected a value");
    if (name == "true" || name == "false") return literal(name == "true");
    if (name == "null") return literal({});
    if (take("(")) {
      const auto found = functions().find(name);
      if (found == functions().end()) return wrong("there is no function \"" + name + "\"");
      return call(found->second, {});
    }
    while (!attribute_named(name) && is_attribute_prefix(name)) {
      TRY(expect("."));
      name += "." + std::string(take_name());
    }
    const auto attribute = attribute_named(name);
    if (!attribute) return wrong("there is no attribute \"" + name + "\"");
    auto node = std::make_shared<Node>();
    node->op = Op::kAttribute;
    node->attribute = *attribute;
    return NodePtr(std::move(node));
  }

  std::string_view text_;
  size_t at_ = 0;
  size_t depth_ = 0;
};

Result<Expression> Expression::parse(std::string_view text) {
  if (text.size() > kTextBytesMax) return fail(Code::kLimit, "the expression is too long");
  Expression made;
  made.root_ = TRY(ExpressionParser(text).whole());
  return made;
}

}  // namespace weft::telemetry
