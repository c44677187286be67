#pragma once

#include "ztunnel/base/log.h"
#include "ztunnel/http/http1_server.h"
#include "ztunnel/learn/view.h"
#include "ztunnel/role/connections.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace weft::role {

// ztunnel's admin port, with the paths that Istio's ztunnel has:
//   GET  /                 what there is
//   GET  /status           readiness, certificates, counts (ours)
//   GET  /config_dump      config_dump.h
//   POST /logging          the level; ?level=error|warn|info|debug sets it, ?reset as at the start
//   POST /quitquitquit     ends as SIGTERM does: drains first
//   GET  /debug/pprof/profile  where processor time goes, as `pprof` reads it; ?seconds=1..300
//   (10),
//                          &frequency=1..1000 (100) samples a second; one at a time (409)
// On loopback of ztunnel's own network namespace, so whoever may enter that may ask.
class Admin {
 public:
  struct Sources {
    const learn::Learner& learner;
    std::function<void()> quit;
    std::function<runtime::Task<Connections>()> connections;
    std::map<std::string, std::string> config;  // flags and their values
  };
  Admin(runtime::Loop& loop, Sources sources);
  runtime::Task<http::Response> answer(http::Request request) const;  // the learner's thread

 private:
  runtime::Task<http::Response> config_dump() const;
  http::Response logging(const http::Request& request) const;
  runtime::Task<http::Response> cpu_profile(std::string query) const;

  runtime::Loop& loop_;
  Sources sources_;
  log::Level level_at_start_;
  mutable bool profiling_ = false;
};

}  // namespace weft::role
