#pragma once

#include "agent/source/kube/api_client.h"
#include "ztunnel/http/h2_connection.h"
#include "ztunnel/runtime/pause.h"
#include "ztunnel/runtime/sync.h"

#include <functional>
#include <memory>
#include <optional>
#include <set>

namespace weft::source::kube {

// One HTTP/2 connection to the server. Lives as long as somebody holds it and until it has ended.
struct Connection {
  Connection(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport,
             uint64_t its_generation);

  http::H2Connection h2;
  uint64_t generation;  // of the credentials it was made with
};

// Keeps a connection: dials when one is needed and there is none, once for all who wait, with
// back-off after failures. Belongs to one loop's thread.
class Link {
 public:
  // A server that is started again is seen soon; a thousand nodes do not come at one moment.
  static constexpr std::chrono::milliseconds kBackoffFirst{100};
  static constexpr std::chrono::milliseconds kBackoffMax{5'000};
  static constexpr double kJitter = 0.5;

  // `generation`: a connection made under another one is let go of.
  Link(runtime::Loop& loop, Dial dial, std::function<uint64_t()> generation);

  // A connection that takes requests. Waits for the dial that is under way, with its back-off; its
  // failure is everybody's. `given_up` true: whoever asked no longer waits; then call wake().
  runtime::Task<Result<std::shared_ptr<Connection>>> get(const bool& given_up);
  void wake() { dialled_.wake(); }
  // Breaks everything; returns when it has ended.
  runtime::Task<void> stop();

 private:
  runtime::Task<void> dial_once();
  runtime::Task<void> run(std::shared_ptr<Connection> connection);
  bool is_usable() const;

  runtime::Loop& loop_;
  Dial dial_;
  std::function<uint64_t()> generation_;
  std::shared_ptr<Connection> current_;
  std::set<std::shared_ptr<Connection>> running_;
  runtime::Backoff backoff_;
  runtime::Pause pause_;
  bool dialling_ = false;
  bool failed_before_ = false;
  bool stopped_ = false;
  std::optional<Error> failure_;
  runtime::Event dialled_;
  runtime::TaskScope tasks_;
};

}  // namespace weft::source::kube
