#pragma once

#include "agent/compile/waypoint_parts.h"
#include "agent/source/kube/api_client.h"
#include "agent/source/source.h"
#include "ztunnel/runtime/pause.h"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace weft::control::kube {

struct WaypointOptions {
  compile::WaypointProgram program;  // without --control, which the Service's address says
  objects::Key control_service;      // control's own
  uint16_t control_port = 15012;
  bool claims_istio_class = true;  // istio-waypoint: false where an istiod does
};

// Makes what waypoints' Gateways ask for, and says on them what became of it: account, Service and
// Deployment by server-side apply without force (what another manager owns is left, and that is
// said), then conditions and addresses. They are owned by their Gateway, and the cluster takes them
// away with it. Written by the replica that leads. Belongs to the client's loop.
class Waypoints {
 public:
  using OnError = std::function<void(const Error&)>;
  Waypoints(source::kube::ApiClient& client, WaypointOptions options, OnError on_error);

  runtime::Task<void> run();  // until stop()
  void stop();
  void set_active(bool active);  // this replica leads
  void observe(const std::vector<source::Change>& changes);

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Item {
    std::shared_ptr<const objects::Object> object;
    Time due{};
    std::string last_error;  // said once
  };
  struct Outcome {
    bool is_programmed = false;
    std::string reason;  // of Programmed
    std::string message;
    std::vector<std::string> addresses;
  };

  bool is_ours(const objects::Object& object) const;
  void look_at_control(const objects::Object* service);
  runtime::Task<void> settle(objects::Key key);
  runtime::Task<Result<Outcome>> make_parts(const objects::Object& gateway);
  runtime::Task<Result<std::string>> apply(std::string path, std::string body);
  runtime::Task<Result<void>> write_gateway_status(const objects::Object& gateway, Outcome outcome);
  runtime::Task<Result<void>> accept_class(const objects::Object& object);
  runtime::Task<void> make_class(std::string name);

  source::kube::ApiClient& client_;
  WaypointOptions options_;
  const OnError on_error_;
  std::string control_address_;         // empty: not known yet
  std::map<objects::Key, Item> items_;  // Gateways and GatewayClasses that are ours
  std::set<std::string> classes_;       // all that there are
  Time classes_due_{};
  runtime::Pause pause_;
  bool active_ = false;
  bool stopped_ = false;
};

// What of a Gateway's spec this version cannot serve; empty: nothing. For its conditions.
std::string unsupported_listener(const crd::gateway_api::Listener& listener);

}  // namespace weft::control::kube
