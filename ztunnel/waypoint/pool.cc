#include "ztunnel/waypoint/pool.h"

#include <algorithm>
#include <utility>

namespace weft::waypoint {

using runtime::Task;

namespace {

constexpr std::chrono::milliseconds kConnectTimeout{10'000};
constexpr std::chrono::milliseconds kIdleTimeout{3'600'000};

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
  const std::string& endpoint() const override { return pool_->endpoint_.name; }
  bool is_reused() const override { return reused_; }
  void answered(int) override {}

 private:
  std::shared_ptr<Pool> pool_;
  std::unique_ptr<http::Http1Client> client_;
  bool reused_;
  std::unique_ptr<http::ClientExchange> exchange_;
};

Pool::Pool(runtime::Loop& loop, Network& network, Host endpoint)
    : loop_(loop),
      network_(network),
      endpoint_(std::move(endpoint)),
      idle_timeout_(kIdleTimeout),
      sweep_(loop, [this] { drop_old(); }) {}

Task<std::expected<std::unique_ptr<Try>, Failure>> Pool::begin(
    http::Version, const weft::route::Traffic& traffic) {
  const std::shared_ptr<Pool> self = shared_from_this();
  idle_timeout_ = or_default(traffic.limits().idle_timeout_ms(), kIdleTimeout);
  std::unique_ptr<http::Http1Client> client = take_idle();
  if (!client) {
    Result<std::unique_ptr<runtime::ByteStream>> stream = co_await network_.dial(
        endpoint_, traffic, or_default(traffic.limits().connect_timeout_ms(), kConnectTimeout));
    if (!stream) {
      co_return std::unexpected(Failure{std::move(stream.error()), Flag::kUpstreamFailure});
    }
    client = std::make_unique<http::Http1Client>(loop_, std::move(*stream));
  }
  co_return std::make_unique<Http1Try>(self, std::move(client));
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
