#pragma once

#include <google/protobuf/descriptor.h>

#include <string_view>

// Which fields of an object that an API server sent are read by anybody. Internal to the room.

namespace weft::objects {

// False: the field takes no memory. Fields of type google.protobuf.Value are there for the reader
// of manifests, which refuses what it does not know; nothing looks at them but at those named here.
bool is_read(const google::protobuf::FieldDescriptor& field);

// The annotations that this mesh, or Istio, gives a meaning, and what tells of a static pod.
bool is_read_annotation(std::string_view key);

}  // namespace weft::objects
