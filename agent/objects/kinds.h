#pragma once

#include "agent/objects/report.h"

#include <google/protobuf/message.h>

#include <string>
#include <string_view>
#include <vector>

namespace weft::objects {

// What is known of a kind. Every kind that an ordinary mesh manifest holds is known; those that
// nothing reads yet have the message weft.crd.opaque.Opaque.
struct Kind {
  std::string_view name;
  std::string_view group;                  // empty: the core API
  std::vector<std::string_view> versions;  // newest first
  bool namespaced = true;
  const google::protobuf::Message* prototype = nullptr;
  // What the fields' types cannot say; null: nothing. The message's type is the prototype's.
  void (*validate)(const google::protobuf::Message& message, Report& report) = nullptr;
  // The name in a Key where two groups have a kind of this name: "Gateway.networking.istio.io".
  std::string_view key_name;

  std::string api_version(std::string_view version) const;
};

const std::vector<Kind>& kinds();

// The kind of an apiVersion and a kind's name, or why there is none: the kind is not known, or not
// in this group or version (then which are).
Result<const Kind*> find_kind(std::string_view api_version, std::string_view name);

}  // namespace weft::objects
