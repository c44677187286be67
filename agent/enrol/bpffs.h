#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <string>
#include <vector>

namespace weft::enrol {

// A folder of pinned maps and links on a bpffs. What is pinned outlives the agent: that is how
// capture goes on while an agent is restarted or upgraded.
class PinFolder {
 public:
  // Makes `path` (below an existing or new bpffs at `bpffs`; one is mounted where there is none).
  // Names that bpffs reserves (with dots) are written with underscores.
  static Result<PinFolder> open(const std::string& bpffs, const std::string& name);

  std::string path_of(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

  // An invalid Fd where nothing is pinned under that name.
  Result<Fd> get(const std::string& name) const;
  Result<void> pin(int fd, const std::string& name) const;
  Result<void> unpin(const std::string& name) const;  // what is not there is fine
  Result<std::vector<std::string>> names() const;
  // Unpins everything and removes the folder, and the one around it if nothing else is in there.
  Result<void> remove_all() const;

 private:
  explicit PinFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace weft::enrol
