#pragma once

#include "proto/crd/core.pb.h"
#include "ztunnel/base/result.h"

#include <google/protobuf/message.h>

#include <compare>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weft::objects {

// Names one object. Kind is the API's ("Pod", "AuthorizationPolicy"); `ns` is empty for kinds
// without a namespace.
struct Key {
  std::string kind;
  std::string ns;
  std::string name;
  std::string to_string() const;  // "kind/ns/name", as error messages say it
  auto operator<=>(const Key&) const = default;
};

// One Kubernetes object, parsed and validated: what was written, with defaults not filled in.
// Immutable and shared. `message` is the kind's protobuf message (weft.crd.core.Pod, ...); every
// one of them has the field `metadata`.
class Object {
 public:
  Object(std::string api_version, std::string kind,
         std::shared_ptr<const google::protobuf::Message> message);

  const std::string& api_version() const { return api_version_; }
  const std::string& kind() const { return kind_; }
  const weft::crd::core::ObjectMeta& metadata() const { return *metadata_; }
  Key key() const;
  const google::protobuf::Message& message() const { return *message_; }
  // The message as its own type; null where the object is of another kind.
  template <class T>
  const T* as() const {
    return message_->GetDescriptor() == T::descriptor() ? static_cast<const T*>(message_.get())
                                                        : nullptr;
  }

 private:
  std::string api_version_;
  std::string kind_;
  std::shared_ptr<const google::protobuf::Message> message_;
  const weft::crd::core::ObjectMeta* metadata_;
};

// Parses one file's text (YAML with any number of documents, or JSON). `origin` (a path) is for
// messages that cannot name an object. On a mistake: every one that was found, each as
// "Kind/ns/name: field.path: what was expected".
struct Parsed {
  std::vector<std::shared_ptr<const Object>> objects;
  std::vector<Error> errors;
};
Parsed parse_manifests(std::string_view text, std::string_view origin);

// One document as JSON text, the way an API server would send it. Fields that are unset are left
// out.
std::string to_json(const Object& object);
// The same as YAML, for `weft sandbox get -o yaml`.
std::string to_yaml(const Object& object);

}  // namespace weft::objects
