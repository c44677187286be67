#pragma once

#include "ztunnel/runtime/pause.h"
#include "ztunnel/tls/revocation.h"

#include <functional>
#include <memory>
#include <string>

namespace weft::learn {

// Follows the file of CRLs: at the start it must be good, later a bad one changes nothing. Looks at
// it every kInterval (a Secret is replaced by swapping links above it), and reads it where it is
// another file or has another time or size. Belongs to the learner's thread.
class CrlWatch {
 public:
  static constexpr std::chrono::milliseconds kInterval{1'000};
  using List = std::shared_ptr<const tls::RevocationList>;

  CrlWatch(runtime::Loop& loop, std::string file, std::function<void(List)> on_list)
      : file_(std::move(file)), on_list_(std::move(on_list)), pause_(loop) {}

  // Tells the first list; the error names the file and what is wrong with it.
  Result<void> load();
  runtime::Task<void> run();  // until stop(); returns at once where there is no file to follow
  void stop();
  void look();

 private:
  // What tells one version of the file from another.
  struct Stamp {
    uint64_t device = 0;
    uint64_t inode = 0;
    int64_t size = 0;
    int64_t modified_ns = 0;
    bool operator==(const Stamp&) const = default;
  };
  Result<Stamp> stamp() const;

  std::string file_;  // empty: no CRLs are kept
  std::function<void(List)> on_list_;
  runtime::Pause pause_;
  Stamp seen_;
  bool missing_ = false;
  bool stopped_ = false;
};

}  // namespace weft::learn
