#include "agent/source/folder_state.h"
#include "agent/source/source.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/base/log.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <set>

namespace weft::source {

namespace {

constexpr uint32_t kFileEvents =
    IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR;
constexpr const char* kOverlayFolder = ".annotations";

// What one read of the inotify descriptor told, with every name once.
struct Told {
  std::set<std::string> names;
  std::set<std::string> overlay_names;
  bool all = false;   // events were lost, or a folder came: look at everything
  bool gone = false;  // the folder itself
};

// Watches the folder and, as soon as it is there, its folder of overlays. The watch is set before
// the first look, so nothing that changes meanwhile is missed.
class FolderSource final : public Source {
 public:
  FolderSource(runtime::Loop& loop, std::string folder, Fd inotify, int folder_watch)
      : loop_(loop),
        folder_(std::move(folder)),
        inotify_(std::move(inotify)),
        folder_watch_(folder_watch),
        state_(folder_) {}

  runtime::Task<void> watch(OnChange on_change, OnError on_error) override {
    watch_overlays();
    state_.rescan();
    report_errors(on_error);
    on_change(state_.take_changes());
    while (!stopped_) {
      const int ready = co_await loop_.poll(inotify_.get(), POLLIN);
      if (stopped_ || ready == -ECANCELED) break;
      if (ready < 0) {
        on_error(errno_error(-ready, "watching " + folder_));
        break;
      }
      look_again(read_events(), on_error);
      report_errors(on_error);
      std::vector<Change> changes = state_.take_changes();
      if (!changes.empty()) on_change(std::move(changes));
    }
  }

  void stop() override {
    stopped_ = true;
    loop_.cancel(inotify_.get());
  }

  runtime::Task<Result<void>> annotate_pod(std::string ns, std::string name, std::string uid,
                                           std::string key, std::string value) override {
    Overlay overlay = CO_TRY(state_.load_overlay(ns, name, uid));
    if (value.empty()) {
      overlay.annotations[key] = std::nullopt;
    } else {
      overlay.annotations[key] = std::move(value);
    }
    co_return state_.store_overlay(overlay);
  }

 private:
  void watch_overlays() {
    const int watch =
        ::inotify_add_watch(inotify_.get(), state_.overlay_folder().c_str(), kFileEvents);
    if (watch >= 0) overlay_watch_ = watch;
  }

  void look_again(const Told& told, const OnError& on_error) {
    if (told.gone) {
      on_error(Error(Code::kNotFound, folder_ + ": the folder was removed; what it held last stays "
                                                "in force until a restart"));
      return;
    }
    if (told.all) {
      watch_overlays();
      state_.rescan();
      return;
    }
    for (const std::string& name : told.names) state_.refresh(name);
    for (const std::string& name : told.overlay_names) state_.refresh_overlay(name);
  }

  Told read_events() {
    Told told;
    alignas(inotify_event) char buffer[64 * 1024];
    while (true) {
      const ssize_t got = ::read(inotify_.get(), buffer, sizeof buffer);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return told;
      for (ssize_t at = 0; at < got;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        note(*event, told);
      }
    }
  }

  void note(const inotify_event& event, Told& told) const {
    if ((event.mask & IN_Q_OVERFLOW) != 0) {
      log::warn("source").field("folder", folder_).say("events were lost, reading it again");
      told.all = true;
    } else if (event.wd == folder_watch_) {
      if ((event.mask & (IN_DELETE_SELF | IN_MOVE_SELF)) != 0) told.gone = true;
      if (event.len == 0) return;
      if (std::string_view(event.name) == kOverlayFolder) told.all = true;
      if ((event.mask & IN_CREATE) == 0) told.names.insert(event.name);
    } else if (event.len > 0) {
      told.overlay_names.insert(event.name);
    }
  }

  void report_errors(const OnError& on_error) {
    for (const Error& error : state_.take_errors()) on_error(error);
  }

  runtime::Loop& loop_;
  std::string folder_;
  Fd inotify_;
  int folder_watch_;
  int overlay_watch_ = -1;
  FolderState state_;
  bool stopped_ = false;
};

}  // namespace

Result<std::unique_ptr<Source>> make_folder_source(runtime::Loop& loop, std::string folder) {
  Fd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify) return fail_errno(errno, "inotify_init1");
  // IN_CREATE tells of the overlay folder; files count once they are closed or renamed.
  const int watch = ::inotify_add_watch(inotify.get(), folder.c_str(),
                                        kFileEvents | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF);
  if (watch < 0) return fail_errno(errno, "watching the folder of objects " + folder);
  return std::make_unique<FolderSource>(loop, std::move(folder), std::move(inotify), watch);
}

}  // namespace weft::source
