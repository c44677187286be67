#pragma once

#include "agent/sandbox/services.h"

#include <memory>
#include <string>
#include <vector>

// Objects for the sandbox's tests, written as manifests.

namespace weft::sandbox {

// The objects of a manifest; the test fails where it is not a good one.
std::vector<ObjectPtr> parse(const std::string& yaml);
// The only object of a manifest, as its own type.
template <class T>
std::shared_ptr<const T> parse_one(const std::string& yaml) {
  const ObjectPtr object = parse(yaml).at(0);
  return {object, object->as<T>()};
}

struct PodSample {
  std::string name = "p";
  std::string ns = "default";
  std::string app = "web";
  std::string node = {};
  std::string ip = {};
  bool ready = true;
  std::string owner_uid = {};
  std::string hash = {};
};
std::shared_ptr<crd::core::Pod> make_pod(const PodSample& sample);

}  // namespace weft::sandbox
