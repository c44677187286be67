#pragma once

#include "ztunnel/base/log.h"
#include "ztunnel/http/http1_server.h"
#include "ztunnel/learn/view.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace weft::node {

// ztunnel's admin port, with the paths that Istio's ztunnel has:
//   GET  /                 what there is
//   GET  /status           readiness, certificates, counts (ours)
//   GET  /config_dump      config_dump.h
//   POST /logging          the level; ?level=error|warn|info|debug sets it, ?reset as at the start
//   POST /quitquitquit     ends as SIGTERM does: drains first
// On loopback of ztunnel's own network namespace, so whoever may enter that may ask.
class Admin {
 public:
  Admin(const learn::Learner& learner, std::function<void()> quit);
  http::Response answer(const http::Request& request) const;  // the learner's thread

 private:
  http::Response logging(const http::Request& request) const;

  const learn::Learner& learner_;
  std::function<void()> quit_;
  log::Level level_at_start_;
};

// "error", "warn", "info" or "debug".
std::optional<log::Level> parse_log_level(std::string_view name);

}  // namespace weft::node
