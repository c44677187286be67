#include "agent/compile/l7/backend.h"

#include "agent/compile/service.h"
#include "agent/compile/service_entry.h"

#include <algorithm>
#include <array>

namespace weft::l7 {

namespace {

using Wire = weft::route::Port;

struct Known {
  std::string_view name;  // of a protocol: before the first '-' of a port's name, or alone
  Wire::Protocol protocol;
  bool grpc = false;
};
// Istio's names, and the ones that Kubernetes has for appProtocol.
constexpr Known kProtocols[] = {
    {"http", Wire::HTTP1},
    {"http2", Wire::HTTP2},
    {"grpc", Wire::HTTP2, true},
    {"grpc-web", Wire::HTTP1},
    {"kubernetes.io/h2c", Wire::HTTP2},
    {"kubernetes.io/ws", Wire::HTTP1},
    {"kubernetes.io/wss", Wire::TLS},
    {"https", Wire::TLS},
    {"tls", Wire::TLS},
    {"tcp", Wire::TCP},
    {"mongo", Wire::TCP},
    {"mysql", Wire::TCP},
    {"redis", Wire::TCP},
};

// Servers that speak first, at the ports where they always are: SMTP, DNS, MySQL, MongoDB.
constexpr std::array<uint32_t, 4> kServerFirst = {25, 53, 3306, 27017};

const Known* known_as(std::string_view name) {
  const auto same = [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  };
  for (const Known& known : kProtocols) {
    if (std::ranges::equal(name, known.name, same)) return &known;
  }
  return nullptr;
}

Backend::Port port_of(uint32_t number, const std::string& name, std::string_view protocol) {
  Backend::Port port{.number = number, .name = name};
  const Known* known = known_as(protocol);
  if (known == nullptr && protocol.empty()) {
    const std::string_view text(name);
    known = text.starts_with("grpc-web") ? known_as("grpc-web")
                                         : known_as(text.substr(0, text.find('-')));
  }
  if (known != nullptr) {
    port.protocol = known->protocol;
    port.grpc = known->grpc;
  } else if (std::ranges::find(kServerFirst, number) != kServerFirst.end()) {
    port.protocol = Wire::TCP;
  }
  return port;
}

Backend of_service(const crd::core::Service& service, const compile::MeshConfig& config) {
  Backend backend;
  backend.ns = service.metadata().namespace_();
  backend.hostname = compile::hostname_of(service, config);
  backend.object = service.metadata().name();
  backend.service = &service;
  for (const auto& port : service.spec().ports()) {
    if (!compile::is_tcp(port.protocol())) continue;
    backend.ports.push_back(port_of(port.port(), port.name(), port.appprotocol()));
  }
  return backend;
}

Backend of_entry(const crd::networking::ServiceEntry& entry, const std::string& host) {
  Backend backend;
  backend.ns = entry.metadata().namespace_();
  backend.hostname = host;
  backend.object = entry.metadata().name();
  backend.entry = &entry;
  for (const auto& port : entry.spec().ports()) {
    if (port.protocol() == "UDP") continue;
    backend.ports.push_back(port_of(port.number(), port.name(), port.protocol()));
  }
  return backend;
}

}  // namespace

std::optional<Backend> backend_of(const Name& name, const compile::Store& store,
                                  const compile::MeshConfig& config) {
  const compile::HostOwner owner = compile::owner_of(name.first, name.second, store, config);
  if (owner.service != nullptr) return of_service(*owner.service, config);
  if (owner.entry != nullptr) return of_entry(*owner.entry, name.second);
  return std::nullopt;
}

std::optional<Backend> find_backend(const std::string& host, const std::string& ns,
                                    const compile::Store& store,
                                    const compile::MeshConfig& config) {
  const std::string suffix = ".svc." + config.cluster_domain;
  if (host.ends_with(suffix)) {
    const std::string front = host.substr(0, host.size() - suffix.size());
    const size_t dot = front.find('.');
    if (dot != std::string::npos) {
      if (auto found = backend_of({front.substr(dot + 1), host}, store, config)) return found;
    }
  }
  if (auto own = backend_of({ns, host}, store, config)) return own;
  const auto others = store.namespaces_by_host.find(host);
  if (others == store.namespaces_by_host.end()) return std::nullopt;
  for (const std::string& other : others->second) {
    if (auto found = backend_of({other, host}, store, config)) return found;
  }
  return std::nullopt;
}

std::optional<compile::WaypointName> waypoint_of(const Backend& backend,
                                                 const compile::Store& store) {
  if (backend.service != nullptr) return compile::waypoint_of(*backend.service, store);
  return backend.entry == nullptr ? std::nullopt : compile::waypoint_of(*backend.entry, store);
}

}  // namespace weft::l7
