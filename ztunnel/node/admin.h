#pragma once

#include "ztunnel/base/log.h"
#include "ztunnel/http/http1_server.h"
#include "ztunnel/learn/view.h"
#include "ztunnel/node/connections.h"

#include <functional>
#include <map>
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
  struct Sources {
    const learn::Learner& learner;
    std::function<void()> quit;
    std::function<runtime::Task<Connections>()> connections;
    std::map<std::string, std::string> config;  // flags and their values
  };
  explicit Admin(Sources sources);
  runtime::Task<http::Response> answer(http::Request request) const;  // the learner's thread

 private:
  runtime::Task<http::Response> config_dump() const;
  http::Response logging(const http::Request& request) const;

  Sources sources_;
  log::Level level_at_start_;
};

}  // namespace weft::node
