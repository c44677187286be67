#include "ztunnel/base/log.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <ctime>
#include <mutex>

namespace weft::log {
namespace {

std::atomic<Level> current_level{Level::kInfo};
std::mutex sink_mutex;
std::function<void(std::string_view)> sink;

bool is_plain(std::string_view value) {
  if (value.empty()) return false;
  for (const char c : value) {
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7f) return false;
  }
  return true;
}

// Control characters never go out as they are: a newline would begin a line of the peer's making.
void append_visible(std::string& out, char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte >= 0x20 && byte != 0x7f) {
    out += c;
    return;
  }
  char escaped[8];
  std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
  out += escaped;
}

void append_quoted(std::string& out, std::string_view value) {
  out += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    append_visible(out, c);
  }
  out += '"';
}

std::string timestamp() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  gmtime_r(&now.tv_sec, &parts);
  char text[40];
  const size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + length, sizeof text - length, ".%06ldZ", now.tv_nsec / 1000);
  return text;
}

}  // namespace

Line& Line::field(std::string_view key, std::string_view value) {
  fields_ += ' ';
  fields_ += key;
  fields_ += '=';
  append_quoted(fields_, value);
  return *this;
}

Line& Line::field(std::string_view key, int64_t value) { return bare(key, std::to_string(value)); }

Line& Line::bare(std::string_view key, std::string_view value) {
  if (!is_plain(value)) return field(key, value);
  fields_ += ' ';
  fields_ += key;
  fields_ += '=';
  fields_ += value;
  return *this;
}

void Line::say(std::string_view message) {
  if (!enabled(level_)) return;
  std::string line = timestamp();
  line += '\t';
  line += to_string(level_);
  line += '\t';
  line += target_;
  line += '\t';
  for (const char c : message) append_visible(line, c);
  line += fields_;
  line += '\n';
  const std::scoped_lock lock(sink_mutex);
  if (sink) {
    sink(line);
    return;
  }
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

void set_level(Level level) { current_level = level; }

Level level() { return current_level; }

std::string_view to_string(Level level) {
  switch (level) {
    case Level::kError:
      return "error";
    case Level::kWarn:
      return "warn";
    case Level::kInfo:
      return "info";
    case Level::kDebug:
      return "debug";
  }
  return "error";
}

std::optional<Level> parse_level(std::string_view name) {
  for (const Level level : {Level::kError, Level::kWarn, Level::kInfo, Level::kDebug}) {
    if (to_string(level) == name) return level;
  }
  return std::nullopt;
}
bool enabled(Level level) { return level <= current_level; }
void set_sink(std::function<void(std::string_view)> new_sink) {
  const std::scoped_lock lock(sink_mutex);
  sink = std::move(new_sink);
}

}  // namespace weft::log
