#include "agent/control/kube/waypoints.h"

#include "agent/compile/waypoint_binding.h"
#include "agent/control/kube/gateway_status.h"
#include "agent/control/kube/writes.h"
#include "agent/objects/names.h"
#include "agent/objects/tree.h"
#include "ztunnel/base/log.h"

#include <algorithm>

namespace weft::control::kube {
namespace {

using crd::gateway_api::Gateway;
using crd::gateway_api::GatewayClass;
using objects::Tree;
using runtime::Task;
using source::kube::Request;

constexpr const char* kController = "weft.io/waypoint-controller";
constexpr const char* kIstioController = "istio.io/mesh-controller";
constexpr std::chrono::milliseconds kRequestMax{10'000};
// What is not there yet (a Deployment's first pod) is looked at again this soon; what is, now and
// then, should somebody have taken a part away.
constexpr std::chrono::seconds kAgainSoon{2};
constexpr std::chrono::seconds kAgainLater{60};
constexpr std::chrono::milliseconds kIdle{3'600'000};

std::string object_path(const std::string& api_version, const char* plural, const std::string& ns,
                        const std::string& name) {
  std::string path = (api_version.contains('/') ? "/apis/" : "/api/") + api_version;
  if (!ns.empty()) path += "/namespaces/" + source::kube::escape(ns);
  return path + "/" + plural + "/" + source::kube::escape(name);
}

template <class T>
std::string json_of(const char* api_version, const char* kind, const std::shared_ptr<T>& part) {
  return objects::to_json(objects::Object(api_version, kind, part));
}

const Tree* at(const Tree& tree, std::initializer_list<const char*> path) {
  const Tree* found = &tree;
  for (const char* name : path) {
    found = found == nullptr ? nullptr : found->find(name);
  }
  return found;
}

std::vector<GatewayCondition> listener_conditions(const crd::gateway_api::Listener& listener,
                                                  bool is_programmed) {
  const std::string problem = unsupported_listener(listener);
  const bool is_good = problem.empty();
  return {{"Accepted", is_good, is_good ? "Accepted" : "UnsupportedProtocol", problem},
          {"Conflicted", false, "NoConflicts", ""},
          {"Programmed", is_good && is_programmed,
           is_good ? (is_programmed ? "Programmed" : "Pending") : "Invalid", ""},
          {"ResolvedRefs", true, "ResolvedRefs", ""}};
}

Tree listeners_of(const Gateway& gateway, const GatewayStatus& status, bool is_programmed) {
  const Tree* before = status.before() == nullptr ? nullptr : status.before()->find("listeners");
  Tree list = Tree::list();
  for (const auto& listener : gateway.spec().listeners()) {
    const Tree* own = nullptr;
    for (size_t i = 0; before != nullptr && i < before->items.size(); ++i) {
      if (before->items[i].text_of("name") == listener.name()) own = &before->items[i];
    }
    Tree tree = Tree::map();
    tree.add("name", Tree::of(listener.name()));
    tree.add("attachedRoutes", Tree::of(int64_t{0}));
    tree.add("supportedKinds", Tree::list());
    tree.add("conditions", status.conditions(listener_conditions(listener, is_programmed), own));
    list.items.push_back(std::move(tree));
  }
  return list;
}

}  // namespace

std::string unsupported_listener(const crd::gateway_api::Listener& listener) {
  if (listener.port() == compile::kHbonePort && listener.protocol() == "HBONE") return "";
  return "a waypoint listens on port 15008 with protocol HBONE, and nowhere else";
}

Waypoints::Waypoints(source::kube::ApiClient& client, WaypointOptions options, OnError on_error)
    : client_(client),
      options_(std::move(options)),
      on_error_(std::move(on_error)),
      pause_(client.loop()) {}

void Waypoints::stop() {
  stopped_ = true;
  pause_.wake();
}

void Waypoints::set_active(bool active) {
  active_ = active;
  for (auto& [key, item] : items_) item.due = {};
  pause_.wake();
}

bool Waypoints::is_ours(const objects::Object& object) const {
  if (const auto* gateway = object.as<Gateway>()) {
    return compile::is_waypoint(*gateway) &&
           (options_.claims_istio_class ||
            gateway->spec().gatewayclassname() == compile::kWaypointClass);
  }
  const auto* own = object.as<GatewayClass>();
  if (own == nullptr) return false;
  return own->spec().controllername() == kController ||
         (options_.claims_istio_class && own->spec().controllername() == kIstioController &&
          own->metadata().name() == compile::kIstioWaypointClass);
}

void Waypoints::look_at_control(const objects::Object* object) {
  const auto* service = object == nullptr ? nullptr : object->as<crd::core::Service>();
  const auto ip = service == nullptr ? Result<IpAddress>(fail(Code::kNotFound, ""))
                                     : IpAddress::parse(service->spec().clusterip());
  std::string now = ip ? SocketAddress{*ip, options_.control_port}.to_string() : "";
  if (now == control_address_) return;
  control_address_ = std::move(now);
  for (auto& [key, item] : items_) item.due = {};
}

void Waypoints::observe(const std::vector<source::Change>& changes) {
  for (const source::Change& change : changes) {
    if (change.key == options_.control_service) look_at_control(change.object.get());
    const bool is_class = change.key.kind == "GatewayClass";
    if (!is_class && change.key.kind != "Gateway") continue;
    if (is_class && change.object) classes_.insert(change.key.name);
    if (is_class && !change.object) classes_.erase(change.key.name);
    if (change.object && is_ours(*change.object)) {
      items_[change.key].object = change.object;
      items_[change.key].due = {};
    } else {
      items_.erase(change.key);
    }
  }
  pause_.wake();
}

Task<void> Waypoints::run() {
  while (!stopped_) {
    const auto now = std::chrono::steady_clock::now();
    const bool may_write = active_ && !control_address_.empty();
    if (may_write && classes_due_ <= now) {
      classes_due_ = now + kAgainLater;
      co_await make_class(std::string(compile::kWaypointClass));
      if (options_.claims_istio_class) {
        co_await make_class(std::string(compile::kIstioWaypointClass));
      }
      continue;
    }
    const auto next =
        std::ranges::min_element(items_, {}, [](const auto& item) { return item.second.due; });
    if (may_write && next != items_.end() && next->second.due <= now) {
      co_await settle(next->first);
      continue;
    }
    auto pause = kIdle;
    if (may_write) {
      Time due = classes_due_;
      if (next != items_.end()) due = std::min(due, next->second.due);
      pause = std::chrono::ceil<std::chrono::milliseconds>(due - now);
    }
    co_await pause_.wait(pause);
  }
}

// What comes meanwhile makes it due again.
Task<void> Waypoints::settle(objects::Key key) {
  items_[key].due = std::chrono::steady_clock::now() + kAgainSoon;
  const std::shared_ptr<const objects::Object> object = items_[key].object;
  Result<void> done;
  bool is_programmed = true;
  if (key.kind == "GatewayClass") {
    done = co_await accept_class(*object);
  } else {
    auto outcome = co_await make_parts(*object);
    is_programmed = outcome && outcome->is_programmed;
    done = outcome ? co_await write_gateway_status(*object, std::move(*outcome))
                   : Result<void>(Fail(std::move(outcome.error())));
  }
  const auto item = items_.find(key);
  if (item == items_.end() || stopped_) co_return;
  const std::string error = done ? "" : done.error().to_string();
  if (!error.empty() && std::exchange(item->second.last_error, error) != error) {
    on_error_(Error(done.error()).in(key.to_string()));
  }
  if (error.empty()) item->second.last_error.clear();
  if (done && is_programmed && item->second.object == object) {
    item->second.due = std::chrono::steady_clock::now() + kAgainLater;
  }
}

Task<Result<std::string>> Waypoints::apply(std::string path, std::string body) {
  Request request;
  request.method = "PATCH";
  request.path = path + "?fieldManager=" + kFieldManager;
  request.content_type = source::kube::kApplyPatch;
  request.body = std::move(body);
  request.timeout = kRequestMax;
  co_return source::kube::body_of(co_await client_.request(std::move(request)));
}

Task<Result<Waypoints::Outcome>> Waypoints::make_parts(const objects::Object& object) {
  compile::WaypointProgram program = options_.program;
  program.flags.insert(program.flags.begin(), "--control=" + control_address_);
  const compile::WaypointParts parts = compile::waypoint_parts(*object.as<Gateway>(), program);
  const std::string& ns = object.metadata().namespace_();
  const std::string& name = object.metadata().name();
  CO_TRY(co_await apply(object_path("v1", "serviceaccounts", ns, name),
                        json_of("v1", "ServiceAccount", parts.account)));
  const std::string service_text = CO_TRY(co_await apply(object_path("v1", "services", ns, name),
                                                         json_of("v1", "Service", parts.service)));
  const std::string deployment_text =
      CO_TRY(co_await apply(object_path("apps/v1", "deployments", ns, name),
                            json_of("apps/v1", "Deployment", parts.deployment)));
  const Tree service = CO_TRY(objects::parse_json(service_text));
  const Tree deployment = CO_TRY(objects::parse_json(deployment_text));
  Outcome outcome;
  if (const Tree* ips = at(service, {"spec", "clusterIPs"})) {
    for (const Tree& ip : ips->items) outcome.addresses.push_back(ip.text);
  }
  const Tree* available = at(deployment, {"status", "availableReplicas"});
  const bool has_pod = available != nullptr && available->integer > 0;
  outcome.is_programmed = has_pod && !outcome.addresses.empty();
  outcome.reason = outcome.is_programmed       ? "Programmed"
                   : outcome.addresses.empty() ? "AddressNotAssigned"
                                               : "Pending";
  outcome.message = outcome.is_programmed
                        ? "assigned to service " + name + "." + ns + ":15008"
                        : "the Deployment " + ns + "/" + name + " has no ready pod yet";
  co_return outcome;
}

Task<Result<void>> Waypoints::write_gateway_status(const objects::Object& object, Outcome outcome) {
  const auto& gateway = *object.as<Gateway>();
  const std::string path = object_path(object.api_version(), "gateways",
                                       object.metadata().namespace_(), object.metadata().name());
  Request request;
  request.path = path;
  request.timeout = kRequestMax;
  const std::string text =
      CO_TRY(source::kube::body_of(co_await client_.request(std::move(request))));
  const Tree server = CO_TRY(objects::parse_json(text));
  const GatewayStatus known(server, objects::format_time(std::chrono::system_clock::now()));
  const bool is_good = std::ranges::all_of(gateway.spec().listeners(), [](const auto& listener) {
    return unsupported_listener(listener).empty();
  });
  Tree status = Tree::map();
  status.add("conditions",
             known.conditions(
                 {{"Accepted", is_good, is_good ? "Accepted" : "ListenersNotValid",
                   is_good ? "a waypoint" : "a waypoint listens on port 15008 with HBONE only"},
                  {"Programmed", outcome.is_programmed, outcome.reason, outcome.message}},
                 known.before()));
  Tree addresses = Tree::list();
  for (const std::string& ip : outcome.addresses) {
    Tree address = Tree::map();
    address.add("type", Tree::of("IPAddress"));
    address.add("value", Tree::of(ip));
    addresses.items.push_back(std::move(address));
  }
  status.add("addresses", std::move(addresses));
  status.add("listeners", listeners_of(gateway, known, outcome.is_programmed));
  std::string patch = known.patch_of(object, std::move(status));
  if (patch.empty()) co_return Result<void>{};
  CO_TRY(co_await apply(path + "/status", std::move(patch)));
  co_return Result<void>{};
}

Task<Result<void>> Waypoints::accept_class(const objects::Object& object) {
  const std::string path =
      object_path(object.api_version(), "gatewayclasses", "", object.metadata().name());
  Request request;
  request.path = path;
  request.timeout = kRequestMax;
  const std::string text =
      CO_TRY(source::kube::body_of(co_await client_.request(std::move(request))));
  const Tree server = CO_TRY(objects::parse_json(text));
  const GatewayStatus known(server, objects::format_time(std::chrono::system_clock::now()));
  Tree status = Tree::map();
  status.add("conditions", known.conditions({{"Accepted", true, "Accepted",
                                              "Weft makes waypoints of Gateways of this class"}},
                                            known.before()));
  std::string patch = known.patch_of(object, std::move(status));
  if (patch.empty()) co_return Result<void>{};
  CO_TRY(co_await apply(path + "/status", std::move(patch)));
  co_return Result<void>{};
}

// Where the Gateway API's definitions are not installed there is nothing to make, and that is no
// error.
Task<void> Waypoints::make_class(std::string name) {
  if (classes_.contains(name)) co_return;
  Tree metadata = Tree::map();
  metadata.add("name", Tree::of(name));
  Tree spec = Tree::map();
  spec.add("controllerName", Tree::of(kController));
  spec.add("description", Tree::of("waypoints of Weft"));
  Tree object = Tree::map();
  object.add("apiVersion", Tree::of("gateway.networking.k8s.io/v1"));
  object.add("kind", Tree::of("GatewayClass"));
  object.add("metadata", std::move(metadata));
  object.add("spec", std::move(spec));
  const auto made =
      co_await apply(object_path("gateway.networking.k8s.io/v1", "gatewayclasses", "", name),
                     objects::write_json(object));
  if (made) co_return;
  log::debug("waypoints")
      .field("class", name)
      .field("error", made.error().to_string())
      .say("the class was not made");
}

}  // namespace weft::control::kube
