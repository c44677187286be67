#include "ztunnel/learn/snapshot.h"

#include "ztunnel/base/fd.h"
#include "ztunnel/base/log.h"
#include "ztunnel/learn/pause.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace weft::learn {
namespace {

constexpr std::string_view kMagic = "weft-snapshot 1\n";
constexpr size_t kDigestBytes = 32;
constexpr size_t kPieceBytes = 256 * 1024;  // well below a millisecond into the page cache

std::string digest_of(std::string_view bytes) {
  std::string digest(kDigestBytes, '\0');
  unsigned int length = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()),
                 &length, EVP_sha256(), nullptr) != 1) {
    digest.clear();
  }
  return digest;
}

bool append(std::string& body, std::string_view type,
            const std::vector<std::shared_ptr<const XdsResource>>& resources) {
  DeltaResponse response;
  response.set_type_url(std::string(type));
  for (const auto& resource : resources) *response.add_resources() = *resource;
  const size_t length = response.ByteSizeLong();
  if (length > kSnapshotBytesMax - body.size()) return false;
  const uint32_t prefix = htonl(static_cast<uint32_t>(length));
  body.append(reinterpret_cast<const char*>(&prefix), sizeof prefix);
  return response.AppendToString(&body);
}

Result<std::string> read_file(const std::string& path, size_t bytes_max) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail_errno(errno, "opening " + path);
  struct stat status{};
  if (fstat(file.get(), &status) != 0) return fail_errno(errno, "reading " + path);
  if (!S_ISREG(status.st_mode) || static_cast<uint64_t>(status.st_size) > bytes_max) {
    return fail(Code::kInvalid,
                path + " is not a file of at most " + std::to_string(bytes_max) + " bytes");
  }
  std::string bytes(static_cast<size_t>(status.st_size), '\0');
  size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got = read(file.get(), bytes.data() + have, bytes.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "reading " + path);
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(errno, "writing");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

}  // namespace

Result<std::string> encode_snapshot(const SnapshotContent& content) {
  std::string body;
  if (!append(body, kAuthorizationType, content.authorizations) ||
      !append(body, kAddressType, content.addresses)) {
    return fail(Code::kLimit,
                "the configuration is larger than " + std::to_string(kSnapshotBytesMax) + " bytes");
  }
  const std::string digest = digest_of(body);
  if (digest.empty()) return fail(Code::kInternal, "SHA-256 failed");
  return std::string(kMagic) + digest + body;
}

Result<std::vector<DeltaResponse>> decode_snapshot(std::string_view bytes) {
  if (!bytes.starts_with(kMagic)) {
    return fail(Code::kInvalid, "not a snapshot of this version");
  }
  bytes.remove_prefix(kMagic.size());
  if (bytes.size() < kDigestBytes) return fail(Code::kInvalid, "the snapshot is cut off");
  const std::string_view digest = bytes.substr(0, kDigestBytes);
  bytes.remove_prefix(kDigestBytes);
  if (digest != digest_of(bytes)) {
    return fail(Code::kInvalid, "the snapshot is damaged: its checksum does not fit");
  }
  std::vector<DeltaResponse> responses;
  for (const std::string_view type : {kAuthorizationType, kAddressType}) {
    uint32_t length = 0;
    if (bytes.size() < sizeof length) return fail(Code::kInvalid, "the snapshot is cut off");
    std::memcpy(&length, bytes.data(), sizeof length);
    bytes.remove_prefix(sizeof length);
    length = ntohl(length);
    if (length > bytes.size()) return fail(Code::kInvalid, "the snapshot is cut off");
    DeltaResponse& response = responses.emplace_back();
    if (!response.ParseFromArray(bytes.data(), static_cast<int>(length)) ||
        response.type_url() != type || response.removed_resources_size() != 0) {
      return fail(Code::kInvalid, "the snapshot does not hold " + std::string(type));
    }
    bytes.remove_prefix(length);
  }
  if (!bytes.empty()) return fail(Code::kInvalid, "the snapshot goes on behind its end");
  return responses;
}

Result<std::vector<DeltaResponse>> read_snapshot(const std::string& path) {
  const std::string bytes = TRY(read_file(path, kSnapshotBytesMax + 4096));
  return decode_snapshot(bytes);
}

runtime::Task<Result<void>> write_snapshot(runtime::Loop& loop, std::string path,
                                           SnapshotContent content) {
  const std::string bytes = CO_TRY(encode_snapshot(content));
  const std::string beside = path + ".tmp";
  const Fd file(open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file) co_return fail_errno(errno, "opening " + beside);
  Result<void> written;
  for (size_t at = 0; written && at < bytes.size(); at += kPieceBytes) {
    written = write_all(file.get(), std::string_view(bytes).substr(at, kPieceBytes));
    co_await loop.sleep(std::chrono::milliseconds(0));
  }
  if (written && rename(beside.c_str(), path.c_str()) != 0) {
    written = fail_errno(errno, "renaming " + beside);
  }
  if (!written) unlink(beside.c_str());
  co_return written;
}

SnapshotKeeper::SnapshotKeeper(runtime::Loop& loop, std::string path, Source source,
                               std::chrono::milliseconds interval)
    : loop_(loop),
      path_(std::move(path)),
      source_(std::move(source)),
      interval_(interval),
      pause_(loop) {}

void SnapshotKeeper::changed() {
  dirty_ = true;
  changed_.wake();
}

void SnapshotKeeper::stop() {
  stopped_ = true;
  changed_.wake();
  pause_.wake();
}

runtime::Task<void> SnapshotKeeper::run() {
  if (path_.empty()) co_return;
  while (!stopped_) {
    if (!dirty_) {
      co_await changed_.wait();
      continue;
    }
    if (!stopped_) co_await pause_.wait(kQuiet);
    const auto began = std::chrono::steady_clock::now();
    co_await write();
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - began);
    if (!stopped_) co_await pause_.wait(std::max(interval_, took * kIdleFactor));
  }
  if (dirty_) co_await write();
}

runtime::Task<void> SnapshotKeeper::write() {
  dirty_ = false;
  const Result<void> written = co_await write_snapshot(loop_, path_, source_());
  if (!written) {
    log::warn("snapshot")
        .field("file", path_)
        .field("error", written.error().to_string())
        .say("the configuration could not be kept; a restart without control will not know it");
  }
}

}  // namespace weft::learn
