#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"
#include "ztunnel/runtime/task.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace weft::runtime {

class SocketStream;

struct Pipe {
  Fd read_end;
  Fd write_end;
};

// The pipes of a loop. One is out only while bytes are inside it, so connections that wait hold
// none; what comes back empty is kept for the next. Belongs to the loop's thread.
class PipePool {
 public:
  // Each is two descriptors and as much memory as kBytes, which a reader that stops keeps. Who
  // finds none left copies instead.
  static constexpr size_t kOutMax = 64;
  static constexpr size_t kFreeMax = 8;
  static constexpr int kBytes = 1024 * 1024;

  std::optional<Pipe> take();  // nothing: all are out, or the system gives none
  void give_back(Pipe pipe);   // empty
  void lose() { --out_; }      // it was closed with bytes inside

 private:
  std::vector<Pipe> free_;
  size_t out_ = 0;
};

enum class SpliceEnd {
  kEnded,   // the sender has, and all it sent is handed on
  kPaused,  // what comes is not worth it, or there is no pipe: copy
};

// Moves what `from` receives to `to` inside the kernel, as long as it comes in bulk. `moved` is
// told of every part that was handed on. An error, or an abort of either, leaves both to be
// aborted. splice(2) raises SIGPIPE, which the process must ignore.
Task<Result<SpliceEnd>> splice_bulk(SocketStream& from, SocketStream& to,
                                    std::move_only_function<void(uint64_t)> moved);

}  // namespace weft::runtime
