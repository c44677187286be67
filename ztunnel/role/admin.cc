#include "ztunnel/role/admin.h"

#include "ztunnel/role/config_dump.h"
#include "ztunnel/role/endpoints.h"
#include "ztunnel/telemetry/cpu_profile.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace weft::role {
namespace {

using runtime::Task;

constexpr std::string_view kIndex =
    "GET  /              this\n"
    "GET  /status        whether it is ready, and its certificates\n"
    "GET  /config_dump   all that it knows of the mesh\n"
    "POST /logging       the log level; ?level=error|warn|info|debug sets it, ?reset resets it\n"
    "POST /quitquitquit  drain and end, as SIGTERM does\n"
    "GET  /debug/pprof/profile  CPU profile for pprof; ?seconds=10&frequency=100\n";
constexpr std::string_view kProfilePath = "/debug/pprof/profile";

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
constexpr std::array<Path, 6> kPaths{{{"/", "GET"},
                                      {"/status", "GET"},
                                      {"/config_dump", "GET"},
                                      {"/logging", "POST"},
                                      {"/quitquitquit", "POST"},
                                      {kProfilePath, "GET"}}};

// What is wrong with the request before anything is done, if something is.
std::optional<http::Response> refusal(const http::Request& request) {
  for (const Path& known : kPaths) {
    if (request.path != known.path) continue;
    if (request.method == known.method) return std::nullopt;
    return text(405, std::string(known.path) + " expects " + std::string(known.method) + "\n");
  }
  return text(404, "there is no such path; there are:\n" + std::string(kIndex));
}

struct ProfileRequest {
  uint32_t seconds = 10;
  uint32_t frequency = 100;
};

// kInvalid: something other than the two, or out of bounds (Istio's).
Result<ProfileRequest> parse_profile_request(std::string_view query) {
  ProfileRequest wanted;
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    const size_t equals = std::min(pair.find('='), pair.size());
    const std::string_view name = pair.substr(0, equals);
    const std::string_view digits = pair.substr(std::min(equals + 1, pair.size()));
    uint32_t number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    const uint32_t most = name == "seconds"     ? 300
                          : name == "frequency" ? telemetry::CpuProfile::kFrequencyMax
                                                : 0;
    const bool whole = error == std::errc{} && end == digits.data() + digits.size();
    if (!whole || number < 1 || number > most) {
      return fail(Code::kInvalid, "expected ?seconds=1..300&frequency=1..1000");
    }
    (name == "seconds" ? wanted.seconds : wanted.frequency) = number;
  }
  return wanted;
}

}  // namespace

Admin::Admin(runtime::Loop& loop, Sources sources)
    : loop_(loop), sources_(std::move(sources)), level_at_start_(log::level()) {}

Task<http::Response> Admin::answer(http::Request request) const {
  if (auto refused = refusal(request)) co_return std::move(*refused);
  if (request.path == "/") co_return text(200, std::string(kIndex));
  if (request.path == "/status") {
    co_return json(status_json(sources_.learner.status()) + "\n");
  }
  if (request.path == "/logging") co_return logging(request);
  if (request.path == "/config_dump") co_return co_await config_dump();
  if (request.path == kProfilePath) co_return co_await cpu_profile(std::move(request.query));
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

Task<http::Response> Admin::cpu_profile(std::string query) const {
  const auto wanted = parse_profile_request(query);
  if (!wanted) co_return text(400, wanted.error().to_string() + "\n");
  if (profiling_) co_return text(409, "a profile is being made: try again when it is done\n");
  auto profile = telemetry::CpuProfile::start(wanted->frequency);
  if (!profile) co_return text(501, profile.error().to_string() + "\n");
  profiling_ = true;
  const auto end = loop_.now() + std::chrono::seconds(wanted->seconds);
  while (loop_.now() < end) {
    co_await loop_.sleep(telemetry::CpuProfile::kCollectEvery);
    (*profile)->collect();
  }
  profiling_ = false;
  co_return http::Response{.content_type = "application/octet-stream",
                           .body = (*profile)->finish()};
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

}  // namespace weft::role
