#include "ztunnel/waypoint/pool.h"

#include <utility>

namespace weft::waypoint {

using runtime::Task;

namespace {

constexpr std::chrono::milliseconds kConnectTimeout{10'000};
constexpr std::chrono::milliseconds kIdleTimeout{3'600'000};
// As many streams as most servers take of one connection.
constexpr size_t kWaitingPerConnection = 100;
// Requests that wait for a connection where the policy sets no limit: more of them are an outage,
// which is better told than queued.
constexpr uint32_t kPendingMax = 16'384;

std::chrono::milliseconds or_default(uint32_t value_ms, std::chrono::milliseconds otherwise) {
  return value_ms == 0 ? otherwise : std::chrono::milliseconds(value_ms);
}

Failure overflow(const std::string& what) {
  return {Error(Code::kLimit, what), Flag::kUpstreamOverflow, true};
}

}  // namespace

class Pool::Http1Try final : public Try {
 public:
  Http1Try(std::shared_ptr<Pool> pool, Http1 connection, Share request)
      : pool_(std::move(pool)),
        request_(std::move(request)),
        connection_(std::move(connection)),
        reused_(connection_.client->exchanges() > 0),
        exchange_(connection_.client->begin()) {
    ++pool_->active_;
  }
  ~Http1Try() override {
    --pool_->active_;
    exchange_.reset();
    pool_->give_back(std::move(connection_));
  }
  http::ClientExchange& exchange() override { return *exchange_; }
  const std::string& endpoint() const override { return pool_->host_.name; }
  bool is_reused() const override { return reused_; }
  void answered(int status) override {
    pool_->count(status == 0 ? Went::kReset : Went::kAnswered, status);
  }

 private:
  std::shared_ptr<Pool> pool_;
  Share request_;
  Http1 connection_;
  bool reused_;
  std::unique_ptr<http::ClientExchange> exchange_;
};

class Pool::Http2Try final : public Try {
 public:
  Http2Try(std::shared_ptr<Pool> pool, const std::shared_ptr<Http2>& connection, Share request)
      : pool_(std::move(pool)),
        request_(std::move(request)),
        client_(connection->client),
        exchange_(client_->begin()) {
    ++connection->begun;
    ++pool_->active_;
  }
  ~Http2Try() override {
    --pool_->active_;
    exchange_.reset();
    pool_->made_room();
  }
  http::ClientExchange& exchange() override { return *exchange_; }
  const std::string& endpoint() const override { return pool_->host_.name; }
  // What ended before it came to an exchange is told as kUnavailable.
  bool is_reused() const override { return false; }
  void answered(int status) override {
    pool_->count(status == 0 ? Went::kReset : Went::kAnswered, status);
  }

 private:
  std::shared_ptr<Pool> pool_;
  Share request_;
  std::shared_ptr<http::Http2Client> client_;
  std::unique_ptr<http::ClientExchange> exchange_;
};

Pool::Pool(runtime::Loop& loop, Network& network, std::shared_ptr<SharedDestination> shared,
           Host host, Clock::time_point since)
    : loop_(loop),
      network_(network),
      shared_(std::move(shared)),
      host_(std::move(host)),
      since_(since),
      health_(shared_->outliers.endpoint(host_.name)),
      idle_timeout_(kIdleTimeout),
      sweep_(loop, [this] { drop_old(); }) {}

void Pool::count(Went how, int status) {
  shared_->outliers.went(*health_, how, status, loop_.now());
}

Task<Pool::Begun> Pool::begin(http::Version version, Policy policy,
                              std::shared_ptr<Waiter> waiter) {
  const std::shared_ptr<Pool> self = shared_from_this();
  const weft::route::Limits& limits = policy->limits();
  idle_timeout_ = or_default(limits.idle_timeout_ms(), kIdleTimeout);
  exchanges_max_ = limits.requests_per_connection();
  age_max_ = std::chrono::milliseconds(limits.connection_duration_ms());
  streams_max_ = limits.concurrent_streams();
  Share request = Share::take(shared_->usage.requests, limits.requests());
  if (!request) {
    co_return std::unexpected(overflow("more requests than the destination may have at once"));
  }
  if (version == http::Version::kHttp2) {
    co_return co_await begin_http2(std::move(policy), std::move(waiter), std::move(request));
  }
  co_return co_await begin_http1(std::move(policy), std::move(waiter), std::move(request));
}

Task<Pool::Stream> Pool::connect(const weft::route::Traffic& traffic) {
  Result<std::unique_ptr<runtime::ByteStream>> stream = co_await network_.dial(
      host_, traffic, or_default(traffic.limits().connect_timeout_ms(), kConnectTimeout));
  if (stream) co_return std::move(*stream);
  count(stream.error().code == Code::kTimeout ? Went::kTimeout : Went::kConnectFailure, 0);
  co_return std::unexpected(Failure{std::move(stream.error()), Flag::kUpstreamFailure});
}

// A worker that has no connection to an endpoint may always make one, whatever the others have: it
// could wait for none of theirs.
Share Pool::take_connection(const weft::route::Limits& limits) {
  return Share::take(shared_->usage.connections, connections_ == 0 ? 0 : limits.connections());
}

Task<std::optional<Failure>> Pool::wait_for_room(const weft::route::Limits& limits,
                                                 std::shared_ptr<Waiter> waiter) {
  const uint32_t most = limits.pending_requests() == 0 ? kPendingMax : limits.pending_requests();
  const Share pending = Share::take(shared_->usage.pending, most);
  if (!pending) co_return overflow("more requests wait for a connection than may");
  ++waiting_;
  if (waiter) waiter->on_abandoned = [this] { made_room(); };
  co_await room_.wait();
  --waiting_;
  if (waiter) waiter->on_abandoned = {};
  if (waiter && waiter->abandoned) {
    co_return Failure{Error(Code::kCancelled, "nobody waits any more"), Flag::kUpstreamTimeout};
  }
  co_return std::nullopt;
}

// On a turn of its own: whoever waits goes on a long way.
void Pool::made_room() {
  if (waiting_ == 0) return;
  loop_.post([self = shared_from_this()] { self->room_.wake(); });
}

bool Pool::is_worn(Clock::time_point made, uint64_t exchanges) const {
  return (exchanges_max_ != 0 && exchanges >= exchanges_max_) ||
         (age_max_.count() != 0 && loop_.now() - made >= age_max_);
}

Task<Pool::Begun> Pool::begin_http1(Policy policy, std::shared_ptr<Waiter> waiter, Share counted) {
  const std::shared_ptr<Pool> self = shared_from_this();
  Share request = std::move(counted);
  while (true) {
    if (std::optional<Http1> idle = take_idle()) {
      co_return std::make_unique<Http1Try>(self, std::move(*idle), std::move(request));
    }
    if (Share share = take_connection(policy->limits())) {
      ++connections_;
      Stream stream = co_await connect(*policy);
      if (!stream) {
        share = Share();
        ended(1);
        co_return std::unexpected(std::move(stream.error()));
      }
      Http1 made{std::make_unique<http::Http1Client>(loop_, std::move(*stream)), std::move(share),
                 loop_.now()};
      co_return std::make_unique<Http1Try>(self, std::move(made), std::move(request));
    }
    std::optional<Failure> failure = co_await wait_for_room(policy->limits(), waiter);
    if (failure) co_return std::unexpected(std::move(*failure));
  }
}

Task<Pool::Begun> Pool::begin_http2(Policy policy, std::shared_ptr<Waiter> waiter, Share counted) {
  const std::shared_ptr<Pool> self = shared_from_this();
  Share request = std::move(counted);
  while (true) {
    if (const std::shared_ptr<Http2> connection = free_http2()) {
      co_return std::make_unique<Http2Try>(self, connection, std::move(request));
    }
    if (http2_opening_ && http2_waiting_ < kWaitingPerConnection) {
      ++http2_waiting_;
      co_await http2_opened_.wait();
      continue;
    }
    Share share = take_connection(policy->limits());
    if (!share) {
      std::optional<Failure> failure = co_await wait_for_room(policy->limits(), waiter);
      if (failure) co_return std::unexpected(std::move(*failure));
      continue;
    }
    ++connections_;
    http2_opening_ = true;
    http2_waiting_ = 0;
    Stream stream = co_await connect(*policy);
    http2_opening_ = false;
    if (!stream) {
      share = Share();
      ended(1);
      http2_opened_.wake();
      co_return std::unexpected(std::move(stream.error()));
    }
    const std::shared_ptr<Http2> connection = start_http2(std::move(*stream), std::move(share));
    std::unique_ptr<Try> attempt = std::make_unique<Http2Try>(self, connection, std::move(request));
    http2_opened_.wake();
    co_return attempt;
  }
}

std::shared_ptr<Pool::Http2> Pool::start_http2(std::unique_ptr<runtime::ByteStream> stream,
                                               Share share) {
  auto connection = std::make_shared<Http2>();
  connection->share = std::move(share);
  connection->made = loop_.now();
  connection->client = http::Http2Client::start(
      loop_, std::move(stream), [pool = weak_from_this(), of = std::weak_ptr<Http2>(connection)] {
        const std::shared_ptr<Pool> alive = pool.lock();
        if (!alive) return;
        std::erase(alive->http2_, of.lock());
        alive->ended(1);
      });
  http2_.push_back(connection);
  return connection;
}

std::shared_ptr<Pool::Http2> Pool::free_http2() {
  // A worn one ends with its last exchange.
  std::erase_if(http2_, [this](const std::shared_ptr<Http2>& connection) {
    return is_worn(connection->made, connection->begun);
  });
  for (const std::shared_ptr<Http2>& connection : http2_) {
    const bool is_full = streams_max_ != 0 && connection->client->exchanges() >= streams_max_;
    if (connection->client->is_free() && !is_full) return connection;
  }
  return nullptr;
}

void Pool::ended(size_t connections) {
  connections_ -= connections;
  if (connections > 0) made_room();
}

void Pool::clear() {
  const size_t idle = idle_.size();
  idle_.clear();
  http2_.clear();
  ended(idle);
}

std::optional<Pool::Http1> Pool::take_idle() {
  while (!idle_.empty()) {
    Http1 connection = std::move(idle_.back().connection);
    idle_.pop_back();
    if (connection.client->is_free() && !is_worn(connection.made, connection.client->exchanges())) {
      return connection;
    }
    connection = {};
    ended(1);
  }
  return std::nullopt;
}

void Pool::give_back(Http1 connection) {
  if (!connection.client->is_free() || idle_.size() >= kIdleMax ||
      is_worn(connection.made, connection.client->exchanges())) {
    connection = {};
    return ended(1);
  }
  http::Http1Client* const held = connection.client.get();
  idle_.push_back({std::move(connection), loop_.now()});
  sweep_.set(idle_timeout_);
  held->when_ended([this, held] { drop(held); });
  made_room();
}

void Pool::drop(const http::Http1Client* client) {
  ended(std::erase_if(
      idle_, [client](const Idle& idle) { return idle.connection.client.get() == client; }));
}

void Pool::drop_old() {
  const auto oldest = loop_.now() - idle_timeout_;
  ended(std::erase_if(idle_, [oldest](const Idle& idle) { return idle.since <= oldest; }));
  if (!idle_.empty()) sweep_.set(idle_timeout_);
}

}  // namespace weft::waypoint
