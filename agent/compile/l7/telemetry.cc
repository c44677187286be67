#include "agent/compile/l7/telemetry.h"

#include "agent/compile/l7/providers.h"
#include "agent/compile/wire.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace weft::l7 {

namespace {

using Object = crd::telemetry::Telemetry;
using Objects = std::vector<const Object*>;
using Out = weft::telemetry::Telemetry;

bool is_everybodys(const Object& object) {
  const auto& spec = object.spec();
  return !spec.has_selector() && !spec.has_targetref() && spec.targetrefs().empty();
}

bool names(const Object& object, std::string_view kind, const std::string& name) {
  const auto is_it = [&](const crd::policy::TargetReference& target) {
    return target.kind() == kind && target.name() == name;
  };
  return (object.spec().has_targetref() && is_it(object.spec().targetref())) ||
         std::ranges::any_of(object.spec().targetrefs(), is_it);
}

// The oldest decides where there are several; the first by name among those of an age.
template <class Is>
void add_oldest(Objects& found, const std::string& ns, const compile::Store& store, Is is) {
  const Object* oldest = nullptr;
  for (const auto& [name, object] : store.telemetries.in(ns)) {
    if (!is(*object)) continue;
    if (oldest == nullptr ||
        object->metadata().creationtimestamp() < oldest->metadata().creationtimestamp()) {
      oldest = object.get();
    }
  }
  if (oldest != nullptr) found.push_back(oldest);
}

Objects in_force(const compile::WaypointName& waypoint, const Backend* service,
                 const compile::Store& store, const compile::MeshConfig& config) {
  Objects found;
  add_oldest(found, config.root_namespace, store, is_everybodys);
  if (waypoint.ns != config.root_namespace) add_oldest(found, waypoint.ns, store, is_everybodys);
  const bool is_elsewhere =
      service != nullptr && service->ns != waypoint.ns && service->ns != config.root_namespace;
  if (is_elsewhere) add_oldest(found, service->ns, store, is_everybodys);
  add_oldest(found, waypoint.ns, store,
             [&](const Object& object) { return names(object, "Gateway", waypoint.name); });
  if (service == nullptr) return found;
  const char* kind = service->service != nullptr ? "Service" : "ServiceEntry";
  add_oldest(found, service->ns, store,
             [&](const Object& object) { return names(object, kind, service->object); });
  return found;
}

// A waypoint serves: what is only for clients is not for it.
template <class Part>
bool is_for_servers(const Part& part) {
  return part.match().mode() != crd::telemetry::CLIENT;
}

template <class Part>
std::vector<std::string> providers_of(const Part& part) {
  std::vector<std::string> found;
  for (const auto& provider : part.providers()) found.push_back(provider.name());
  return found;
}

void compile_logs(const Objects& objects, const Providers& providers, Out& out) {
  std::vector<std::string> inherited = providers.defaults("accessLogging");
  bool says_something = false;
  std::map<std::string, std::string> filters;  // by provider that logs
  for (const Object* object : objects) {
    for (const auto& one : object->spec().accesslogging()) {
      says_something = true;
      if (!is_for_servers(one)) continue;
      if (one.providers_size() > 0) inherited = providers_of(one);
      for (const std::string& name : inherited) {
        if (one.disabled()) {
          filters.erase(name);
        } else {
          filters[name] = one.filter().expression();
        }
      }
      if (inherited.empty() && one.disabled()) filters.clear();
    }
  }
  if (!says_something) {
    for (const std::string& name : inherited) filters[name] = "";
    if (filters.empty()) {
      if (auto log = providers.mesh_log()) *out.add_access_logs() = std::move(*log);
    }
  }
  for (const auto& [name, filter] : filters) {
    auto log = providers.log(name);
    if (!log) continue;
    log->set_filter(filter);
    *out.add_access_logs() = std::move(*log);
  }
}

// None: it is a metric of connections.
std::optional<std::vector<weft::telemetry::Metrics::Metric>> metrics_meant(
    const crd::telemetry::MetricSelector& selector) {
  using Selector = crd::telemetry::MetricSelector;
  using Metrics = weft::telemetry::Metrics;
  constexpr std::array<std::pair<Selector::Metric, Metrics::Metric>, 6> kRequests{
      {{Selector::REQUEST_COUNT, Metrics::REQUESTS},
       {Selector::REQUEST_DURATION, Metrics::DURATION},
       {Selector::REQUEST_SIZE, Metrics::REQUEST_BYTES},
       {Selector::RESPONSE_SIZE, Metrics::RESPONSE_BYTES},
       {Selector::GRPC_REQUEST_MESSAGES, Metrics::REQUEST_MESSAGES},
       {Selector::GRPC_RESPONSE_MESSAGES, Metrics::RESPONSE_MESSAGES}}};
  constexpr std::array<std::pair<std::string_view, Metrics::Metric>, 6> kByName{
      {{"istio_requests_total", Metrics::REQUESTS},
       {"istio_request_duration_milliseconds", Metrics::DURATION},
       {"istio_request_bytes", Metrics::REQUEST_BYTES},
       {"istio_response_bytes", Metrics::RESPONSE_BYTES},
       {"istio_request_messages_total", Metrics::REQUEST_MESSAGES},
       {"istio_response_messages_total", Metrics::RESPONSE_MESSAGES}}};
  if (selector.has_custommetric()) {
    const auto* found = std::ranges::find(kByName, selector.custommetric(),
                                          [](const auto& one) { return one.first; });
    if (found == kByName.end()) return std::nullopt;
    return std::vector{found->second};
  }
  if (selector.metric() == Selector::ALL_METRICS) return std::vector<Metrics::Metric>();
  const auto* found =
      std::ranges::find(kRequests, selector.metric(), [](const auto& one) { return one.first; });
  if (found == kRequests.end()) return std::nullopt;
  return std::vector{found->second};
}

void add_override(const crd::telemetry::MetricsOverride& one, weft::telemetry::Metrics& out) {
  if (one.match().mode() == crd::telemetry::CLIENT) return;
  const auto metrics = metrics_meant(one.match());
  if (!metrics) return;
  auto& made = *out.add_overrides();
  for (const auto metric : *metrics) made.add_metrics(metric);
  if (one.has_disabled()) made.set_disabled(one.disabled());
  std::map<std::string, const crd::telemetry::TagOverride*> tags;  // in one order
  for (const auto& [name, tag] : one.tagoverrides()) tags[name] = &tag;
  for (const auto& [name, tag] : tags) {
    auto& to = *made.add_tags();
    to.set_name(name);
    if (tag->operation() != crd::telemetry::TagOverride::REMOVE) to.set_value(tag->value());
  }
}

void compile_metrics(const Objects& objects, const Providers& providers, Out& out) {
  const std::vector<std::string> defaults = providers.defaults("metrics");
  const auto scrapes = [&](const std::vector<std::string>& names) {
    return std::ranges::any_of(
        names, [&](const std::string& name) { return providers.is_prometheus(name); });
  };
  bool are_kept = defaults.empty() || scrapes(defaults);
  weft::telemetry::Metrics metrics;
  for (const Object* object : objects) {
    for (const auto& one : object->spec().metrics()) {
      const std::vector<std::string> named = providers_of(one);
      if (!named.empty()) are_kept = scrapes(named);
      if (!are_kept) continue;
      for (const auto& override : one.overrides()) add_override(override, metrics);
    }
  }
  if (are_kept) *out.mutable_metrics() = std::move(metrics);
}

// A literal may hold what looks like an operator.
std::string escaped(const std::string& text) {
  std::string made;
  for (const char c : text) made += c == '%' ? std::string("%%") : std::string(1, c);
  return made;
}

void set_tags(const crd::telemetry::Tracing& from, weft::telemetry::Tracing& to) {
  to.clear_tags();
  std::map<std::string, const crd::telemetry::CustomTag*> tags;
  for (const auto& [name, tag] : from.customtags()) tags[name] = &tag;
  for (const auto& [name, tag] : tags) {
    auto& made = *to.add_tags();
    made.set_name(name);
    if (tag->has_literal()) made.set_format(escaped(tag->literal().value()));
    if (tag->has_formatter()) made.set_format(tag->formatter().value());
    if (tag->has_header()) {
      made.set_format("%REQ(" + tag->header().name() + ")%");
      made.set_default_value(tag->header().defaultvalue());
    }
    if (tag->has_environment()) {
      made.set_format("%ENVIRONMENT(" + tag->environment().name() + ")%");
      made.set_default_value(tag->environment().defaultvalue());
    }
  }
}

void compile_tracing(const Objects& objects, const compile::WaypointName& waypoint,
                     const Providers& providers, Out& out) {
  std::vector<std::string> named = providers.defaults("tracing");
  std::vector<const crd::telemetry::Tracing*> parts;
  for (const Object* object : objects) {
    for (const auto& one : object->spec().tracing()) {
      if (!is_for_servers(one)) continue;
      if (one.providers_size() > 0) named = providers_of(one);
      parts.push_back(&one);
    }
  }
  // Only one is used.
  auto tracing = named.empty() ? providers.mesh_tracing() : providers.tracing(named.front());
  if (!tracing) return;
  tracing->set_sampling_percent(providers.mesh_sampling());
  tracing->set_report(true);
  tracing->set_propagate(true);
  tracing->set_mesh_tags(true);
  tracing->set_service_name(waypoint.name + "." + waypoint.ns);
  for (const auto* one : parts) {
    if (one->has_randomsamplingpercentage()) {
      tracing->set_sampling_percent(one->randomsamplingpercentage());
    }
    if (one->has_disablespanreporting()) tracing->set_report(!one->disablespanreporting());
    if (one->has_disablecontextpropagation()) {
      tracing->set_propagate(!one->disablecontextpropagation());
    }
    if (one->has_enableistiotags()) tracing->set_mesh_tags(one->enableistiotags());
    if (!one->customtags().empty()) set_tags(*one, *tracing);
  }
  *out.mutable_tracing() = std::move(*tracing);
}

// What a waypoint does that was told nothing.
bool is_plain(const Out& telemetry) {
  return telemetry.access_logs().empty() && !telemetry.has_tracing() && telemetry.has_metrics() &&
         telemetry.metrics().overrides().empty();
}

bool are_same(Out service, const Out& waypoint) {
  service.clear_namespace_();
  service.clear_hostname();
  return service.SerializeAsString() == waypoint.SerializeAsString();
}

}  // namespace

Out compile_telemetry(const compile::WaypointName& waypoint, const Backend* service,
                      const compile::Store& store, const compile::MeshConfig& config) {
  const Objects objects = in_force(waypoint, service, store, config);
  const Providers providers(store, config);
  Out out;
  if (service != nullptr) {
    out.set_namespace_(service->ns);
    out.set_hostname(service->hostname);
  }
  compile_logs(objects, providers, out);
  compile_metrics(objects, providers, out);
  compile_tracing(objects, waypoint, providers, out);
  return out;
}

void WaypointTelemetry::bind(const Name& name, const compile::Store& store,
                             const compile::MeshConfig& config) {
  const auto service = backend_of(name, store, config);
  const auto now = service ? waypoint_of(*service, store) : std::nullopt;
  const auto before = waypoints_.find(name);
  if (before != waypoints_.end()) {
    if (now == before->second) return;
    if (--counts_[before->second] == 0) counts_.erase(before->second);
    waypoints_.erase(before);
  }
  if (now) {
    waypoints_.emplace(name, *now);
    ++counts_[*now];
  }
  is_dirty_ = true;
}

bool WaypointTelemetry::has_any(const compile::Store& store,
                                const compile::MeshConfig& config) const {
  return !resources_.empty() || !store.telemetries.all().empty() || config.written != nullptr;
}

// All at once: it is seldom that one of them changes, and where nothing is said nothing is made.
WaypointTelemetry::Changes WaypointTelemetry::compile(const compile::Store& store,
                                                      const compile::MeshConfig& config) {
  for (const Name& name : std::exchange(services_, {})) bind(name, store, config);
  if (!std::exchange(is_dirty_, false) || !has_any(store, config)) return {};
  std::map<std::string, compile::Resource> now;
  std::map<compile::WaypointName, Out> by_waypoint;
  const auto add = [&](const std::string& name, const Out& telemetry) {
    now[name] = compile::to_resource(kTelemetryType, name, telemetry);
  };
  for (const auto& [waypoint, count] : counts_) {
    Out telemetry = compile_telemetry(waypoint, nullptr, store, config);
    if (!is_plain(telemetry)) add(waypoint.to_string() + "/*", telemetry);
    by_waypoint.emplace(waypoint, std::move(telemetry));
  }
  for (const auto& [name, waypoint] : waypoints_) {
    if (store.telemetries.in(name.first).empty()) continue;  // nothing of its own
    const auto service = backend_of(name, store, config);
    if (!service) continue;
    const Out telemetry = compile_telemetry(waypoint, &*service, store, config);
    if (are_same(telemetry, by_waypoint.at(waypoint))) continue;
    add(waypoint.to_string() + "/" + name.first + "/" + name.second, telemetry);
  }
  Changes changes;
  for (const auto& [name, resource] : now) {
    const auto before = resources_.find(name);
    if (before != resources_.end() && before->second.version == resource.version) continue;
    changes.set.push_back(resource);
  }
  for (const auto& [name, resource] : resources_) {
    if (now.contains(name)) continue;
    changes.removed.push_back(
        {.type = kTelemetryType, .name = name, .version = {}, .bytes = {}, .removed = true});
  }
  resources_ = std::move(now);
  return changes;
}

}  // namespace weft::l7
