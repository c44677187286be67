#include "ztunnel/waypoint/pool.h"

#include <utility>

namespace weft::waypoint {

using runtime::Task;

namespace {

constexpr std::chrono::milliseconds kConnectTimeout{10'000};
constexpr std::chrono::milliseconds kIdleTimeout{3'600'000};
// As many streams as most servers take of one connection.
constexpr size_t kWaitingPerConnection = 100;

std::chrono::milliseconds or_default(uint32_t value_ms, std::chrono::milliseconds otherwise) {
  return value_ms == 0 ? otherwise : std::chrono::milliseconds(value_ms);
}

}  // namespace

class Pool::Http1Try final : public Try {
 public:
  Http1Try(std::shared_ptr<Pool> pool, std::unique_ptr<http::Http1Client> client)
      : pool_(std::move(pool)),
        client_(std::move(client)),
        reused_(client_->exchanges() > 0),
        exchange_(client_->begin()) {
    ++pool_->active_;
  }
  ~Http1Try() override {
    --pool_->active_;
    exchange_.reset();
    if (client_->is_free()) pool_->give_back(std::move(client_));
  }
  http::ClientExchange& exchange() override { return *exchange_; }
  const std::string& endpoint() const override { return pool_->host_.name; }
  bool is_reused() const override { return reused_; }
  void answered(int) override {}

 private:
  std::shared_ptr<Pool> pool_;
  std::unique_ptr<http::Http1Client> client_;
  bool reused_;
  std::unique_ptr<http::ClientExchange> exchange_;
};

class Pool::Http2Try final : public Try {
 public:
  Http2Try(std::shared_ptr<Pool> pool, std::shared_ptr<http::Http2Client> client)
      : pool_(std::move(pool)), client_(std::move(client)), exchange_(client_->begin()) {
    ++pool_->active_;
  }
  ~Http2Try() override { --pool_->active_; }
  http::ClientExchange& exchange() override { return *exchange_; }
  const std::string& endpoint() const override { return pool_->host_.name; }
  // What ended before it came to an exchange is told as kUnavailable.
  bool is_reused() const override { return false; }
  void answered(int) override {}

 private:
  std::shared_ptr<Pool> pool_;
  std::shared_ptr<http::Http2Client> client_;
  std::unique_ptr<http::ClientExchange> exchange_;
};

Pool::Pool(runtime::Loop& loop, Network& network, Host host)
    : loop_(loop),
      network_(network),
      host_(std::move(host)),
      idle_timeout_(kIdleTimeout),
      sweep_(loop, [this] { drop_old(); }) {}

Task<Pool::Begun> Pool::begin(http::Version version, const weft::route::Traffic& traffic) {
  idle_timeout_ = or_default(traffic.limits().idle_timeout_ms(), kIdleTimeout);
  return version == http::Version::kHttp2 ? begin_http2(traffic) : begin_http1(traffic);
}

Task<Pool::Stream> Pool::connect(const weft::route::Traffic& traffic) {
  Result<std::unique_ptr<runtime::ByteStream>> stream = co_await network_.dial(
      host_, traffic, or_default(traffic.limits().connect_timeout_ms(), kConnectTimeout));
  if (stream) co_return std::move(*stream);
  co_return std::unexpected(Failure{std::move(stream.error()), Flag::kUpstreamFailure});
}

Task<Pool::Begun> Pool::begin_http1(const weft::route::Traffic& traffic) {
  const std::shared_ptr<Pool> self = shared_from_this();
  std::unique_ptr<http::Http1Client> client = take_idle();
  if (!client) {
    Stream stream = co_await connect(traffic);
    if (!stream) co_return std::unexpected(std::move(stream.error()));
    client = std::make_unique<http::Http1Client>(loop_, std::move(*stream));
  }
  co_return std::make_unique<Http1Try>(self, std::move(client));
}

Task<Pool::Begun> Pool::begin_http2(const weft::route::Traffic& traffic) {
  const std::shared_ptr<Pool> self = shared_from_this();
  while (true) {
    if (std::shared_ptr<http::Http2Client> client = free_http2()) {
      co_return std::make_unique<Http2Try>(self, std::move(client));
    }
    if (http2_opening_ && http2_waiting_ < kWaitingPerConnection) {
      ++http2_waiting_;
      co_await http2_opened_.wait();
      continue;
    }
    http2_opening_ = true;
    http2_waiting_ = 0;
    Stream stream = co_await connect(traffic);
    http2_opening_ = false;
    if (!stream) {
      http2_opened_.wake();
      co_return std::unexpected(std::move(stream.error()));
    }
    std::shared_ptr<http::Http2Client> client = http::Http2Client::start(loop_, std::move(*stream));
    std::erase_if(http2_, [](const auto& other) { return other->is_over(); });
    http2_.push_back(client);
    std::unique_ptr<Try> attempt = std::make_unique<Http2Try>(self, std::move(client));
    http2_opened_.wake();
    co_return attempt;
  }
}

std::shared_ptr<http::Http2Client> Pool::free_http2() const {
  for (const std::shared_ptr<http::Http2Client>& client : http2_) {
    if (client->is_free()) return client;
  }
  return nullptr;
}

void Pool::clear() {
  idle_.clear();
  http2_.clear();
}

std::unique_ptr<http::Http1Client> Pool::take_idle() {
  while (!idle_.empty()) {
    std::unique_ptr<http::Http1Client> client = std::move(idle_.back().client);
    idle_.pop_back();
    if (client->is_free()) return client;
  }
  return nullptr;
}

void Pool::give_back(std::unique_ptr<http::Http1Client> client) {
  if (idle_.size() >= kIdleMax) return;
  http::Http1Client* const held = client.get();
  idle_.push_back({std::move(client), loop_.now()});
  sweep_.set(idle_timeout_);
  held->when_ended([this, held] { drop(held); });
}

void Pool::drop(const http::Http1Client* client) {
  std::erase_if(idle_, [client](const Idle& idle) { return idle.client.get() == client; });
}

void Pool::drop_old() {
  const auto oldest = loop_.now() - idle_timeout_;
  std::erase_if(idle_, [oldest](const Idle& idle) { return idle.since <= oldest; });
  if (!idle_.empty()) sweep_.set(idle_timeout_);
}

}  // namespace weft::waypoint
