#pragma once

#include "proto/authorization.pb.h"
#include "proto/workload.pb.h"
#include "ztunnel/learn/state_builder.h"

#include <google/protobuf/text_format.h>

#include <stdexcept>
#include <string>

// Resources and responses from protobuf text, as control would send them.

namespace weft::learn::testing {

template <class Message>
Message message(const std::string& text) {
  Message result;
  if (!google::protobuf::TextFormat::ParseFromString(text, &result)) {
    throw std::invalid_argument(text);
  }
  return result;
}

inline void add(DeltaResponse& response, const std::string& name, const std::string& version,
                const google::protobuf::Message& content) {
  XdsResource& resource = *response.add_resources();
  resource.set_name(name);
  resource.set_version(version);
  resource.mutable_resource()->set_type_url(response.type_url());
  resource.mutable_resource()->set_value(content.SerializeAsString());
}

inline DeltaResponse addresses() {
  DeltaResponse response;
  response.set_type_url(std::string(kAddressType));
  return response;
}

inline DeltaResponse authorizations() {
  DeltaResponse response;
  response.set_type_url(std::string(kAuthorizationType));
  return response;
}

inline std::string pod_uid(const std::string& name, const std::string& ns = "shop") {
  return "Kubernetes//Pod/" + ns + "/" + name;
}

// `last`: of the address 10.0.0.<last>.
inline void add_pod(DeltaResponse& response, const std::string& name, char last,
                    const std::string& more = "", const std::string& version = "1") {
  auto address = message<istio::workload::Address>(
      "workload { name: '" + name + "' namespace: 'shop' node: 'node-a' cluster_id: 'Kubernetes' " +
      "service_account: 'sa-" + name + "' tunnel_protocol: HBONE " + more + " }");
  address.mutable_workload()->set_uid(pod_uid(name));
  if (last != 0) address.mutable_workload()->add_addresses(std::string("\x0a\0\0", 3) + last);
  add(response, pod_uid(name), version, address);
}

inline void add_service(DeltaResponse& response, const std::string& name, char last,
                        const std::string& more = "", const std::string& version = "1") {
  auto address = message<istio::workload::Address>("service { name: '" + name +
                                                   "' namespace: 'shop' hostname: '" + name +
                                                   ".shop.svc.cluster.local' " + more + " }");
  address.mutable_service()->add_addresses()->set_address(std::string("\x0a\x60\0", 3) + last);
  add(response, "shop/" + name + ".shop.svc.cluster.local", version, address);
}

inline void add_policy(DeltaResponse& response, const std::string& name, const std::string& more,
                       const std::string& version = "1", const std::string& ns = "shop") {
  add(response, ns + "/" + name, version,
      message<istio::security::Authorization>("name: '" + name + "' namespace: '" + ns + "' " +
                                              more));
}

}  // namespace weft::learn::testing
