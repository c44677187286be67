#pragma once

#include "ztunnel/learn/state_builder.h"

#include <string>
#include <string_view>

namespace weft::learn {

// The message in an xDS resource. kInvalid: it is of another type, or is none.
template <class Message>
Result<Message> unpack(const XdsResource& resource, std::string_view type) {
  if (resource.resource().type_url() != type) {
    return fail(Code::kInvalid, "expected a resource of type " + std::string(type) + ", got \"" +
                                    resource.resource().type_url() + "\"");
  }
  Message message;
  if (!message.ParseFromString(resource.resource().value())) {
    return fail(Code::kInvalid, "not a protobuf message of type " + std::string(type));
  }
  return message;
}

}  // namespace weft::learn
