#include "ztunnel/learn/snapshot.h"

#include "ztunnel/base/file.h"
#include "ztunnel/base/log.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

namespace weft::learn {
namespace {

constexpr std::string_view kMagic = "weft-snapshot 3\n";
constexpr size_t kDigestBytes = 8;  // against damage, not against forgery
constexpr size_t kHeadBytes = sizeof(uint32_t) + kDigestBytes;
constexpr char kBase = 'b';
constexpr char kBaseEnd = 'e';
constexpr char kDelta = 'd';
constexpr std::chrono::milliseconds kForever{3'600'000};
// So much of the loop's time, one part of it, may go into rewriting.
constexpr int kIdleFactor = 20;
constexpr double kJitter = 0.2;

std::string digest_of(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  const bool done =
      EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1;
  CHECK(done);
  return {reinterpret_cast<const char*>(digest.data()), kDigestBytes};
}

// A base, a record at a time. Both types have one, so that an empty one is complete, too.
class BasePieces {
 public:
  explicit BasePieces(const SnapshotContent& content) : content_(content) {}

  std::optional<std::string> next() {
    if (type_ >= kTypes) return std::nullopt;
    const auto& resources = type_ == 0 ? content_.authorizations : content_.addresses;
    DeltaResponse response;
    response.set_type_url(std::string(type_ == 0 ? kAuthorizationType : kAddressType));
    size_t bytes = 0;
    while (at_ < resources.size() && bytes < SnapshotKeeper::kPieceBytes) {
      bytes += resources[at_]->ByteSizeLong();
      *response.add_resources() = *resources[at_++];
    }
    if (at_ == resources.size()) {
      at_ = 0;
      ++type_;
    }
    return encode_record(kBase, response.SerializeAsString());
  }

 private:
  static constexpr int kTypes = 2;
  const SnapshotContent& content_;
  int type_ = 0;
  size_t at_ = 0;
};

// What writers that were killed left beside the file.
void remove_leftovers(const std::string& path) {
  const std::string prefix = std::filesystem::path(path).filename().string() + ".tmp.";
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(path).parent_path(), error)) {
    if (entry.path().filename().string().starts_with(prefix)) {
      std::filesystem::remove(entry.path(), error);
    }
  }
}

// What is left of the bytes, as records.
class Records {
 public:
  struct Record {
    char kind;
    std::string_view message;
  };
  explicit Records(std::string_view bytes) : rest_(bytes) {}

  bool at_end() const { return rest_.empty(); }
  // Nothing: the last one is cut off.
  Result<std::optional<Record>> next() {
    if (rest_.size() < kHeadBytes) return std::optional<Record>();
    uint32_t length = 0;
    std::memcpy(&length, rest_.data(), sizeof length);
    length = ntohl(length);
    if (length > rest_.size() - kHeadBytes) return std::optional<Record>();
    const std::string_view digest = rest_.substr(sizeof length, kDigestBytes);
    const std::string_view payload = rest_.substr(kHeadBytes, length);
    if (payload.empty() || digest != digest_of(payload)) {
      return fail(Code::kInvalid, "the snapshot is damaged: a checksum does not fit");
    }
    rest_.remove_prefix(kHeadBytes + length);
    return std::optional<Record>({payload.front(), payload.substr(1)});
  }

 private:
  std::string_view rest_;
};

Result<DeltaResponse> parse_response(const Records::Record& record) {
  DeltaResponse response;
  const bool good =
      response.ParseFromArray(record.message.data(), static_cast<int>(record.message.size())) &&
      (response.type_url() == kAddressType || response.type_url() == kAuthorizationType) &&
      (record.kind == kDelta || response.removed_resources_size() == 0);
  if (!good) return fail(Code::kInvalid, "the snapshot holds what is not a response of control");
  return response;
}

}  // namespace

std::string encode_record(char kind, std::string_view message) {
  std::string payload(1, kind);
  payload += message;
  const uint32_t length = htonl(static_cast<uint32_t>(payload.size()));
  std::string record(reinterpret_cast<const char*>(&length), sizeof length);
  record += digest_of(payload);
  record += payload;
  return record;
}

std::string encode_snapshot(const SnapshotContent& content) {
  std::string bytes(kMagic);
  BasePieces pieces(content);
  while (const auto piece = pieces.next()) bytes += *piece;
  return bytes + encode_record(kBaseEnd, "");
}

std::string encode_delta(const DeltaResponse& response) {
  return encode_record(kDelta, response.SerializeAsString());
}

Result<std::vector<DeltaResponse>> decode_snapshot(std::string_view bytes) {
  if (!bytes.starts_with(kMagic)) return fail(Code::kInvalid, "not a snapshot of this version");
  Records records(bytes.substr(kMagic.size()));
  std::vector<DeltaResponse> responses;
  bool has_base = false;
  while (!records.at_end()) {
    const auto record = TRY(records.next());
    if (!record) {
      if (has_base) break;
      return fail(Code::kInvalid, "the snapshot is cut off");
    }
    if (record->kind == kBaseEnd && !has_base && record->message.empty()) {
      has_base = true;
    } else if (record->kind == (has_base ? kDelta : kBase)) {
      responses.push_back(TRY(parse_response(*record)));
    } else {
      return fail(Code::kInvalid, "the snapshot has a record where it does not belong");
    }
  }
  const auto has_type = [&responses](std::string_view type) {
    return std::ranges::any_of(responses, [&](const auto& one) { return one.type_url() == type; });
  };
  if (!has_base || !has_type(kAddressType) || !has_type(kAuthorizationType)) {
    return fail(Code::kInvalid, "the snapshot is cut off: it has no complete base");
  }
  return responses;
}

Result<std::vector<DeltaResponse>> read_snapshot(const std::string& path) {
  const std::string bytes = TRY(read_file(path, kSnapshotBytesMax));
  return decode_snapshot(bytes);
}

SnapshotKeeper::SnapshotKeeper(runtime::Loop& loop, std::string path, Source source,
                               runtime::Backoff::Random random)
    : loop_(loop),
      path_(std::move(path)),
      source_(std::move(source)),
      backoff_(kRetryFirst, kRetryMax, kJitter, std::move(random)),
      pause_(loop) {}

void SnapshotKeeper::start() {
  if (std::exchange(started_, true)) return;
  wanted_ = true;
  pause_.wake();
}

runtime::Task<void> SnapshotKeeper::write_first() {
  started_ = true;
  if (!path_.empty()) co_await write_base();
}

void SnapshotKeeper::stop() {
  stopped_ = true;
  pause_.wake();
}

void SnapshotKeeper::append(const DeltaResponse& response) {
  if (path_.empty() || taken_over_) return;
  const std::string record = encode_delta(response);
  if (rewriting_) appended_ += record;
  if (!file_) {
    // Not written yet, or not any more: what lies there is behind.
    unlink(path_.c_str());
    return;
  }
  if (!is_in_place()) return;
  if (base_bytes_ + log_bytes_ + record.size() > kSnapshotBytesMax) {
    return give_up(Error(Code::kLimit, "the configuration and its changes are larger than " +
                                           std::to_string(kSnapshotBytesMax) + " bytes"));
  }
  if (const Result<void> written = write_all(file_, path_, record); !written) {
    return give_up(written.error());
  }
  log_bytes_ += record.size();
  if (!rewriting_ && failure_.empty() && log_bytes_ > std::max(kLogBytesMin, base_bytes_)) {
    wanted_ = true;
    pause_.wake();
  }
}

// Whether the path still names our file. If it names another one, a ztunnel has taken over.
bool SnapshotKeeper::is_in_place() {
  struct stat held{};
  struct stat named{};
  if (fstat(file_.get(), &held) == 0 && held.st_nlink > 0) return true;
  file_.reset();
  if (stat(path_.c_str(), &named) == 0) {
    taken_over_ = true;
    log::info("snapshot").field("file", path_).say("another ztunnel keeps the configuration now");
  } else {
    wanted_ = true;  // somebody removed it
    pause_.wake();
  }
  return false;
}

// The file is of no use from here on: it would bring back what no longer holds.
void SnapshotKeeper::give_up(const Error& error) {
  file_.reset();
  if (unlink(path_.c_str()) != 0 && errno != ENOENT) {
    failed(Error(error).in("and " + path_ + " cannot be removed (" + std::strerror(errno) + ")"));
  } else {
    failed(error);
  }
  wanted_ = true;
  pause_.wake();
}

void SnapshotKeeper::failed(const Error& error) {
  std::string text = path_ + ": " + error.to_string();
  if (text != failure_) {
    log::error("snapshot")
        .field("error", text)
        .say(file_ ? "the configuration on disk cannot be written anew"
                   : "the configuration cannot be kept on disk; a restart without control will "
                     "refuse connections until control is back");
  }
  failure_ = std::move(text);
}

runtime::Task<void> SnapshotKeeper::run() {
  if (path_.empty()) co_return;
  while (!stopped_) {
    if (!wanted_ || taken_over_) {
      co_await pause_.wait(kForever);
      continue;
    }
    // Not within append(), whose caller is about to apply what the base would lack.
    co_await loop_.sleep(std::chrono::milliseconds(0));
    const auto began = std::chrono::steady_clock::now();
    co_await write_base();
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - began);
    if (stopped_) break;
    if (wanted_) {
      co_await pause_.wait(backoff_.next());
    } else if (took > std::chrono::milliseconds(0)) {
      co_await pause_.wait(took * kIdleFactor);
    }
  }
  if (wanted_ && failure_.empty()) co_await write_base();
}

runtime::Task<void> SnapshotKeeper::write_base() {
  wanted_ = false;
  if (taken_over_) co_return;
  rewriting_ = true;
  const Result<void> written = co_await try_base();
  rewriting_ = false;
  appended_ = {};
  if (!written) {
    failed(written.error());
    wanted_ = true;
    co_return;
  }
  backoff_.reset();
  if (!failure_.empty()) log::info("snapshot").say("the configuration is kept on disk again");
  failure_.clear();
}

runtime::Task<Result<void>> SnapshotKeeper::try_base() {
  const SnapshotContent content = source_();
  remove_leftovers(path_);
  std::string beside = path_ + ".tmp.XXXXXX";
  Fd file(mkostemp(beside.data(), O_CLOEXEC));
  if (!file) co_return fail_errno(errno, "making " + beside);
  // By the path that stays the same: a failure that repeats is told once.
  Result<void> written = write_all(file, path_, kMagic);
  base_bytes_ = kMagic.size();
  BasePieces pieces(content);
  for (auto piece = pieces.next(); written && piece; piece = pieces.next()) {
    written = write_all(file, path_, *piece);
    base_bytes_ += piece->size();
    co_await loop_.sleep(std::chrono::milliseconds(0));
  }
  if (written) written = write_all(file, path_, encode_record(kBaseEnd, "") + appended_);
  if (written && file_ && !is_in_place() && taken_over_) {
    unlink(beside.c_str());
    co_return Result<void>{};
  }
  if (written && rename(beside.c_str(), path_.c_str()) != 0) {
    written = fail_errno(errno, "renaming " + beside);
  }
  if (!written) {
    unlink(beside.c_str());
    co_return written;
  }
  log_bytes_ = appended_.size();
  file_ = std::move(file);
  co_return written;
}

}  // namespace weft::learn
