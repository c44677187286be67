#pragma once

#include "ztunnel/http/exchange.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace weft::waypoint {

// Bytes of request bodies that one worker keeps, for all of its requests.
struct KeptBudget {
  // Of one request: what Envoy buffers for a connection.
  static constexpr size_t kRequestMax = size_t{1} << 20;
  // 64 bodies of the longest kind: beyond that requests are not tried again and not mirrored.
  static constexpr size_t kTotalMax = size_t{64} << 20;
  size_t used = 0;
};

// Carries a request's body from the client to whichever try is under way. Where it may be wanted
// again (a retry, a mirror) it keeps what passed, up to a bound; else nothing is held or copied.
//
//   attach(try): it gets what was kept, then what comes; detach() before the try is let go of.
class BodyPump {
 public:
  // `received` counts the body's bytes.
  BodyPump(runtime::Loop& loop, http::ServerExchange& exchange, KeptBudget& budget,
           uint64_t& received);
  ~BodyPump();  // stop() must have been awaited

  // From now on what comes is kept. Before the first attach().
  void keep();
  // No more: the request will not be tried again.
  void forget();
  // Runs once when the body is here, whole.
  void when_whole(std::move_only_function<void()> call) { on_whole_ = std::move(call); }

  // Whether the request has no body at all; before the first attach().
  bool is_empty() const { return !exchange_.has_more() && read_ == 0; }
  bool is_whole() const { return whole_ || is_empty(); }
  // Whether all that has come so far could be sent again.
  bool can_replay() const { return keeps_ || read_ == 0; }
  const std::string& kept() const { return kept_; }
  // Why the client's side broke off.
  const std::optional<Error>& failure() const { return failure_; }

  // Returns when the try has all that is here; the rest follows by itself.
  runtime::Task<Result<void>> attach(http::ClientExchange& to);
  // The try is over and aborted, or has all of the body: nothing of it is touched afterwards.
  runtime::Task<void> detach();
  // Reads no more, and waits for what is under way.
  runtime::Task<void> stop();

 private:
  void note(const runtime::Buffer& bytes);
  void end();
  runtime::Task<Result<void>> replay(http::ClientExchange& to, size_t& sent);
  runtime::Task<Result<void>> send_ready(http::ClientExchange& to);
  runtime::Task<void> run();
  runtime::Task<void> give(runtime::Buffer bytes);
  http::FieldList trailers_again() const;

  runtime::Loop& loop_;
  http::ServerExchange& exchange_;
  KeptBudget& budget_;
  uint64_t& received_;
  bool keeps_ = false;
  std::string kept_;
  uint64_t read_ = 0;
  bool whole_ = false;
  http::FieldList trailers_;
  std::optional<Error> failure_;
  std::move_only_function<void()> on_whole_;
  http::ClientExchange* to_ = nullptr;  // gets what comes
  bool writing_ = false;
  runtime::Event written_;
  runtime::TaskScope running_;
};

}  // namespace weft::waypoint
