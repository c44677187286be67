#include "agent/objects/rules.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace weft::objects {

namespace {

constexpr int64_t kPortMax = 65535;
constexpr std::chrono::milliseconds kDurationMin{1};  // as Istio's schemas have it

struct Unit {
  std::string_view name;
  double nanoseconds;
};
// Longer names first: "ms" is no "m".
constexpr std::array<Unit, 8> kUnits = {{{"ns", 1},
                                         {"us", 1e3},
                                         {"\xc2\xb5s", 1e3},
                                         {"\xce\xbcs", 1e3},
                                         {"ms", 1e6},
                                         {"s", 1e9},
                                         {"m", 60e9},
                                         {"h", 3600e9}}};

// Takes "1", "1.5", ".5" or "1." from the front.
std::optional<double> take_number(std::string_view& text) {
  double number = 0;
  double place = 1;
  bool digits = false;
  bool point = false;
  while (!text.empty()) {
    const char c = text.front();
    if (c == '.' && !point) {
      point = true;
    } else if (c >= '0' && c <= '9') {
      digits = true;
      number = number * 10 + (c - '0');
      if (point) place *= 10;
    } else {
      break;
    }
    text.remove_prefix(1);
  }
  if (!digits) return std::nullopt;
  return number / place;
}

std::optional<double> take_unit(std::string_view& text) {
  for (const Unit& unit : kUnits) {
    if (!text.starts_with(unit.name)) continue;
    text.remove_prefix(unit.name.size());
    return unit.nanoseconds;
  }
  return std::nullopt;
}

// Characters, not bytes, as OpenAPI counts.
size_t length_of(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string number_text(double number) {
  const auto whole = static_cast<int64_t>(number);
  return static_cast<double>(whole) == number ? std::to_string(whole) : std::to_string(number);
}

void check_text(const crd::FieldRules& rules, std::string_view text, Report& report) {
  if (rules.max_length() > 0 && length_of(text) > rules.max_length()) {
    report.add("expected at most " + std::to_string(rules.max_length()) + " characters, got " +
               std::to_string(length_of(text)));
  }
  if (!rules.duration()) return;
  const auto duration = parse_duration(text);
  if (duration && *duration >= kDurationMin) return;
  report.add("expected a duration of at least 1ms, such as 1.5s or 3m, got " +
             write_json(Tree::of(std::string(text.substr(0, 60)))));
}

void check_number(const crd::FieldRules& rules, double number, Report& report) {
  if (rules.port()) {
    if (number >= 1 && number <= kPortMax) return;
    report.add("expected a port from 1 to 65535, got " + number_text(number));
    return;
  }
  if (rules.has_minimum() && number < rules.minimum()) {
    report.add("expected at least " + number_text(rules.minimum()) + ", got " +
               number_text(number));
  }
  if (rules.has_maximum() && number > rules.maximum()) {
    report.add("expected at most " + number_text(rules.maximum()) + ", got " + number_text(number));
  }
}

}  // namespace

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  bool negative = false;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  if (text == "0") return std::chrono::nanoseconds(0);
  if (text.empty()) return std::nullopt;
  double sum = 0;
  while (!text.empty()) {
    const auto number = take_number(text);
    const auto unit = number ? take_unit(text) : std::nullopt;
    if (!unit) return std::nullopt;
    sum += *number * *unit;
  }
  constexpr double kMax = 9.2e18;  // int64_t, a little below its end
  if (!std::isfinite(sum) || sum > kMax) return std::nullopt;
  return std::chrono::nanoseconds(static_cast<int64_t>(negative ? -sum : sum));
}

void check_value(const crd::FieldRules& rules, const Tree& value, Report& report) {
  switch (value.kind) {
    case Tree::Kind::kString:
      return check_text(rules, value.text, report);
    case Tree::Kind::kInteger:
      return check_number(rules, static_cast<double>(value.integer), report);
    case Tree::Kind::kNumber:
      return check_number(rules, value.number, report);
    default:
      return;
  }
}

void check_count(const crd::FieldRules& rules, size_t count, Report& report) {
  if (rules.max_items() == 0 || count <= rules.max_items()) return;
  report.add("expected at most " + std::to_string(rules.max_items()) + " values, got " +
             std::to_string(count));
}

}  // namespace weft::objects
