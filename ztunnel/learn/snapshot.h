#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/learn/pause.h"
#include "ztunnel/learn/state_builder.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

// The last configuration on disk, so that a ztunnel that starts while control is away serves what
// the mesh last looked like. Resources only: never a key or a secret.
//
//   "weft-snapshot 1\n" | SHA-256 of the rest (32 bytes) | DeltaDiscoveryResponse, twice:
//   4 bytes length in network order, then the message; Authorizations first

namespace weft::learn {

// A full mesh of 200 MiB a type (the limit of one xDS message) fits.
constexpr size_t kSnapshotBytesMax = 512U * 1024 * 1024;

// What is in a snapshot, gathered on the learner's thread and serialized on any.
struct SnapshotContent {
  std::vector<std::shared_ptr<const XdsResource>> authorizations;
  std::vector<std::shared_ptr<const XdsResource>> addresses;
};
Result<std::string> encode_snapshot(const SnapshotContent& content);
// kInvalid: not a snapshot of this version, or damaged.
Result<std::vector<DeltaResponse>> decode_snapshot(std::string_view bytes);

// kNotFound where there is none.
Result<std::vector<DeltaResponse>> read_snapshot(const std::string& path);
// Writes beside `path` and renames, so that a crash leaves the old file or the new one; piece by
// piece, so that the loop serves others in between. Not synced to the disk, which may take seconds:
// what a power cut leaves half written its checksum gives away.
runtime::Task<Result<void>> write_snapshot(runtime::Loop& loop, std::string path,
                                           SnapshotContent content);

// Writes a snapshot soon after changes; one write at a time. Belongs to the learner's thread.
class SnapshotKeeper {
 public:
  using Source = std::function<SnapshotContent()>;
  // What control sends together (a policy, then the workloads that name it) is kept together.
  static constexpr std::chrono::milliseconds kQuiet{20};
  // Between two writes: what a crash without control can forget is this much. A write that takes
  // long (a large mesh) is made more seldom, so that it costs a twentieth of the loop's time at
  // most.
  static constexpr std::chrono::milliseconds kInterval{100};
  static constexpr int kIdleFactor = 20;

  SnapshotKeeper(runtime::Loop& loop, std::string path, Source source,
                 std::chrono::milliseconds interval = kInterval);

  void changed();             // something new is to be kept
  runtime::Task<void> run();  // until stop(), behind which what is new is still written
  void stop();

 private:
  runtime::Task<void> write();

  runtime::Loop& loop_;
  std::string path_;
  Source source_;
  std::chrono::milliseconds interval_;
  bool dirty_ = false;
  bool stopped_ = false;
  runtime::Event changed_;
  Pause pause_;
};

}  // namespace weft::learn
