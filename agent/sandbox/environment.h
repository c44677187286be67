#pragma once

#include "proto/crd/core.pb.h"
#include "ztunnel/base/result.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace weft::sandbox {

// What a container executes, resolved from its manifest as a kubelet would. Pure.
struct Execution {
  std::vector<std::string> argv;
  std::vector<std::string> env;  // "NAME=value"
  std::string cwd = "/";
};

using Images = std::map<std::string, std::vector<std::string>>;
// Null: there is no such ConfigMap in the pod's namespace.
using FindConfigMap = std::function<const crd::core::ConfigMap*(const std::string& name)>;

// An image stands for its entry point; `command` replaces it, `args` are put behind. $(NAME) in
// command, args and env values is replaced by the variable; $$( is a plain $(.
// kNotFound: an image that `images` does not know, a ConfigMap or key that is missing (unless
// optional). kUnsupported: secretKeyRef, resourceFieldRef, a fieldPath that is not known.
Result<Execution> resolve_execution(const crd::core::Pod& pod,
                                    const crd::core::Container& container, const Images& images,
                                    const std::string& images_origin,
                                    const FindConfigMap& find_config_map);

// The PATH of every container.
constexpr const char* kContainerPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

}  // namespace weft::sandbox
