#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"
#include "ztunnel/learn/state_builder.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/pause.h"
#include "ztunnel/runtime/sync.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

// The configuration on disk, so that a ztunnel that starts while control is away serves what the
// mesh last looked like. Resources only: never a key or a secret.
//
//   "weft-snapshot 3\n", then records: 4 bytes length in network order | the first 8 bytes of the
//   payload's SHA-256 | payload: a letter and a DeltaDiscoveryResponse
//   'b'  a piece of the base: Authorizations first, then Addresses    'e'  the base is complete
//   'd'  what control has sent since, in order
//
// A change is written before it is put in force, so a ztunnel that is killed at any moment comes
// back with all that was in force. Nothing is synced to the disk, which may take seconds: the page
// cache outlives a process, and after a power cut there are no identities to serve with either.

namespace weft::learn {

// Twice a full mesh of 200 MiB, the limit of one xDS message.
constexpr size_t kSnapshotBytesMax = 512U * 1024 * 1024;

// What is in a base, gathered on the learner's thread.
struct SnapshotContent {
  std::vector<std::shared_ptr<const XdsResource>> authorizations;
  std::vector<std::shared_ptr<const XdsResource>> addresses;
};
std::string encode_snapshot(const SnapshotContent& content);  // a base and nothing more
std::string encode_delta(const DeltaResponse& response);      // one record
std::string encode_record(char kind, std::string_view message);
// The responses to apply, in order. A last record that is cut off is left out: it was being written
// when its writer was killed, and not in force. kInvalid: not a snapshot of this version, without a
// complete base, or damaged.
Result<std::vector<DeltaResponse>> decode_snapshot(std::string_view bytes);

// kNotFound where there is none.
Result<std::vector<DeltaResponse>> read_snapshot(const std::string& path);

// Keeps the file. Where it cannot follow (a disk that is full), the file is removed: a restart
// without control then waits, rather than serve what no longer holds; and it is tried again.
//
// A ztunnel that takes over replaces the file by its own; the one before it then keeps nothing
// more. Belongs to the learner's thread.
class SnapshotKeeper {
 public:
  using Source = std::function<SnapshotContent()>;
  // What has been appended since the last base may be as long as the base, and this at least:
  // rewriting costs as much as all that was appended did.
  static constexpr size_t kLogBytesMin = 1024 * 1024;
  // A large base is written in pieces, so that the loop serves others in between.
  static constexpr size_t kPieceBytes = 256 * 1024;
  static constexpr std::chrono::milliseconds kRetryFirst{500};
  static constexpr std::chrono::milliseconds kRetryMax{30'000};

  SnapshotKeeper(runtime::Loop& loop, std::string path, Source source,
                 runtime::Backoff::Random random);

  // Makes the file ours, with all that source() gives; the rest is of no effect before. At a start
  // from a snapshot that was restored, before anything new is learned; else, by start(), once there
  // is a complete configuration.
  runtime::Task<void> write_first();
  void start();
  // Before the response is applied.
  void append(const DeltaResponse& response);
  runtime::Task<void> run();  // until stop()
  void stop();
  // Why the configuration is not kept at present; empty: it is, or was not to be.
  const std::string& failure() const { return failure_; }

 private:
  runtime::Task<void> write_base();
  runtime::Task<Result<void>> try_base();
  bool is_in_place();
  void failed(const Error& error);
  void give_up(const Error& error);

  runtime::Loop& loop_;
  std::string path_;
  Source source_;
  runtime::Backoff backoff_;
  Fd file_;  // in place, ours, and with all that is in force
  size_t base_bytes_ = 0;
  size_t log_bytes_ = 0;
  bool started_ = false;
  bool wanted_ = false;     // a new base
  bool rewriting_ = false;  // then what is appended goes into the new file, too
  std::string appended_;
  bool taken_over_ = false;
  bool stopped_ = false;
  std::string failure_;
  runtime::Pause pause_;
};

}  // namespace weft::learn
