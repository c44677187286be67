#include "ztunnel/learn/crl_watch.h"

#include "ztunnel/base/file.h"
#include "ztunnel/base/log.h"

#include <sys/stat.h>

#include <cerrno>

namespace weft::learn {
Result<CrlWatch::Stamp> CrlWatch::stamp() const {
  struct stat status{};
  if (stat(file_.c_str(), &status) != 0) return fail_errno(errno, file_);
  constexpr int64_t kNanos = 1'000'000'000;
  return Stamp{.device = status.st_dev,
               .inode = status.st_ino,
               .size = status.st_size,
               .modified_ns = status.st_mtim.tv_sec * kNanos + status.st_mtim.tv_nsec};
}

Result<void> CrlWatch::load() {
  if (file_.empty()) return {};
  seen_ = TRY(stamp());
  const std::string bytes = TRY(read_file(file_, tls::RevocationList::kBytesMax));
  auto list = tls::RevocationList::parse(bytes);
  if (!list) return Fail(std::move(list.error()).in(file_));
  for (const std::string& issuer : (*list)->stale()) {
    log::warn("tls")
        .field("file", file_)
        .field("issuer", issuer)
        .say("a CRL is past its next update; it is enforced as it stands");
  }
  log::info("tls")
      .field("file", file_)
      .field("revoked", static_cast<int64_t>((*list)->size()))
      .say("CRLs read");
  on_list_(std::move(*list));
  return {};
}

runtime::Task<void> CrlWatch::run() {
  while (!stopped_ && !file_.empty()) {
    co_await pause_.wait(kInterval);
    if (!stopped_) look();
  }
}

void CrlWatch::stop() {
  stopped_ = true;
  pause_.wake();
}

void CrlWatch::look() {
  const auto now = stamp();
  const bool was_missing = std::exchange(missing_, !now);
  if (now && *now == seen_) return;
  if (!now && was_missing) return;
  const Result<void> loaded = now ? load() : Result<void>(Fail(now.error()));
  if (loaded) return;
  log::error("tls")
      .field("file", file_)
      .field("error", loaded.error().to_string())
      .say("the CRLs have changed and are of no use; the last good ones stay in force");
}

}  // namespace weft::learn
