#include "agent/sandbox/gateways.h"

#include "agent/compile/waypoint_binding.h"
#include "agent/identity/token.h"
#include "agent/sandbox/admission.h"
#include "agent/sandbox/cluster_ips.h"
#include "agent/sandbox/files.h"
#include "agent/sandbox/mesh.h"
#include "agent/sandbox/planner.h"

#include <google/protobuf/util/message_differencer.h>

#include <map>
#include <set>

namespace weft::sandbox {

namespace {

using google::protobuf::util::MessageDifferencer;

constexpr const char* kGatewayKind = "Gateway";

// The uid of the Gateway that it was made for; empty: for none.
std::string maker_of(const objects::Object& object) {
  for (const auto& owner : object.metadata().ownerreferences()) {
    if (owner.kind() == kGatewayKind) return owner.uid();
  }
  return "";
}

// lastTransitionTime moves with the status only.
void add_condition(const crd::gateway_api::Gateway& gateway, const char* type, bool is_true,
                   const char* reason, const char* message,
                   google::protobuf::ListValue& conditions) {
  const char* now = is_true ? "True" : "False";
  std::string since = now_rfc3339();
  const auto& status = gateway.status().struct_value().fields();
  if (const auto old = status.find("conditions"); old != status.end()) {
    for (const auto& one : old->second.list_value().values()) {
      const auto& fields = one.struct_value().fields();
      const auto text = [&fields](const char* name) {
        const auto found = fields.find(name);
        return found == fields.end() ? std::string() : found->second.string_value();
      };
      if (text("type") == type && text("status") == now) since = text("lastTransitionTime");
    }
  }
  auto& fields = *conditions.add_values()->mutable_struct_value()->mutable_fields();
  fields["type"].set_string_value(type);
  fields["status"].set_string_value(now);
  fields["reason"].set_string_value(reason);
  fields["message"].set_string_value(message);
  fields["lastTransitionTime"].set_string_value(since);
}

class Planner {
 public:
  Planner(const std::vector<ObjectPtr>& present, const Families& families)
      : all_(present), ips_(families) {
    for (const ObjectPtr& object : present) {
      present_[object->key()] = object;
      if (const auto* service = object->as<crd::core::Service>()) ips_.take(*service);
    }
  }

  void make(const crd::gateway_api::Gateway& gateway, const compile::WaypointProgram& program) {
    gateways_.insert(gateway.metadata().uid());
    const compile::WaypointParts parts = compile::waypoint_parts(gateway, program);
    add("v1", "ServiceAccount", parts.account);
    const objects::Key key{"Service", gateway.metadata().namespace_(), gateway.metadata().name()};
    const auto* service = old_as<crd::core::Service>(key);
    if (ips_.complete(key.to_string(), service, *parts.service))
      add("v1", "Service", parts.service);
    const auto* deployment = old_as<crd::core::Deployment>({"Deployment", key.ns, key.name});
    if (deployment != nullptr && deployment->spec().has_replicas()) {
      parts.deployment->mutable_spec()->set_replicas(deployment->spec().replicas());
    }
    add("apps/v1", "Deployment", parts.deployment);
    say(gateway, deployment, service);
  }

  GatewayPlan finish() {
    for (const auto& [key, object] : present_) {
      const std::string maker = maker_of(*object);
      if (!maker.empty() && !gateways_.contains(maker)) plan_.remove.push_back(key);
    }
    return std::move(plan_);
  }

 private:
  // What became of it, as a controller on a cluster says it.
  void say(const crd::gateway_api::Gateway& gateway, const crd::core::Deployment* deployment,
           const crd::core::Service* service) {
    const bool is_programmed =
        service != nullptr && deployment != nullptr && ready_replicas(*deployment, all_) > 0;
    google::protobuf::Value status;
    auto& fields = *status.mutable_struct_value()->mutable_fields();
    auto& conditions = *fields["conditions"].mutable_list_value();
    add_condition(gateway, "Accepted", true, "Accepted", "a waypoint", conditions);
    add_condition(gateway, "Programmed", is_programmed, is_programmed ? "Programmed" : "Pending",
                  is_programmed ? "it has a ready pod" : "its Deployment has no ready pod yet",
                  conditions);
    auto& addresses = *fields["addresses"].mutable_list_value();
    for (const std::string& ip :
         service != nullptr ? cluster_ips(*service) : std::vector<std::string>()) {
      auto& address = *addresses.add_values()->mutable_struct_value()->mutable_fields();
      address["type"].set_string_value("IPAddress");
      address["value"].set_string_value(ip);
    }
    if (MessageDifferencer::Equals(status, gateway.status())) return;
    auto changed = std::make_shared<crd::gateway_api::Gateway>(gateway);
    *changed->mutable_status() = std::move(status);
    plan_.put.push_back(std::make_shared<objects::Object>("gateway.networking.k8s.io/v1",
                                                          kGatewayKind, std::move(changed)));
  }

  template <class T>
  const T* old_as(const objects::Key& key) const {
    const auto found = present_.find(key);
    return found == present_.end() ? nullptr : found->second->template as<T>();
  }

  template <class T>
  void add(const char* version, const char* kind, const std::shared_ptr<T>& part) {
    ObjectPtr object = std::make_shared<objects::Object>(version, kind, part);
    const auto old = present_.find(object->key());
    if (old != present_.end() && maker_of(*old->second) != maker_of(*object)) return;
    object = with_metadata(*object, [&](crd::core::ObjectMeta& meta) {
      const bool is_new = old == present_.end();
      meta.set_uid(is_new ? new_uid() : old->second->metadata().uid());
      meta.set_creationtimestamp(is_new ? now_rfc3339()
                                        : old->second->metadata().creationtimestamp());
      if (!is_new) meta.set_resourceversion(old->second->metadata().resourceversion());
    });
    const bool same = old != present_.end() &&
                      MessageDifferencer::Equals(object->message(), old->second->message());
    if (!same) plan_.put.push_back(std::move(object));
  }

  const std::vector<ObjectPtr>& all_;
  std::map<objects::Key, ObjectPtr> present_;
  ClusterIps ips_;
  std::set<std::string> gateways_;
  GatewayPlan plan_;
};

std::string secrets_folder(const Layout& layout, const crd::core::Pod& pod) {
  return layout.secrets(pod.metadata().uid());
}

}  // namespace

GatewayPlan plan_gateways(const std::vector<ObjectPtr>& present,
                          const compile::WaypointProgram& program, const Families& families) {
  Planner planner(present, families);
  for (const ObjectPtr& object : present) {
    const auto* gateway = object->as<crd::gateway_api::Gateway>();
    if (gateway != nullptr && compile::is_waypoint(*gateway)) planner.make(*gateway, program);
  }
  return planner.finish();
}

Result<compile::WaypointProgram> waypoint_program() {
  compile::WaypointProgram program;
  program.command = {TRY(binary_beside_us("weft-ztunnel"))};
  program.flags = {"--control=" + std::string(kControlIp) + ":" + std::to_string(kControlPort),
                   "--control-name=" + std::string(kControlName),
                   "--control-roots=" + std::string(kSecretsInPod) + "/roots.pem",
                   "--token=" + std::string(kSecretsInPod) + "/token"};
  return program;
}

bool wants_secrets(const crd::core::Pod& pod) {
  return pod.metadata().labels().contains(compile::kGatewayNameLabel);
}

Result<void> refresh_roots(const Layout& layout, const crd::core::Pod& pod) {
  const auto roots = read_file(layout.control() + "/roots.pem");
  if (!roots) return {};  // control writes them when it starts, and the pod waits for them
  const std::string file = secrets_folder(layout, pod) + "/roots.pem";
  if (const auto known = read_file(file); known && *known == *roots) return {};
  return write_file_atomically(file, *roots, 0644);
}

Result<void> write_secrets(const Layout& layout, const crd::core::Pod& pod) {
  const std::string& account = pod.spec().serviceaccountname();
  const identity::Caller caller{
      .node = pod.spec().nodename(),
      .subject =
          identity::subject_of(pod.metadata().namespace_(), account.empty() ? "default" : account)};
  TRY(make_folders(secrets_folder(layout, pod), 0700));
  const std::string token = TRY(sign_token(layout, caller));
  TRY(write_file_atomically(secrets_folder(layout, pod) + "/token", token, 0600));
  return refresh_roots(layout, pod);
}

}  // namespace weft::sandbox
