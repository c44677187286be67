#pragma once

#include "ztunnel/learn/more_resources.h"
#include "ztunnel/waypoint/config.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace weft::waypoint {

constexpr std::string_view kRoutesType = "type.googleapis.com/weft.route.Routes";
constexpr std::string_view kPolicyType = "type.googleapis.com/weft.route.Policy";
constexpr std::string_view kTelemetryType = "type.googleapis.com/weft.telemetry.Telemetry";

// Turns what control says of this waypoint's services into Configs. One wrong resource does not
// spoil the others: of a service that has a good version that one stays, and a service that never
// had one is refused as a whole, because nobody knows whom its routes were to keep out. Belongs to
// the learner's thread.
class ConfigBuilder final : public learn::MoreResources {
 public:
  // One waypoint of a large mesh; Kubernetes is made for 10 000 services.
  static constexpr size_t kResourcesMax = 20'000;  // of each type

  using Publish = std::function<void(std::shared_ptr<const Config>)>;
  // `name`: "namespace/waypoint", which the names of its resources begin with.
  ConfigBuilder(std::string name, Publish publish)
      : prefix_(std::move(name) + "/"), publish_(std::move(publish)) {}

  std::vector<std::string> types() const override;
  std::vector<learn::StateBuilder::Rejection> apply(const learn::DeltaResponse& response) override;
  std::map<std::string, std::string> versions(std::string_view type) const override;
  bool is_complete() const override {
    return routes_.complete && policies_.complete && telemetry_.complete;
  }

 private:
  Result<std::string> key_of(const std::string& resource_name) const;
  struct Type {
    // By resource name; empty for one that was refused, so that its removal is told.
    std::map<std::string, std::string> versions;
    bool complete = false;
  };
  Type& type_of(std::string_view type);
  Result<void> apply_one(std::string_view type, const std::string& key,
                         const learn::XdsResource& resource);
  Result<void> apply_routes(const std::string& key, const learn::XdsResource& resource);
  Result<void> apply_policy(const std::string& key, const learn::XdsResource& resource);
  Result<void> apply_telemetry(const std::string& key, const learn::XdsResource& resource);
  void refuse_in_place_of(const std::string& key, const Error& error);

  std::string prefix_;
  Publish publish_;
  Config config_;
  Type routes_;
  Type policies_;
  Type telemetry_;
  telemetry::LogFiles log_files_;
};

// One service, compiled. kInvalid names the route and the field.
Result<std::shared_ptr<const Service>> compile_service(const weft::route::Routes& routes);

}  // namespace weft::waypoint
