#pragma once

namespace weft::control::kube {

// Who has written, as metadata.managedFields of what control writes says.
constexpr const char* kFieldManager = "weft-control";

// In every namespace of the mesh: what workloads trust control and each other by, as Istio has it.
constexpr const char* kRootConfigMap = "istio-ca-root-cert";
constexpr const char* kRootConfigMapKey = "root-cert.pem";

}  // namespace weft::control::kube
