#include "ztunnel/waypoint/config_builder.h"

#include "ztunnel/base/log.h"
#include "ztunnel/learn/unpack.h"

namespace weft::waypoint {
namespace {

using learn::DeltaResponse;
using learn::unpack;
using learn::XdsResource;
using Rejections = std::vector<learn::StateBuilder::Rejection>;

template <class Message>
Result<void> check_name(const Message& message, const std::string& key) {
  if (message.namespace_() + "/" + message.hostname() == key) return {};
  return fail(Code::kInvalid, "the resource's name differs from its content's: " +
                                  message.namespace_() + "/" + message.hostname());
}

Result<void> check_room(size_t present, bool is_new) {
  if (!is_new || present < ConfigBuilder::kResourcesMax) return {};
  return fail(Code::kLimit, "more than " + std::to_string(ConfigBuilder::kResourcesMax) +
                                " services behind one waypoint");
}

}  // namespace

Result<std::shared_ptr<const Service>> compile_service(const weft::route::Routes& routes) {
  constexpr uint32_t kPortMax = 65535;
  auto service = std::make_shared<Service>();
  service->key = routes.namespace_() + "/" + routes.hostname();
  service->refused = routes.refused();
  for (const weft::route::Port& from : routes.ports()) {
    if (from.port() == 0 || from.port() > kPortMax) {
      return fail(Code::kInvalid,
                  "ports: expected numbers up to 65535, got " + std::to_string(from.port()));
    }
    Service::Port& port = service->ports[static_cast<uint16_t>(from.port())];
    port.protocol = from.protocol();
    if (from.http_size() > 0) {
      auto table = routing::Table::compile(from);
      if (!table) {
        return Fail(std::move(table.error()).in("port " + std::to_string(from.port())));
      }
      port.http = std::move(*table);
    }
    port.tcp.assign(from.tcp().begin(), from.tcp().end());
  }
  return service;
}

std::vector<std::string> ConfigBuilder::types() const {
  return {std::string(kTelemetryType), std::string(kPolicyType), std::string(kRoutesType)};
}

ConfigBuilder::Type& ConfigBuilder::type_of(std::string_view type) {
  return type == kRoutesType ? routes_ : type == kPolicyType ? policies_ : telemetry_;
}

Rejections ConfigBuilder::apply(const DeltaResponse& response) {
  Rejections rejections;
  Type& type = type_of(response.type_url());
  for (const XdsResource& resource : response.resources()) {
    const auto key = key_of(resource.name());
    Result<void> applied =
        key ? check_room(type.versions.size(), !type.versions.contains(resource.name()))
            : Result<void>(Fail(key.error()));
    if (applied) {
      applied = apply_one(response.type_url(), *key, resource);
      type.versions[resource.name()] = applied ? resource.version() : "";
    }
    if (!applied) rejections.push_back({resource.name(), applied.error().to_string()});
  }
  for (const std::string& name : response.removed_resources()) {
    type.versions.erase(name);
    const auto key = key_of(name);
    if (!key) continue;
    if (&type == &routes_) config_.services.erase(*key);
    if (&type == &policies_) config_.policies.erase(*key);
    if (&type == &telemetry_) config_.telemetry.erase(*key);
  }
  type.complete = true;
  if (is_complete()) publish_(std::make_shared<const Config>(config_));
  return rejections;
}

std::map<std::string, std::string> ConfigBuilder::versions(std::string_view type) const {
  return type == kRoutesType   ? routes_.versions
         : type == kPolicyType ? policies_.versions
                               : telemetry_.versions;
}

Result<void> ConfigBuilder::apply_one(std::string_view type, const std::string& key,
                                      const XdsResource& resource) {
  if (type == kRoutesType) return apply_routes(key, resource);
  return type == kPolicyType ? apply_policy(key, resource) : apply_telemetry(key, resource);
}

Result<std::string> ConfigBuilder::key_of(const std::string& resource_name) const {
  if (resource_name.starts_with(prefix_)) return resource_name.substr(prefix_.size());
  return fail(Code::kInvalid,
              "it is another waypoint's: expected a name that begins with \"" + prefix_ + "\"");
}

Result<void> ConfigBuilder::apply_routes(const std::string& key, const XdsResource& resource) {
  const auto compiled = [&]() -> Result<std::shared_ptr<const Service>> {
    const auto routes = TRY(unpack<weft::route::Routes>(resource, kRoutesType));
    TRY(check_name(routes, key));
    return compile_service(routes);
  }();
  if (compiled) {
    config_.services[key] = *compiled;
    return {};
  }
  if (!config_.services.contains(key)) refuse_in_place_of(key, compiled.error());
  return Fail(compiled.error());
}

Result<void> ConfigBuilder::apply_policy(const std::string& key, const XdsResource& resource) {
  auto policy = TRY(unpack<weft::route::Policy>(resource, kPolicyType));
  TRY(check_name(policy, key));
  config_.policies[key] = std::make_shared<const weft::route::Policy>(std::move(policy));
  return {};
}

// What of it cannot be had is left out and said; requests are served all the same.
Result<void> ConfigBuilder::apply_telemetry(const std::string& key, const XdsResource& resource) {
  const auto wanted = TRY(unpack<weft::telemetry::Telemetry>(resource, kTelemetryType));
  if (key != "*") TRY(check_name(wanted, key));
  std::vector<Error> problems;
  config_.telemetry[key] = telemetry::RequestPlan::make(wanted, log_files_, problems);
  for (const Error& problem : problems) {
    log::warn("xds").field("resource", resource.name()).say(problem.to_string());
  }
  return {};
}

void ConfigBuilder::refuse_in_place_of(const std::string& key, const Error& error) {
  auto service = std::make_shared<Service>();
  service->key = key;
  service->refused = "its routes cannot be read: " + error.to_string();
  config_.services[key] = std::move(service);
  log::error("xds").field("service", key).say("a service whose routes cannot be read is refused");
}

}  // namespace weft::waypoint
