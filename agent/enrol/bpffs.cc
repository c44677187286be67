#include "agent/enrol/bpffs.h"

#include <bpf/bpf.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

namespace weft::enrol {
namespace {

Result<void> make_folder(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return {};
  return fail_errno(errno, "making the folder " + path);
}

Result<bool> is_bpffs(const std::string& path) {
  struct statfs status{};
  if (statfs(path.c_str(), &status) != 0) return fail_errno(errno, "looking at " + path);
  return status.f_type == BPF_FS_MAGIC;
}

Result<void> require_bpffs(const std::string& path) {
  TRY(make_folder(path, 0700));
  if (TRY(is_bpffs(path))) return {};
  if (mount("bpf", path.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") == 0) {
    return {};
  }
  const std::string what = path + " is no bpffs and none could be mounted there";
  return fail_errno(errno, errno == EPERM ? what + " (that needs root)" : what);
}

}  // namespace

Result<PinFolder> PinFolder::open(const std::string& bpffs, const std::string& name) {
  TRY(require_bpffs(bpffs));
  std::string safe = name;
  std::ranges::replace(safe, '.', '_');
  if (safe.empty() || safe.find('/') != std::string::npos) {
    return fail(Code::kInvalid, "\"" + name + "\" cannot name a folder of pins");
  }
  PinFolder folder(bpffs + "/" + safe);
  TRY(make_folder(folder.path(), 0700));
  return folder;
}

Result<Fd> PinFolder::get(const std::string& name) const {
  Fd fd(bpf_obj_get(path_of(name).c_str()));
  if (fd || errno == ENOENT) return fd;
  return fail_errno(errno, "opening the pin " + path_of(name));
}

Result<void> PinFolder::pin(int fd, const std::string& name) const {
  if (bpf_obj_pin(fd, path_of(name).c_str()) == 0) return {};
  return fail_errno(errno, "pinning " + path_of(name));
}

Result<void> PinFolder::unpin(const std::string& name) const {
  if (unlink(path_of(name).c_str()) == 0 || errno == ENOENT) return {};
  return fail_errno(errno, "removing the pin " + path_of(name));
}

Result<std::vector<std::string>> PinFolder::names() const {
  std::error_code error;
  std::vector<std::string> found;
  std::filesystem::directory_iterator entry(path_, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    found.push_back(entry->path().filename().string());
  }
  if (error) return fail_errno(error.value(), "reading the folder " + path_);
  return found;
}

Result<void> PinFolder::remove_all() const {
  const std::vector<std::string> pinned = TRY(names());
  for (const std::string& name : pinned) TRY(unpin(name));
  if (rmdir(path_.c_str()) != 0 && errno != ENOENT) {
    return fail_errno(errno, "removing the folder " + path_);
  }
  rmdir(path_.substr(0, path_.rfind('/')).c_str());  // stays where others have pins there
  return {};
}

}  // namespace weft::enrol
