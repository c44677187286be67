#include "agent/xds/server.h"

#include "agent/xds/bearer.h"
#include "agent/xds/peer_limit.h"
#include "agent/xds/subscription.h"
#include "proto/xds.grpc.pb.h"
#include "ztunnel/base/check.h"
#include "ztunnel/base/log.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>

// Locking: one mutex for the store and every stream's state. It is held to decide what is sent, and
// never while a message is built, written or logged.
//
// A stream's end: gRPC allows no Start.. after Finish(). So whoever is about to start something
// holds a pin on the stream, and Finish() is called by whoever finds it ending, not writing and
// without pins.

namespace weft::xds {
namespace {

using envoy::service::discovery::v3::AggregatedDiscoveryService;
using envoy::service::discovery::v3::DeltaDiscoveryRequest;
// Messages are read and written here, so that what many streams are sent is serialized once.
using Reactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;
using Service = AggregatedDiscoveryService::WithRawCallbackMethod_DeltaAggregatedResources<
    AggregatedDiscoveryService::Service>;

// One a node, and for a moment two when a node reconnects; Kubernetes is made for 5000 nodes.
constexpr size_t kStreamsMax = 10'000;
// How long a shutdown waits for responses that are being written: a peer that reads takes them in
// milliseconds, and hears then why its stream ends.
constexpr std::chrono::milliseconds kLastWriteLimit{250};

// A call that is answered by a status and nothing else.
class Refusal final : public Reactor {
 public:
  explicit Refusal(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

std::string refused_of(const Subscription::Answer& answer) {
  std::string text;
  for (const auto& name : answer.refused) text += (text.empty() ? "" : ", ") + *name;
  if (answer.refused_count > answer.refused.size()) {
    text += " and " + std::to_string(answer.refused_count - answer.refused.size()) + " more";
  }
  return text;
}

// A slice of the snapshot's own bytes, which lives as long as gRPC writes it to somebody.
grpc::Slice slice_of(const std::shared_ptr<const Snapshot>& snapshot) {
  const std::string& wire = snapshot->wire();
  using Owner = std::shared_ptr<const Snapshot>;
  return {const_cast<char*>(wire.data()), wire.size(),
          [](void* owner) { delete static_cast<Owner*>(owner); }, new Owner(snapshot)};
}

grpc::ByteBuffer message_of(const Batch& batch) {
  const grpc::Slice rest(encode(batch));
  if (!batch.all) return {&rest, 1};
  const std::array<grpc::Slice, 2> both{slice_of(batch.all), rest};
  return {both.data(), both.size()};
}

void log_answer(const Subscription::Answer& answer, const std::string& node) {
  if (answer.is_new_unknown_type) {
    log::warn("xds")
        .field("node", node)
        .field("type", answer.type)
        .say("a subscription to a type that this server does not have: answered with nothing");
  }
  if (answer.nacked) {
    log::warn("xds")
        .field("node", node)
        .field("type", answer.type)
        .field("nonce", answer.nonce)
        .field("resources", refused_of(answer))
        .field("reason", answer.reason)
        .say("a node refused configuration; it is not sent again until it changes");
  }
}

}  // namespace

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  class Stream;

  class Entrance final : public Service {
   public:
    explicit Entrance(Impl& impl) : impl_(impl) {}
    Reactor* DeltaAggregatedResources(grpc::CallbackServerContext* context) override {
      return impl_.accept(context);
    }

   private:
    Impl& impl_;
  };

  Impl(std::shared_ptr<const identity::Authenticator> who, WaypointOf which)
      : authenticator(std::move(who)), waypoint_of(std::move(which)), service(*this) {}

  Reactor* accept(grpc::CallbackServerContext* context);
  std::vector<std::shared_ptr<Stream>> pin_all();  // `mutex` is held
  void pump_and_unpin(const std::vector<std::shared_ptr<Stream>>& pinned);

  const std::shared_ptr<const identity::Authenticator> authenticator;
  const WaypointOf waypoint_of;
  Entrance service;
  PeerLimit unknown_callers;

  mutable std::mutex mutex;
  std::condition_variable write_done;
  // The rest is guarded by `mutex`.
  Store store;
  std::vector<std::shared_ptr<Stream>> streams;
  bool is_ready = false;
  bool is_shut_down = false;
  uint64_t acks = 0;
  uint64_t nacks = 0;
  uint64_t pushes = 0;
};

// One subscriber. Owned by Impl::streams until gRPC is done with it.
class Server::Impl::Stream final : public Reactor, public std::enable_shared_from_this<Stream> {
 public:
  Stream(std::shared_ptr<Impl> impl, grpc::CallbackServerContext* context)
      : impl_(std::move(impl)), context_(context) {
    info_.peer = context->peer();
  }

  // gRPC's reactions.
  void OnReadDone(bool ok) override {
    if (!ok) return end(grpc::Status::OK);
    {
      const std::scoped_lock lock(impl_->mutex);
      ++pins_;
    }
    const grpc::Status status = handle();
    pump();
    if (!status.ok()) {
      end(status);
    } else if (!is_ending()) {
      StartRead(&request_);
    }
    unpin();
  }
  void OnWriteDone(bool ok) override {
    response_.Clear();
    {
      const std::scoped_lock lock(impl_->mutex);
      ++pins_;
      is_writing_ = false;
      if (!ok) is_ending_ = true;
    }
    impl_->write_done.notify_all();
    pump();
    unpin();
  }
  void OnCancel() override { end(grpc::Status::CANCELLED); }
  void OnDone() override {
    if (is_admitted_) {
      log::info("xds").field("node", info_.node).field("peer", info_.peer).say("node disconnected");
    }
    const std::shared_ptr<Impl> impl = impl_;
    std::shared_ptr<Stream> self = shared_from_this();  // the last reference, released outside
    const std::scoped_lock lock(impl->mutex);
    std::erase(impl->streams, self);
  }

  // Begins, or ends, by what is known now of who calls. The caller gives a pin away.
  void admit(Result<identity::Caller> caller) {
    impl_->unknown_callers.leave(info_.peer);
    if (!caller) {
      refuse(refusal_of(caller.error()));
    } else if (caller->is_node_proxy) {
      begin(std::move(*caller), "");
    } else {
      admit_waypoint(std::move(*caller));
    }
    unpin();
  }

  // Reads the first request once there is what it is to be compared with: until then a returning
  // node's list of what it has would have to be kept. The caller holds a pin, not the mutex.
  void read_when_ready() {
    {
      const std::scoped_lock lock(impl_->mutex);
      if (!impl_->is_ready || !is_admitted_ || is_ending_ || is_reading_) return;
      is_reading_ = true;
    }
    StartRead(&request_);
  }

  // Sends what is due, if nothing is being written. The caller holds a pin, not the mutex.
  void pump() {
    std::optional<Batch> batch;
    {
      const std::scoped_lock lock(impl_->mutex);
      if (!impl_->is_ready || is_ending_ || is_writing_) return;
      batch = subscription_.next(impl_->store);
      if (!batch) return;
      is_writing_ = true;
      ++impl_->pushes;
    }
    response_ = message_of(*batch);
    log::debug("xds")
        .field("node", info_.node)
        .field("type", batch->type)
        .field("resources", static_cast<int64_t>(batch->size()))
        .field("removed", static_cast<int64_t>(batch->removed.size()))
        .say("push");
    StartWrite(&response_);
  }

  // Ends the stream as soon as nothing is being started or written.
  void end(const grpc::Status& status) {
    {
      const std::scoped_lock lock(impl_->mutex);
      end_with(status);
      ++pins_;
    }
    unpin();
  }

  // Ends a stream whose token has expired; breaks it off where that was tried before and a write
  // is still not done. The caller holds a pin.
  void expire() {
    bool is_stuck = false;
    {
      const std::scoped_lock lock(impl_->mutex);
      is_stuck = is_ending_ && is_writing_;
    }
    if (is_stuck) return break_off();
    log::info("xds").field("node", info_.node).say("the node's token has expired: stream ended");
    end({grpc::StatusCode::UNAUTHENTICATED, "token: expired; connect again with a fresh one"});
  }

  // For a peer that does not read, whose write would never be done. The caller holds a pin.
  void break_off() { context_->TryCancel(); }

  void unpin() {
    {
      const std::scoped_lock lock(impl_->mutex);
      CHECK(pins_ > 0);
      --pins_;
      if (!is_ending_ || is_finished_ || is_writing_ || pins_ > 0) return;
      is_finished_ = true;
    }
    Finish(status_);
  }

  // The mutex is held by who calls these.
  void pin() { ++pins_; }
  bool is_finished() const { return is_finished_; }
  bool is_writing() const { return is_writing_; }
  void end_with(grpc::Status status) {
    if (!is_ending_) status_ = std::move(status);
    is_ending_ = true;
  }
  Subscription& subscription() { return subscription_; }
  bool is_admitted() const { return is_admitted_; }
  std::chrono::system_clock::time_point token_expires() const { return token_expires_; }
  Subscriber info() const {
    Subscriber info = info_;
    info.queued = subscription_.queued();
    return info;
  }

 private:
  bool is_ending() const {
    const std::scoped_lock lock(impl_->mutex);
    return is_ending_;
  }

  void admit_waypoint(identity::Caller caller) {
    Result<std::optional<std::string>> waypoint = std::nullopt;
    if (impl_->waypoint_of) waypoint = impl_->waypoint_of(caller);
    if (!waypoint) {
      refuse({grpc::StatusCode::UNAVAILABLE, waypoint.error().to_string()});
    } else if (!*waypoint) {
      refuse({grpc::StatusCode::PERMISSION_DENIED,
              caller.subject +
                  " is no node proxy and no waypoint: the account is not in "
                  "--trusted-node-accounts, and there is no waypoint Gateway of its name"});
    } else {
      begin(std::move(caller), **waypoint + "/");
    }
  }

  // `own`: what the names of resources that are nobody else's begin with.
  void begin(identity::Caller caller, std::string own) {
    {
      const std::scoped_lock lock(impl_->mutex);
      subscription_.restrict_to(std::move(own));
      info_.node = std::move(caller.node);
      token_expires_ = caller.expires;
      is_admitted_ = true;
      if (is_ending_) return;
    }
    log::info("xds").field("node", info_.node).field("peer", info_.peer).say("node connected");
    read_when_ready();
  }
  void refuse(const grpc::Status& status) {
    log::warn("xds")
        .field("peer", info_.peer)
        .field("reason", status.error_message())
        .say("a subscriber was refused");
    end(status);
  }

  grpc::Status handle() {
    Subscription::Answer answer;
    DeltaDiscoveryRequest request;
    const grpc::Status parsed =
        grpc::GenericDeserialize<grpc::ProtoBufferReader, DeltaDiscoveryRequest>(&request_,
                                                                                 &request);
    request_.Clear();
    if (!parsed.ok()) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "expected a DeltaDiscoveryRequest"};
    }
    {
      const std::scoped_lock lock(impl_->mutex);
      auto taken = subscription_.take(request, impl_->store);
      if (!taken) {
        const auto code = taken.error().code == Code::kLimit ? grpc::StatusCode::RESOURCE_EXHAUSTED
                                                             : grpc::StatusCode::INVALID_ARGUMENT;
        return {code, taken.error().to_string()};
      }
      answer = std::move(*taken);
      if (answer.acked) {
        ++info_.acks;
        ++impl_->acks;
        info_.version_acked = answer.nonce;
      } else if (answer.nacked) {
        ++info_.nacks;
        ++impl_->nacks;
        info_.last_nack = answer.reason;
      }
    }
    log_answer(answer, info_.node);
    return grpc::Status::OK;
  }

  const std::shared_ptr<Impl> impl_;
  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer request_;   // of the one read that is outstanding
  grpc::ByteBuffer response_;  // of the one write, while is_writing_

  // Guarded by impl_->mutex.
  Subscription subscription_;
  Subscriber info_;  // node, once admitted, and peer never change
  std::chrono::system_clock::time_point token_expires_ =
      std::chrono::system_clock::time_point::max();
  bool is_admitted_ = false;  // it is known who calls
  grpc::Status status_;
  size_t pins_ = 0;
  bool is_reading_ = false;  // it has begun to
  bool is_writing_ = false;
  bool is_ending_ = false;
  bool is_finished_ = false;
};

Reactor* Server::Impl::accept(grpc::CallbackServerContext* context) {
  auto token = bearer_of(context->client_metadata());
  if (!token) {
    log::warn("xds")
        .field("peer", context->peer())
        .field("reason", token.error().to_string())
        .say("a subscriber was refused");
    return new Refusal(refusal_of(token.error()));
  }
  auto stream = std::make_shared<Stream>(shared_from_this(), context);
  {
    const std::scoped_lock lock(mutex);
    if (is_shut_down) {
      return new Refusal({grpc::StatusCode::UNAVAILABLE, "control is shutting down"});
    }
    if (streams.size() >= kStreamsMax || !unknown_callers.enter(context->peer())) {
      return new Refusal({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many subscribers"});
    }
    streams.push_back(stream);
    stream->pin();
  }
  authenticator->authenticate(std::move(*token), [stream](Result<identity::Caller> caller) {
    stream->admit(std::move(caller));
  });
  return stream.get();
}

std::vector<std::shared_ptr<Server::Impl::Stream>> Server::Impl::pin_all() {
  std::vector<std::shared_ptr<Stream>> pinned;
  for (const auto& stream : streams) {
    if (stream->is_finished()) continue;
    stream->pin();
    pinned.push_back(stream);
  }
  return pinned;
}

void Server::Impl::pump_and_unpin(const std::vector<std::shared_ptr<Stream>>& pinned) {
  for (const auto& stream : pinned) {
    stream->pump();
    stream->unpin();
  }
}

Server::Server(std::shared_ptr<const identity::Authenticator> authenticator, WaypointOf waypoint_of)
    : impl_(std::make_shared<Impl>(std::move(authenticator), std::move(waypoint_of))) {}

Server::~Server() { shutdown(); }

grpc::Service& Server::service() { return impl_->service; }

void Server::update(std::vector<compile::Resource> changes) {
  std::vector<std::shared_ptr<Impl::Stream>> pinned;
  {
    const std::scoped_lock lock(impl_->mutex);
    const auto changed = impl_->store.update(std::move(changes));
    if (changed.empty()) return;
    pinned = impl_->pin_all();
    for (const auto& stream : pinned) {
      for (const auto& one : changed) stream->subscription().mark(one, impl_->store.sequence());
    }
  }
  impl_->pump_and_unpin(pinned);
}

void Server::set_ready() {
  std::vector<std::shared_ptr<Impl::Stream>> pinned;
  {
    const std::scoped_lock lock(impl_->mutex);
    impl_->is_ready = true;
    pinned = impl_->pin_all();
  }
  for (const auto& stream : pinned) {
    stream->read_when_ready();
    stream->unpin();
  }
}

void Server::shutdown() {
  std::vector<std::shared_ptr<Impl::Stream>> pinned;
  std::vector<std::shared_ptr<Impl::Stream>> stuck;
  {
    std::unique_lock lock(impl_->mutex);
    impl_->is_shut_down = true;
    pinned = impl_->pin_all();
    for (const auto& stream : pinned) {
      stream->end_with({grpc::StatusCode::UNAVAILABLE, "control is shutting down"});
    }
    // The pins keep the streams from ending meanwhile, so those that remain can still be cut off.
    impl_->write_done.wait_for(lock, kLastWriteLimit, [&pinned] {
      return std::ranges::none_of(pinned, [](const auto& one) { return one->is_writing(); });
    });
    for (const auto& stream : pinned) {
      if (stream->is_writing()) stuck.push_back(stream);
    }
  }
  for (const auto& stream : stuck) stream->break_off();
  for (const auto& stream : pinned) stream->unpin();
}

void Server::end_expired(std::chrono::system_clock::time_point now) {
  std::vector<std::shared_ptr<Impl::Stream>> pinned;
  {
    const std::scoped_lock lock(impl_->mutex);
    pinned = impl_->pin_all();
  }
  for (const auto& stream : pinned) {
    if (stream->token_expires() <= now) stream->expire();
    stream->unpin();
  }
}

std::vector<Server::Subscriber> Server::subscribers() const {
  const std::scoped_lock lock(impl_->mutex);
  std::vector<Subscriber> subscribers;
  for (const auto& stream : impl_->streams) {
    if (stream->is_admitted()) subscribers.push_back(stream->info());
  }
  return subscribers;
}

Server::Totals Server::totals() const {
  const std::scoped_lock lock(impl_->mutex);
  return {impl_->acks, impl_->nacks, impl_->pushes, impl_->store.sizes()};
}

}  // namespace weft::xds
