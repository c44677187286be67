#include "ztunnel/node/admin.h"

#include "ztunnel/node/config_dump.h"
#include "ztunnel/node/endpoints.h"

#include <array>

namespace weft::node {
namespace {

struct NamedLevel {
  std::string_view name;
  log::Level level;
};
constexpr std::array<NamedLevel, 4> kLevels{{{"error", log::Level::kError},
                                             {"warn", log::Level::kWarn},
                                             {"info", log::Level::kInfo},
                                             {"debug", log::Level::kDebug}}};

constexpr std::string_view kIndex =
    "GET  /              this\n"
    "GET  /status        whether it is ready, and its certificates\n"
    "GET  /config_dump   all that it knows of the mesh\n"
    "POST /logging       the log level; ?level=error|warn|info|debug sets it, ?reset resets it\n"
    "POST /quitquitquit  drain and end, as SIGTERM does\n";

http::Response json(std::string body) {
  return {.content_type = "application/json", .body = std::move(body)};
}

http::Response text(int status, std::string body) {
  return {.status = status, .body = std::move(body)};
}

NamedLevel present_level() {
  NamedLevel present = kLevels.front();
  for (const NamedLevel& one : kLevels) {
    if (log::enabled(one.level)) present = one;
  }
  return present;
}

struct Path {
  std::string_view path;
  std::string_view method;
};
constexpr std::array<Path, 5> kPaths{{{"/", "GET"},
                                      {"/status", "GET"},
                                      {"/config_dump", "GET"},
                                      {"/logging", "POST"},
                                      {"/quitquitquit", "POST"}}};

// What is wrong with the request before anything is done, if something is.
std::optional<http::Response> refusal(const http::Request& request) {
  for (const Path& known : kPaths) {
    if (request.path != known.path) continue;
    if (request.method == known.method) return std::nullopt;
    return text(405, std::string(known.path) + " expects " + std::string(known.method) + "\n");
  }
  return text(404, "there is no such path; there are:\n" + std::string(kIndex));
}

}  // namespace

std::optional<log::Level> parse_log_level(std::string_view name) {
  for (const NamedLevel& one : kLevels) {
    if (one.name == name) return one.level;
  }
  return std::nullopt;
}

Admin::Admin(const learn::Learner& learner, std::function<void()> quit)
    : learner_(learner), quit_(std::move(quit)), level_at_start_(present_level().level) {}

http::Response Admin::answer(const http::Request& request) const {
  if (auto refused = refusal(request)) return std::move(*refused);
  if (request.path == "/") return text(200, std::string(kIndex));
  if (request.path == "/status") return json(status_json(learner_.status()) + "\n");
  if (request.path == "/logging") return logging(request);
  if (request.path == "/config_dump") {
    return json(to_json({.state = learner_.state(),
                         .pods = learner_.pods(),
                         .certificates = learner_.status().certificates,
                         .credentials = learner_.credentials()}));
  }
  log::info("ztunnel").say("asked to end by /quitquitquit");
  quit_();
  return text(200, "shutdown now\n");
}

http::Response Admin::logging(const http::Request& request) const {
  constexpr std::string_view kLevel = "level=";
  const std::string_view query = request.query;
  if (query == "reset") {
    log::set_level(level_at_start_);
  } else if (query.starts_with(kLevel)) {
    const auto level = parse_log_level(query.substr(kLevel.size()));
    if (!level) return text(400, "level: expected error, warn, info or debug\n");
    log::set_level(*level);
  } else if (!query.empty()) {
    return text(400, "expected ?level=error|warn|info|debug, ?reset or nothing\n");
  }
  return text(200, "current log level is " + std::string(present_level().name) + "\n");
}

}  // namespace weft::node
