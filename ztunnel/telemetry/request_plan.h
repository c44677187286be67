#pragma once

#include "proto/telemetry.pb.h"
#include "ztunnel/telemetry/expression.h"
#include "ztunnel/telemetry/log_file.h"
#include "ztunnel/telemetry/log_format.h"
#include "ztunnel/telemetry/request_metrics.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weft::telemetry {

// What is to be reported of a service's requests: a weft.telemetry.Telemetry, read once. Immutable,
// shared by workers.
struct RequestPlan {
  struct Log {
    LogFormat format;
    std::optional<Expression> filter;
    std::shared_ptr<const LogFile> file;
  };
  struct Tag {
    std::string name;
    LogFormat format;
    std::string default_value;
  };
  std::vector<Log> logs;
  std::optional<MetricsPlan> metrics;
  std::optional<weft::telemetry::Tracing> tracing;
  std::vector<Tag> tags;  // of spans
  // Whether anything asks for the response's headers or trailers.
  bool needs_response_fields = false;

  // Of a waypoint that was told nothing: metrics.
  static const std::shared_ptr<const RequestPlan>& by_default();
  // What cannot be had is left out and named in `problems`: a log whose format or file is wrong, a
  // tag. A filter that cannot be read filters nothing: too many lines are better than none.
  static std::shared_ptr<const RequestPlan> make(const weft::telemetry::Telemetry& config,
                                                 LogFiles& files, std::vector<Error>& problems);
};

}  // namespace weft::telemetry
