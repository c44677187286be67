#include "agent/source/kube/link.h"

#include "agent/source/kube/random.h"
#include "ztunnel/base/log.h"

namespace weft::source::kube {
namespace {

using runtime::Task;

// A server that has gone without a word (its node lost power) is noticed within these; bookmarks
// alone come once a minute.
constexpr std::chrono::seconds kPingEvery{15};
constexpr std::chrono::seconds kPingTimeout{10};

http::H2Options client_options() {
  http::H2Options options;
  options.role = http::H2Role::kClient;
  options.limits.streams_max = 0;
  options.ping_every = kPingEvery;
  options.ping_timeout = kPingTimeout;
  return options;
}

}  // namespace

Connection::Connection(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport,
                       uint64_t its_generation)
    : h2(loop, std::move(transport), client_options()), generation(its_generation) {}

Link::Link(runtime::Loop& loop, Dial dial, std::function<uint64_t()> generation)
    : loop_(loop),
      dial_(std::move(dial)),
      generation_(std::move(generation)),
      backoff_(kBackoffFirst, kBackoffMax, kJitter, random_part),
      pause_(loop) {}

bool Link::is_usable() const {
  return current_ && current_->h2.accepts_requests() && current_->generation == generation_();
}

Task<Result<std::shared_ptr<Connection>>> Link::get(const bool& given_up) {
  if (!stopped_ && !is_usable() && !dialling_) {
    // What is under way on the former one goes on.
    if (current_) current_->h2.drain();
    current_.reset();
    dialling_ = true;
    tasks_.spawn(dial_once());
  }
  while (dialling_ && !given_up && !stopped_) co_await dialled_.wait();
  if (stopped_) co_return fail(Code::kCancelled, "the API client is stopped");
  if (given_up) co_return fail(Code::kTimeout, "no connection to the API server");
  if (!current_) {
    co_return Fail(failure_.value_or(Error(Code::kReset, "the API server hung up at once")));
  }
  co_return current_;
}

Task<void> Link::dial_once() {
  if (failed_before_) co_await pause_.wait(backoff_.next());
  if (!stopped_) {
    auto transport = co_await dial_();
    if (stopped_) {
      if (transport) (*transport)->abort();
    } else if (transport) {
      current_ = std::make_shared<Connection>(loop_, std::move(*transport), generation_());
      running_.insert(current_);
      tasks_.spawn(run(current_));
    } else {
      failure_ = std::move(transport.error());
      failed_before_ = true;
    }
  }
  dialling_ = false;
  dialled_.wake();
}

Task<void> Link::run(std::shared_ptr<Connection> connection) {
  const Result<void> ended = co_await connection->h2.run();
  if (!ended && !stopped_) {
    log::info("kube")
        .field("error", ended.error().to_string())
        .say("the connection to the API server broke");
  }
  // One that never said a word counts as a failed dial: something answers that is no API server.
  failed_before_ = !connection->h2.has_settings();
  if (failed_before_) {
    failure_ = ended ? std::nullopt : std::optional(ended.error());
  } else {
    backoff_.reset();
  }
  if (current_ == connection) current_.reset();
  running_.erase(connection);
}

Task<void> Link::stop() {
  stopped_ = true;
  pause_.wake();
  dialled_.wake();
  const auto running = running_;
  for (const auto& connection : running) connection->h2.abort();
  co_await tasks_.join();
}

}  // namespace weft::source::kube
