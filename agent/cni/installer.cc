#include "agent/cni/installer.h"

#include "ztunnel/base/file.h"
#include "ztunnel/base/log.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

namespace weft::cni {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTarget = "cni";
constexpr const char* kProgramName = "weft-cni";
constexpr mode_t kProgramMode = 0755;
// For what inotify does not tell: a folder that comes, or was made anew.
constexpr std::chrono::milliseconds kLookPeriod{5'000};
constexpr size_t kProgramBytesMax = 64 << 20;
constexpr size_t kNamesMax = 256;  // a folder of configurations has a handful
constexpr uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB |
                             IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

Result<std::vector<std::string>> names_in(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    if (names.size() == kNamesMax) return fail(Code::kLimit, folder + ": too many files");
    names.push_back(entry->path().filename().string());
  }
  if (error) return fail_errno(error.value(), "reading the folder " + folder);
  return names;
}

}  // namespace

Installer::Installer(runtime::Loop& loop, InstallerConfig config)
    : loop_(loop), config_(std::move(config)) {}

Installer::~Installer() = default;

runtime::Task<void> Installer::run() {
  inotify_.reset(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify_) {
    log::warn(kTarget)
        .field("error", errno_error(errno, "inotify").to_string())
        .say("changes of CNI files are seen late");
  }
  while (!stopped_) {
    watch_folders();  // before the look, so that nothing in between is missed
    drain_events();
    look();
    if (!inotify_) {
      co_await loop_.sleep(kLookPeriod);
      continue;
    }
    const runtime::Deadline deadline(loop_, kLookPeriod, [this] { loop_.cancel(inotify_.get()); });
    co_await loop_.poll(inotify_.get(), POLLIN);
  }
}

void Installer::stop() {
  stopped_ = true;
  if (inotify_) loop_.cancel(inotify_.get());
}

// Again and again: a watch that is there stays as it is.
void Installer::watch_folders() {
  if (!inotify_) return;
  for (const std::string& folder : {config_.conf_dir, config_.bin_dir}) {
    (void)inotify_add_watch(inotify_.get(), folder.c_str(), kEvents);
  }
}

void Installer::drain_events() {
  std::array<char, 16 * 1024> events;
  while (inotify_ && read(inotify_.get(), events.data(), events.size()) > 0) {
  }
}

void Installer::look() {
  const Result<std::string> installed = install();
  if (installed) {
    say(*installed);
  } else {
    say("failed: " + installed.error().to_string());
  }
}

Result<std::string> Installer::install() {
  TRY(install_program());
  const std::vector<std::string> names = TRY(names_in(config_.conf_dir));
  const std::string primary = primary_of(names);
  if (primary.empty()) {
    // Alone ours would make the node look ready without a network.
    TRY(drop_other_chained(names, ""));
    return "waiting: no configuration of a CNI plugin in " + config_.conf_dir + " yet";
  }
  const std::string ours = chained_name(primary);
  const std::string text = TRY(read_file(config_.conf_dir + "/" + primary, kConfFileBytesMax));
  // Half-written, perhaps: what we wrote last stays until it can be read.
  Result<std::string> chained = chained_text(text, config_.entry);
  if (!chained) return Fail(std::move(chained.error()).in(config_.conf_dir + "/" + primary));
  const std::string path = config_.conf_dir + "/" + ours;
  const Result<std::string> present = read_file(path, kConfFileBytesMax);
  if (!present || *present != *chained) {
    TRY(replace_file(path, *chained, 0600, Durable::kYes));
    log::info(kTarget)
        .field("file", path)
        .field("behind", primary)
        .say(present ? "the CNI configuration was repaired"
                     : "weft-cni was put into CNI configuration");
  }
  TRY(drop_other_chained(names, ours));
  return "installed in " + path;
}

// Compared by content, and by its stamp from then on. The stamp is older than the comparison, so
// that what changes meanwhile is seen.
Result<void> Installer::install_program() {
  const std::string path = config_.bin_dir + "/" + kProgramName;
  const std::optional<Stamp> stamp = stamp_of(path);
  if (stamp && stamp == installed_program_) return {};
  const std::string program = TRY(read_file(config_.program, kProgramBytesMax));
  const Result<std::string> there = read_file(path, kProgramBytesMax);
  if (stamp && stamp->mode == kProgramMode && there && *there == program) {
    installed_program_ = stamp;
    return {};
  }
  TRY(replace_file(path, program, kProgramMode, Durable::kYes));
  log::info(kTarget).field("file", path).say("the weft-cni program was installed");
  return {};
}

// Of a primary that has gone or is not the first any more.
Result<void> Installer::drop_other_chained(const std::vector<std::string>& names,
                                           const std::string& keep) {
  for (const std::string& name : names) {
    if (!is_our_name(name) || name == keep) continue;
    const std::string path = config_.conf_dir + "/" + name;
    const Result<std::string> text = read_file(path, kConfFileBytesMax);
    if (!text || !is_chained(*text)) continue;
    TRY(remove_file(path));
    log::info(kTarget).field("file", path).say("CNI configuration of ours was removed");
  }
  return {};
}

Result<void> Installer::remove() {
  const Result<std::vector<std::string>> names = names_in(config_.conf_dir);
  if (names) TRY(drop_other_chained(*names, ""));
  TRY(remove_file(config_.bin_dir + "/" + kProgramName));
  installed_program_.reset();
  say("removed");
  return {};
}

std::optional<Installer::Stamp> Installer::stamp_of(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) return std::nullopt;
  return Stamp{.inode = status.st_ino,
               .mode = status.st_mode & 07777,
               .size = status.st_size,
               .changed_seconds = status.st_ctim.tv_sec,
               .changed_nanoseconds = status.st_ctim.tv_nsec};
}

void Installer::say(const std::string& state) {
  if (state == state_) return;
  state_ = state;
  auto line = state.starts_with("failed") ? log::warn(kTarget) : log::info(kTarget);
  line.field("state", state).say("weft-cni on this node");
}

}  // namespace weft::cni
