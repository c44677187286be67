#include "ztunnel/learn/zds_client.h"

#include "proto/zds.pb.h"
#include "ztunnel/base/log.h"

namespace weft::learn {
namespace {

namespace pb = istio::workload::zds;
using runtime::Task;

constexpr std::chrono::milliseconds kBackoffFirst{10};
constexpr std::chrono::milliseconds kBackoffMax{15'000};
constexpr double kJitter = 0.3;
constexpr std::chrono::milliseconds kPendingRetry{5'000};

std::string hello() {
  pb::ZdsHello message;
  message.set_version(pb::V1);
  message.set_wants_listeners(true);
  message.set_wants_parking(true);
  return message.SerializeAsString();
}

std::string acknowledgement(const Result<void>& handled) {
  pb::WorkloadResponse response;
  response.mutable_ack();
  if (!handled) response.mutable_ack()->set_error(handled.error().to_string());
  return response.SerializeAsString();
}

std::string park_message() {
  pb::WorkloadResponse response;
  response.mutable_park();
  return response.SerializeAsString();
}

}  // namespace

ZdsClient::ZdsClient(runtime::Loop& loop, std::string path, PodTable& pods, ZdsSink& sink,
                     runtime::Backoff::Random random)
    : loop_(loop),
      path_(std::move(path)),
      pods_(pods),
      sink_(sink),
      backoff_(kBackoffFirst, kBackoffMax, kJitter, std::move(random)),
      pause_(loop) {}

Task<void> ZdsClient::run() {
  while (!stopped_) {
    const Result<void> ended = co_await session();
    if (stopped_) break;
    sink_.agent_lost(ended.error());
    co_await pause_.wait(backoff_.next());
  }
}

void ZdsClient::stop() {
  stopped_ = true;
  loop_.unschedule(std::exchange(retry_, 0));
  pending_.clear();
  if (socket_ != nullptr) socket_->abort();
  pause_.wake();
}

void ZdsClient::park(Fd memfd) {
  if (outgoing_ == nullptr || !parking_offered_) return;
  if (outgoing_->size() < kOutgoingMax) {
    outgoing_->try_push({park_message(), std::move(memfd)});
  } else {
    to_park_ = std::move(memfd);
  }
}

// One connection, to its end; always an error, because a good one has none.
Task<Result<void>> ZdsClient::session() {
  auto socket = CO_TRY(SeqpacketSocket::connect(loop_, path_));
  runtime::Queue<Outgoing> outgoing(kOutgoingMax);
  runtime::TaskScope sender;
  socket_ = socket.get();
  outgoing_ = &outgoing;
  parking_offered_ = false;
  to_park_.reset();
  pods_.begin_snapshot();
  pending_.clear();
  outgoing.try_push({hello(), Fd()});
  sender.spawn(send_all(*socket, outgoing));
  Result<void> ended = co_await listen(*socket);
  outgoing_ = nullptr;
  outgoing.close();
  socket->abort();
  co_await sender.join();
  socket_ = nullptr;
  co_return ended;
}

Task<void> ZdsClient::send_all(SeqpacketSocket& socket, runtime::Queue<Outgoing>& outgoing) {
  while (true) {
    std::optional<Outgoing> next = co_await outgoing.pop();
    if (!next) co_return;
    const Result<void> sent = co_await socket.send(std::move(next->bytes), next->fd.get());
    if (!sent) {
      outgoing.close();
      socket.abort();  // the receiver tells why
      co_return;
    }
    if (to_park_) park(*std::exchange(to_park_, std::nullopt));
  }
}

Task<Result<void>> ZdsClient::listen(SeqpacketSocket& socket) {
  while (true) {
    Result<Packet> packet = co_await socket.receive();
    if (!packet) co_return Fail(std::move(packet.error()));
    Result<ZdsMessage> message = decode_zds(std::move(*packet));
    if (message && std::holds_alternative<ParkedMemory>(*message)) {
      offer_parking();
      sink_.unparked(std::move(std::get<ParkedMemory>(*message).memfd));
      continue;  // not acknowledged
    }
    const Result<void> handled = message ? handle(std::move(*message)) : Fail(message.error());
    if (!handled) {
      log::warn("zds").field("error", handled.error().to_string()).say("refused a request");
    }
    backoff_.reset();
    if (!co_await outgoing_->push({acknowledgement(handled), Fd()})) {
      co_return fail(Code::kClosed, "the connection to the node agent has ended");
    }
  }
}

Result<void> ZdsClient::handle(ZdsMessage message) {
  if (auto* add = std::get_if<AddPod>(&message)) {
    if (!add->pod->redirected) offer_parking();
    return take(std::move(add->pod));
  }
  if (const auto* keep = std::get_if<KeepPod>(&message)) return pods_.keep(keep->uid);
  if (const auto* remove = std::get_if<RemovePod>(&message)) {
    pending_.erase(remove->uid);
    pods_.remove(remove->uid);
    return {};
  }
  pods_.end_snapshot();
  sink_.agent_synced();
  return {};
}

// An istio-cni agent tells of a pod once. One whose ports we could not open yet (another ztunnel
// has them without sharing, say) is refused in the acknowledgement and tried again, as Istio's
// ztunnel does it.
Result<void> ZdsClient::take(std::shared_ptr<const Pod> pod) {
  Result<void> added = pods_.add(pod);
  pending_.erase(pod->uid);
  if (!added && pod->redirected && pending_.size() < PodTable::kPodsMax) {
    const std::string uid = pod->uid;
    pending_.emplace(uid, std::move(pod));
    retry_later();
  }
  return added;
}

void ZdsClient::retry_later() {
  if (retry_ != 0) return;
  retry_ = loop_.schedule(kPendingRetry, [this] {
    retry_ = 0;
    for (const auto& [uid, pod] : std::exchange(pending_, {})) (void)take(pod);
  });
}

void ZdsClient::offer_parking() {
  if (!std::exchange(parking_offered_, true)) sink_.parking_offered();
}

}  // namespace weft::learn
