#include "ztunnel/learn/crl_watch.h"

#include "ztunnel/base/fd.h"
#include "ztunnel/base/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace weft::learn {
namespace {

Result<std::string> read_all(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail_errno(errno, "opening " + path);
  std::string bytes;
  char piece[64 * 1024];
  while (true) {
    const ssize_t got = read(file.get(), piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "reading " + path);
    if (got == 0) return bytes;
    bytes.append(piece, static_cast<size_t>(got));
    if (bytes.size() > tls::RevocationList::kBytesMax) return bytes;  // parse() says what is wrong
  }
}

}  // namespace

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
  const std::string bytes = TRY(read_all(file_));
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
