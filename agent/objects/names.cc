#include "agent/objects/names.h"

#include <charconv>
#include <chrono>
#include <ctime>

namespace weft::objects {

namespace {

bool is_lower(char character) { return character >= 'a' && character <= 'z'; }
bool is_digit(char character) { return character >= '0' && character <= '9'; }
bool is_upper(char character) { return character >= 'A' && character <= 'Z'; }
bool is_lower_or_digit(char character) { return is_lower(character) || is_digit(character); }
bool is_alphanumeric(char character) { return is_lower_or_digit(character) || is_upper(character); }

// Not empty, ends alphanumeric, and has only what `inner` allows between.
bool has_shape(std::string_view text, bool (*outer)(char), std::string_view inner) {
  if (text.empty() || !outer(text.front()) || !outer(text.back())) return false;
  for (const char character : text) {
    if (!outer(character) && !inner.contains(character)) return false;
  }
  return true;
}

std::string quoted(std::string_view text) {
  constexpr size_t kShownMax = 80;
  std::string shown;
  for (const char character : text.substr(0, kShownMax)) {
    shown += static_cast<unsigned char>(character) < 0x20 ? '?' : character;
  }
  return "\"" + shown + (text.size() > kShownMax ? "..." : "") + "\"";
}

std::string expected(std::string_view what, std::string_view got) {
  return "expected " + std::string(what) + ", got " + quoted(got);
}

bool is_label(std::string_view name) {
  return name.size() <= 63 && has_shape(name, is_lower_or_digit, "-");
}

bool is_subdomain(std::string_view name) {
  if (name.size() > 253 || name.empty()) return false;
  while (true) {
    const size_t dot = name.find('.');
    if (!has_shape(name.substr(0, dot), is_lower_or_digit, "-")) return false;
    if (dot == std::string_view::npos) return true;
    name.remove_prefix(dot + 1);
  }
}

}  // namespace

std::string wrong_with_label_name(std::string_view name) {
  if (is_label(name)) return {};
  return expected("at most 63 lower case letters, digits and '-', a letter or digit at both ends",
                  name);
}

std::string wrong_with_dns_label(std::string_view name) {
  if (is_label(name) && is_lower(name.front())) return {};
  return expected("at most 63 lower case letters, digits and '-', beginning with a letter", name);
}

std::string wrong_with_subdomain(std::string_view name) {
  if (is_subdomain(name)) return {};
  return expected(
      "at most 253 lower case letters, digits, '-' and '.', a letter or digit at both ends", name);
}

std::string wrong_with_port_name(std::string_view name) {
  bool has_letter = false;
  for (const char character : name) has_letter |= is_lower(character);
  if (name.size() <= 15 && has_letter && has_shape(name, is_lower_or_digit, "-") &&
      !name.contains("--")) {
    return {};
  }
  return expected("at most 15 lower case letters, digits and '-', with a letter", name);
}

std::string wrong_with_label_key(std::string_view key) {
  const size_t slash = key.find('/');
  const std::string_view name = slash == std::string_view::npos ? key : key.substr(slash + 1);
  const bool prefix_fits = slash == std::string_view::npos || is_subdomain(key.substr(0, slash));
  if (prefix_fits && name.size() <= 63 && has_shape(name, is_alphanumeric, "-_.")) return {};
  return expected("a label's name, with or without \"prefix/\"", key);
}

std::string wrong_with_label_value(std::string_view value) {
  if (value.empty() || (value.size() <= 63 && has_shape(value, is_alphanumeric, "-_."))) return {};
  return expected("at most 63 letters, digits, '-', '_' and '.', a letter or digit at both ends",
                  value);
}

void check_text(std::string_view value, std::string_view field,
                std::string (*wrong)(std::string_view), Report& report) {
  if (value.empty()) return;
  const std::string message = wrong(value);
  if (message.empty()) return;
  const auto here = report.at(field);
  report.add(message);
}

void check_labels(const google::protobuf::Map<std::string, std::string>& labels,
                  std::string_view field, Report& report) {
  const auto here = report.at(field);
  for (const auto& [key, value] : labels) {
    const auto entry = report.at_key(key);
    const std::string wrong_key = wrong_with_label_key(key);
    const std::string wrong_value = wrong_with_label_value(value);
    if (!wrong_key.empty()) report.add(wrong_key);
    if (!wrong_value.empty()) report.add(wrong_value);
  }
}

std::optional<uint16_t> parse_port(std::string_view text) {
  uint32_t port = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), port);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  if (port == 0 || port > 65535) return std::nullopt;
  return static_cast<uint16_t>(port);
}

namespace {

// Takes `digits` digits off the front of `text`, a number of at most `max`; -1 where they are not
// there.
int take_number(std::string_view& text, size_t digits, int max) {
  if (text.size() < digits) return -1;
  int value = 0;
  const auto end = std::from_chars(text.data(), text.data() + digits, value);
  if (end.ptr != text.data() + digits || value < 0 || value > max || !is_digit(text[0])) return -1;
  text.remove_prefix(digits);
  return value;
}

bool take(std::string_view& text, char character) {
  if (!text.starts_with(character)) return false;
  text.remove_prefix(1);
  return true;
}

// "Z", "+01:00": seconds east of UTC.
std::optional<int64_t> take_offset(std::string_view& text) {
  if (take(text, 'Z')) return 0;
  const bool east = text.starts_with('+');
  if (!take(text, '+') && !take(text, '-')) return std::nullopt;
  const int hours = take_number(text, 2, 23);
  const bool colon = take(text, ':');
  const int minutes = take_number(text, 2, 59);
  if (hours < 0 || !colon || minutes < 0) return std::nullopt;
  const int64_t seconds = hours * 3600 + minutes * 60;
  return east ? seconds : -seconds;
}

}  // namespace

std::optional<int64_t> parse_time(std::string_view text) {
  const int year = take_number(text, 4, 9999);
  const bool first = take(text, '-');
  const int month = take_number(text, 2, 12);
  const bool second = take(text, '-');
  const int day = take_number(text, 2, 31);
  if (year < 0 || !first || month < 1 || !second || day < 1) return std::nullopt;
  if (!take(text, 'T') && !take(text, 't')) return std::nullopt;
  const int hour = take_number(text, 2, 23);
  const bool third = take(text, ':');
  const int minute = take_number(text, 2, 59);
  const bool fourth = take(text, ':');
  const int seconds = take_number(text, 2, 60);
  if (hour < 0 || !third || minute < 0 || !fourth || seconds < 0) return std::nullopt;
  if (take(text, '.')) {
    const size_t fraction = std::min(text.find_first_not_of("0123456789"), text.size());
    if (fraction == 0) return std::nullopt;
    text.remove_prefix(fraction);
  }
  const auto offset = take_offset(text);
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                         std::chrono::day(day)};
  if (!offset || !text.empty() || !date.ok()) return std::nullopt;
  const auto days = std::chrono::sys_days(date).time_since_epoch().count();
  return int64_t{days} * 86400 + hour * 3600 + minute * 60 + seconds - *offset;
}

std::string format_time(std::chrono::system_clock::time_point time) {
  const time_t seconds = std::chrono::system_clock::to_time_t(time);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

}  // namespace weft::objects
