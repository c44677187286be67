#pragma once

#include "agent/source/overlay.h"
#include "agent/source/source.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace weft::source {

// What a folder holds and what of it has been told: files in, changes out. Reads the files that it
// is told of; waits for nothing. A file that cannot be read keeps what it held when it last could;
// of one that never could, stand-ins for its policies are in force (objects::security_of).
class FolderState {
 public:
  explicit FolderState(std::string folder) : folder_(std::move(folder)) {}

  // Looks at one file, at one overlay (names without folders), or at everything.
  void refresh(const std::string& name);
  void refresh_overlay(const std::string& name);
  void rescan();

  // Since the last call: what changed, in the order of keys, and what went wrong.
  std::vector<Change> take_changes();
  std::vector<Error> take_errors() { return std::exchange(errors_, {}); }

  // The overlay of a pod as it is on disk now; empty where there is none.
  Result<Overlay> load_overlay(const std::string& ns, const std::string& name,
                               const std::string& uid) const;
  Result<void> store_overlay(const Overlay& overlay);
  std::string overlay_folder() const { return folder_ + "/.annotations"; }

 private:
  using ObjectPtr = std::shared_ptr<const objects::Object>;
  struct File {
    std::string text;  // as last read, also where it was malformed
    std::map<objects::Key, ObjectPtr> objects;
    bool was_good = false;  // as a whole, since this process has known it
  };

  void forget_file(const std::string& name);
  void replace_objects(const std::string& name, File& file,
                       std::map<objects::Key, ObjectPtr> fresh);
  ObjectPtr effective(const objects::Key& key);
  void remove_own_overlays(const objects::Key& pod, const std::string& uid_that_stays);

  std::string folder_;
  std::map<std::string, File> files_;
  // Which files hold an object; the first by name counts.
  std::map<objects::Key, std::map<std::string, ObjectPtr>> holders_;
  std::map<std::string, Overlay> overlays_;  // by file name
  std::map<objects::Key, std::set<std::string>> overlays_of_;
  std::set<std::string> own_overlays_;  // that this process wrote, and so takes away again
  std::map<objects::Key, ObjectPtr> told_;
  std::set<objects::Key> dirty_;
  std::vector<Error> errors_;
};

}  // namespace weft::source
