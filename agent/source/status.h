#pragma once

#include "agent/objects/object.h"
#include "ztunnel/base/result.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weft::source {

// One condition of an object's status, as Istio writes them.
struct Condition {
  std::string type;  // "ZtunnelAccepted"
  bool is_true = false;
  std::string reason;   // one word: "Accepted", "UnsupportedValue", "Invalid"
  std::string message;  // for people
  bool operator==(const Condition&) const = default;
};

// Where statuses go: beside a folder of manifests, or to an API server.
class StatusWriter {
 public:
  virtual ~StatusWriter() = default;
  // Keeps an object's conditions; none: it has none, or is gone. Written only where something has
  // changed; lastTransitionTime moves only with a condition's status.
  virtual Result<void> write(const objects::Key& key, const std::vector<Condition>& conditions) = 0;
};

// Keeps them in <folder>/.status/<kind>.<namespace>.<name>.json: the manifests belong to others.
using Clock = std::function<std::chrono::system_clock::time_point()>;
std::unique_ptr<StatusWriter> make_folder_status_writer(
    std::string folder, Clock clock = std::chrono::system_clock::now);

// The object with the status that is kept for it beside the folder; the same where there is none.
std::shared_ptr<const objects::Object> with_status(
    const std::string& folder, const std::shared_ptr<const objects::Object>& object);

}  // namespace weft::source
