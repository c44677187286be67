#include "ztunnel/node/admin.h"

#include "ztunnel/node/config_dump.h"
#include "ztunnel/node/endpoints.h"

#include <array>

namespace weft::node {
namespace {

using runtime::Task;

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

Admin::Admin(Sources sources) : sources_(std::move(sources)), level_at_start_(log::level()) {}

Task<http::Response> Admin::answer(http::Request request) const {
  if (auto refused = refusal(request)) co_return std::move(*refused);
  if (request.path == "/") co_return text(200, std::string(kIndex));
  if (request.path == "/status") {
    co_return json(status_json(sources_.learner.status()) + "\n");
  }
  if (request.path == "/logging") co_return logging(request);
  if (request.path == "/config_dump") co_return co_await config_dump();
  log::info("ztunnel").say("asked to end by /quitquitquit");
  sources_.quit();
  co_return text(200, "shutdown now\n");
}

Task<http::Response> Admin::config_dump() const {
  Connections connections = co_await sources_.connections();
  const learn::Learner& learner = sources_.learner;
  co_return json(to_json({.state = learner.state(),
                          .pods = learner.pods(),
                          .certificates = learner.status().certificates,
                          .credentials = learner.credentials(),
                          .connections = std::move(connections),
                          .config = sources_.config}));
}

http::Response Admin::logging(const http::Request& request) const {
  constexpr std::string_view kLevel = "level=";
  const std::string_view query = request.query;
  if (query == "reset") {
    log::set_level(level_at_start_);
  } else if (query.starts_with(kLevel)) {
    const auto level = log::parse_level(query.substr(kLevel.size()));
    if (!level) return text(400, "level: expected error, warn, info or debug\n");
    log::set_level(*level);
  } else if (!query.empty()) {
    return text(400, "expected ?level=error|warn|info|debug, ?reset or nothing\n");
  }
  return text(200, "current log level is " + std::string(log::to_string(log::level())) + "\n");
}

}  // namespace weft::node
