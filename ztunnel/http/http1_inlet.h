#pragma once

#include "ztunnel/http/http1_head.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"
#include "ztunnel/runtime/sync.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace weft::http::http1 {

// A connection's incoming bytes, read at most one buffer ahead: so its end is noticed also while
// nobody waits for bytes, and whoever waits for them can be told to stop. Owns the transport; a
// read that is under way when the Inlet goes ends by itself.
class Inlet {
 public:
  Inlet(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport);
  Inlet(Inlet&&) noexcept = default;
  Inlet& operator=(Inlet&&) = delete;
  ~Inlet();  // aborts the transport where it is being read from

  runtime::ByteStream& transport() const { return *state_->transport; }
  // What has come and was not taken.
  runtime::Buffer& unread();
  bool has_unread() const { return !state_->unread.empty() || !state_->stash.empty(); }
  // Waits until something is unread; false: the peer has ended its side.
  runtime::Task<Result<bool>> more();
  // Begins to read where nothing is unread; of what comes then only more() waits.
  void read_ahead();
  // Whether it is known that nothing can come any more.
  bool has_ended() const { return state_->ended || state_->error.has_value(); }
  // more() fails with this from now on, also the one that waits.
  void interrupt(Error why);
  void allow() { state_->interrupted.reset(); }
  // Called once, when the end or an error is read; from the loop.
  void when_ended(std::move_only_function<void()> call);

 private:
  struct State {
    explicit State(runtime::Loop& its_loop) : loop(its_loop) {}
    runtime::Loop& loop;
    std::unique_ptr<runtime::ByteStream> transport;
    runtime::Buffer unread;
    std::string stash;  // the same, in a small piece of memory: see kStashBytesMax
    std::optional<Error> error;
    std::optional<Error> interrupted;
    std::move_only_function<void()> on_end;
    runtime::Event arrived;
    bool ended = false;
    bool reading = false;
    bool waited = false;  // for what is being read
  };
  // What comes ahead of time may wait for long: up to here it does not keep a whole buffer.
  static constexpr size_t kStashBytesMax = 16 * 1024;
  static runtime::Task<void> read(std::shared_ptr<State> state);

  std::shared_ptr<State> state_;
};

// Takes heads out of an Inlet. A head that is not whole waits in memory of its own size.
class HeadReader {
 public:
  // The next head, in memory of `into`; empty: more is needed.
  Parsed<std::span<char>> take(Inlet& inlet, FieldList& into);
  bool is_partial() const { return !partial_.empty(); }

 private:
  HeadFinder finder_;
  std::string partial_;
  bool skipped_line_ = false;  // an empty line before the message, which RFC 9112, 2.2 lets be
};

}  // namespace weft::http::http1
