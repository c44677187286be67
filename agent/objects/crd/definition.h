#pragma once

#include "agent/objects/tree.h"

#include <google/protobuf/descriptor.h>

namespace weft::objects {

// The CustomResourceDefinition (apiextensions.k8s.io/v1) of a message that carries
// weft.crd.KindRules, as `kubectl apply` takes it: names, versions, columns, and the structural
// schema of `spec` and `status`. Every version has the same schema; the newest is stored.
// Descriptions are the comments in the proto files, where the descriptor's pool was built with them
// (protoc --include_source_info).
Tree custom_resource_definition(const google::protobuf::Descriptor& kind);

// The OpenAPI v3 schema of a message, structural as the API server requires: types, what
// weft.crd.FieldRules and MessageRules say, at most one field of each oneof.
Tree schema_of(const google::protobuf::Descriptor& message);

}  // namespace weft::objects
