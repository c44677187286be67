#pragma once

#include "agent/objects/object.h"
#include "ztunnel/base/result.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace weft::source {

// What annotate_pod has set on one pod, kept in a file of its own: the manifests belong to others.
struct Overlay {
  // A cluster's pod has a handful of annotations set by agents; more is a mistake.
  static constexpr size_t kAnnotationsMax = 64;

  std::string ns;
  std::string name;
  std::string uid;
  // No value: the annotation is taken away where the manifest has it.
  std::map<std::string, std::optional<std::string>> annotations;

  // kInvalid where a part cannot be part of a file's name, or holds nothing.
  static Result<Overlay> for_pod(std::string ns, std::string name, std::string uid);
  static Result<Overlay> parse(std::string_view json);
  std::string to_json() const;
  std::string file_name() const;  // "<ns>.<pod>.<uid>.json"

  // The pod with these annotations; the same object where the overlay is for a pod of another uid.
  std::shared_ptr<const objects::Object> lay_over(
      const std::shared_ptr<const objects::Object>& pod) const;
};

}  // namespace weft::source
