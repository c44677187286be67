#pragma once

#include "agent/objects/object.h"
#include "ztunnel/runtime/loop.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace weft::source {

struct Change {
  objects::Key key;
  std::shared_ptr<const objects::Object> object;  // null: deleted
};

// Where objects come from: a folder of manifests, or a Kubernetes API server. Belongs to one loop.
class Source {
 public:
  virtual ~Source() = default;

  // Told in batches; the first batch is everything there is. An object that cannot be read keeps
  // its last good version and is reported by `on_error` ("Kind/ns/name: field: what was expected").
  using OnChange = std::function<void(std::vector<Change>)>;
  using OnError = std::function<void(const Error&)>;
  // Runs until stop().
  virtual runtime::Task<void> watch(OnChange on_change, OnError on_error) = 0;
  virtual void stop() = 0;

  // Sets (or, with an empty value, removes) one annotation of a pod, as a PATCH to an API server
  // would.
  virtual runtime::Task<Result<void>> annotate_pod(std::string ns, std::string name,
                                                   std::string uid, std::string key,
                                                   std::string value) = 0;

  // Tells of trouble with a pod where its owner looks (an Event of type Warning); a folder has no
  // such place.
  virtual runtime::Task<Result<void>> warn_about_pod(std::string, std::string, std::string,
                                                     std::string, std::string) {
    co_return Result<void>();
  }
};

// A folder of manifests (*.yaml, *.yml, *.json; not nested), watched by inotify. Files are read
// whole; whoever writes them renames a finished file into place. Annotations that annotate_pod sets
// are kept in <folder>/.annotations/<ns>.<pod>.<uid>.json and laid over the pod of that uid.
Result<std::unique_ptr<Source>> make_folder_source(runtime::Loop& loop, std::string folder);

// Reads a file or a folder once (weft compile, sandbox apply): all objects, or all errors.
struct ReadOnce {
  std::vector<std::shared_ptr<const objects::Object>> objects;
  std::vector<Error> errors;
};
ReadOnce read_path(const std::string& file_or_folder);

}  // namespace weft::source
