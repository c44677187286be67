#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"
#include "proto/telemetry.pb.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft::l7 {

// What of the mesh's configuration says where telemetry goes: extensionProviders, by their names,
// defaultProviders, and the older fields accessLogFile, enableTracing and defaultConfig.tracing.
class Providers {
 public:
  Providers(const compile::Store& store, const compile::MeshConfig& config)
      : store_(store), config_(config) {}

  // Logs to a file (envoyFileAccessLog). "envoy" is there where nobody has defined it.
  std::optional<weft::telemetry::AccessLog> log(const std::string& name) const;
  // Spans to Zipkin or OpenTelemetry.
  std::optional<weft::telemetry::Tracing> tracing(const std::string& name) const;
  // Metrics to be scraped. "prometheus" is there where nobody has defined it.
  bool is_prometheus(const std::string& name) const;

  // Of defaultProviders: "accessLogging", "tracing" or "metrics".
  std::vector<std::string> defaults(std::string_view of) const;
  // What accessLogFile asks for.
  std::optional<weft::telemetry::AccessLog> mesh_log() const;
  // What enableTracing and defaultConfig.tracing ask for.
  std::optional<weft::telemetry::Tracing> mesh_tracing() const;
  double mesh_sampling() const;  // percent

 private:
  const google::protobuf::Value* find(const std::string& name) const;
  weft::route::Destination collector(std::string_view service, uint32_t port) const;

  const compile::Store& store_;
  const compile::MeshConfig& config_;
};

}  // namespace weft::l7
