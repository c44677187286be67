#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace weft::log {

enum class Level { kError, kWarn, kInfo, kDebug };

// A log line in the making: log::Line(Level::kInfo, "xds").field("node", name).say("connected").
// Written as "<RFC 3339 time>\t<level>\t<target>\t<message> key=value key=\"value\"", one write(2)
// a line, to standard error unless a sink is set. Values that are not plain words are quoted and
// escaped, so that a peer cannot forge a line. May be used from any thread.
class Line {
 public:
  Line(Level level, std::string_view target) : level_(level), target_(target) {}
  Line& field(std::string_view key, std::string_view value);  // always quoted
  Line& field(std::string_view key, int64_t value);
  Line& bare(std::string_view key, std::string_view value);  // quoted only where it must be
  void say(std::string_view message);  // once, at the end; control characters are escaped

 private:
  Level level_;
  std::string_view target_;
  std::string fields_;
};

inline Line error(std::string_view target) { return {Level::kError, target}; }
inline Line warn(std::string_view target) { return {Level::kWarn, target}; }
inline Line info(std::string_view target) { return {Level::kInfo, target}; }
inline Line debug(std::string_view target) { return {Level::kDebug, target}; }

void set_level(Level level);
Level level();
bool enabled(Level level);
// "error", "warn", "info", "debug", and back.
std::string_view to_string(Level level);
std::optional<Level> parse_level(std::string_view name);
// Where whole lines go (tests). Null: standard error.
void set_sink(std::function<void(std::string_view line)> sink);

}  // namespace weft::log
