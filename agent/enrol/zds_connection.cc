#include "agent/enrol/zds_connection.h"

#include "ztunnel/base/log.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace weft::enrol {
namespace {

using istio::workload::zds::Listener;

constexpr const char* kTarget = "zds";
// By weft_listener.
constexpr std::array kListenerNames = {Listener::INBOUND_V4, Listener::OUTBOUND_V4,
                                       Listener::INBOUND_V6, Listener::OUTBOUND_V6,
                                       Listener::DNS_V4,     Listener::DNS_V6};
static_assert(kListenerNames.size() == WEFT_LISTENER_KINDS);

pid_t peer_pid(int socket) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 ? peer.pid : 0;
}

}  // namespace

ZdsConnection::ZdsConnection(ZdsServer& server, Fd socket)
    : server_(server),
      loop_(server.loop_),
      socket_(std::move(socket)),
      pid_(peer_pid(socket_.get())) {}

ZdsConnection::~ZdsConnection() { loop_.unschedule(retry_); }

void ZdsConnection::stop() {
  if (closed_) return;
  closed_ = true;
  // Whoever waits on the socket ends now; the reader then wakes whoever waits for it.
  loop_.cancel(socket_.get());
}

void ZdsConnection::wake() { woken_.wake(); }

bool ZdsConnection::has_acked(const std::string& uid) const {
  const auto told = told_.find(uid);
  if (told == told_.end() || !told->second.acked) return false;
  const auto announced = server_.pods_.find(uid);
  return announced != server_.pods_.end() && announced->second == told->second.pod;
}

ZtunnelStatus ZdsConnection::status() const {
  ZtunnelStatus status{.pid = pid_,
                       .listeners = hello_.wants_listeners,
                       .snapshot_sent = snapshot_sent_,
                       .pods_acked = 0,
                       .last_refusal = last_refusal_};
  for (const auto& [uid, told] : told_) status.pods_acked += told.acked ? 1 : 0;
  return status;
}

runtime::Task<void> ZdsConnection::run() {
  Result<Hello> hello = co_await read_hello();
  Result<void> ended;
  if (!hello) {
    ended = Fail(hello.error());
  } else {
    hello_ = *hello;
    ended = server_.observer_.ztunnel_arrived(pid_);
  }
  if (ended) {
    arrived_ = true;
    log::info(kTarget)
        .field("pid", pid_)
        .field("listeners", hello_.wants_listeners ? 1 : 0)
        .say("ztunnel connected");
    runtime::TaskScope reading;
    reading.spawn(read_responses());
    ended = co_await tell();
    stop();
    co_await reading.join();
  }
  stop();
  if (!ended && ended.error().code != Code::kCancelled) {
    log::warn(kTarget)
        .field("pid", pid_)
        .field("error", ended.error().to_string())
        .say("closing the connection of a ztunnel");
  }
  if (arrived_) log::info(kTarget).field("pid", pid_).say("ztunnel disconnected");
}

// Reading.

runtime::Task<Result<Packet>> ZdsConnection::next_packet() {
  while (!closed_) {
    Result<Packet> packet = receive_packet(socket_.get());
    if (packet || packet.error().code != Code::kUnavailable) co_return packet;
    const int ready = co_await loop_.poll(socket_.get(), POLLIN);
    if (ready < 0 && ready != -ECANCELED) co_return fail_errno(-ready, "waiting for ztunnel");
  }
  co_return fail(Code::kCancelled, "stopped");
}

runtime::Task<Result<Hello>> ZdsConnection::read_hello() {
  const runtime::Deadline deadline(loop_, server_.timing_.hello, [this] { stop(); });
  Result<Packet> packet = co_await next_packet();
  if (deadline.expired()) co_return fail(Code::kTimeout, "no hello came in time");
  const Packet first = CO_TRY(std::move(packet));
  co_return parse_hello(first.bytes);
}

runtime::Task<void> ZdsConnection::read_responses() {
  Result<void> good;
  while (good) {
    Result<Packet> packet = co_await next_packet();
    good = packet ? take_response(std::move(*packet)) : Fail(packet.error());
  }
  if (good.error().code != Code::kCancelled && good.error().code != Code::kClosed) {
    log::warn(kTarget)
        .field("pid", pid_)
        .field("error", good.error().to_string())
        .say("cannot go on with this ztunnel");
  }
  stop();
  woken_.wake();
}

Result<void> ZdsConnection::take_response(Packet packet) {
  Response response = TRY(parse_response(packet.bytes));
  if (response.park) {
    if (packet.descriptors.size() != 1) {
      return fail(Code::kInvalid, "park: expected one descriptor");
    }
    TRY(check_parked(packet.descriptors.front().get()));
    server_.parked_ = std::move(packet.descriptors.front());
    return {};
  }
  if (!awaiting_ack_) return fail(Code::kInvalid, "an acknowledgement of nothing");
  awaiting_ack_ = false;
  ack_ = std::move(response.error);
  woken_.wake();
  return {};
}

// Telling.

runtime::Task<Result<void>> ZdsConnection::tell() {
  if (hello_.wants_parking && server_.parked_) CO_TRY(co_await send_parked());
  while (!closed_) {
    const std::optional<Step> step = next_step();
    if (step) {
      CO_TRY(co_await take(*step));
    } else {
      co_await woken_.wait();
    }
  }
  co_return fail(Code::kCancelled, "stopped");
}

std::optional<ZdsConnection::Step> ZdsConnection::next_step() const {
  for (const auto& [uid, told] : told_) {
    const auto announced = server_.pods_.find(uid);
    if (announced == server_.pods_.end() || announced->second != told.pod) {
      return Step{.kind = Step::Kind::kDelete, .uid = uid};
    }
  }
  for (const auto& [uid, pod] : server_.pods_) {
    const auto told = told_.find(uid);
    const bool due =
        told == told_.end() || (!told->second.acked && told->second.retry_at <= loop_.now());
    if (due) return Step{.kind = Step::Kind::kAdd, .uid = uid};
  }
  if (!snapshot_sent_ && server_.complete_)
    return Step{.kind = Step::Kind::kSnapshotSent, .uid = {}};
  return std::nullopt;
}

runtime::Task<Result<void>> ZdsConnection::take(Step step) {
  Request request;
  std::vector<int> descriptors;
  std::shared_ptr<const AnnouncedPod> pod;  // keeps the descriptors while they are sent
  switch (step.kind) {
    case Step::Kind::kAdd:
      pod = server_.pods_.at(step.uid);
      request = add_request(*pod, descriptors);
      told_[step.uid] =
          Told{.pod = pod, .acked = false, .retry_at = loop_.now() + server_.timing_.refused_retry};
      break;
    case Step::Kind::kDelete:
      request.mutable_del()->set_uid(step.uid);
      break;
    case Step::Kind::kSnapshotSent:
      request.mutable_snapshot_sent();
      break;
  }
  const std::string error = CO_TRY(co_await ask(std::move(request), std::move(descriptors)));
  switch (step.kind) {
    case Step::Kind::kAdd:
      if (error.empty()) {
        told_[step.uid].acked = true;
      } else {
        refused(step.uid, error);
      }
      break;
    case Step::Kind::kDelete:
      told_.erase(step.uid);
      break;
    case Step::Kind::kSnapshotSent:
      snapshot_sent_ = true;
      co_return Result<void>();
  }
  server_.observer_.pod_told(step.uid);
  co_return Result<void>();
}

void ZdsConnection::refused(const std::string& uid, const std::string& reason) {
  last_refusal_ = uid + ": " + reason;
  log::warn(kTarget)
      .field("pid", pid_)
      .field("pod", uid)
      .field("reason", reason)
      .say("ztunnel refused a pod; trying again");
  told_[uid].retry_at = loop_.now() + server_.timing_.refused_retry;
  loop_.unschedule(retry_);
  retry_ = loop_.schedule(server_.timing_.refused_retry, [this] {
    retry_ = 0;
    woken_.wake();
  });
}

ZdsConnection::Request ZdsConnection::add_request(const AnnouncedPod& pod,
                                                  std::vector<int>& descriptors) const {
  Request request;
  auto* add = request.mutable_add();
  add->set_uid(pod.uid);
  add->mutable_workload_info()->set_name(pod.name);
  add->mutable_workload_info()->set_namespace_(pod.ns);
  add->mutable_workload_info()->set_service_account(pod.service_account);
  descriptors.push_back(pod.netns.get());
  if (hello_.wants_listeners) {
    add->set_answers_dns(pod.answers_dns);
    add->set_peer_port_by_mark(true);
    for (size_t kind = 0; kind < kListenerNames.size(); ++kind) {
      const Fd& socket = pod.listeners.sockets[kind];
      if (!socket) continue;
      add->add_listeners(kListenerNames[kind]);
      descriptors.push_back(socket.get());
    }
  }
  return request;
}

runtime::Task<Result<void>> ZdsConnection::send(Request request, std::vector<int> descriptors) {
  const std::string bytes = request.SerializeAsString();
  while (!closed_) {
    Result<void> sent = send_packet(socket_.get(), bytes, descriptors);
    if (sent || sent.error().code != Code::kUnavailable) co_return sent;
    const int ready = co_await loop_.poll(socket_.get(), POLLOUT);
    if (ready < 0 && ready != -ECANCELED) co_return fail_errno(-ready, "waiting for ztunnel");
  }
  co_return fail(Code::kCancelled, "stopped");
}

// Sends, and waits for the acknowledgement: its error text, empty where the peer agreed.
runtime::Task<Result<std::string>> ZdsConnection::ask(Request request,
                                                      std::vector<int> descriptors) {
  const runtime::Deadline deadline(loop_, server_.timing_.acknowledgement, [this] { stop(); });
  ack_.reset();
  awaiting_ack_ = true;
  Result<void> sent = co_await send(std::move(request), std::move(descriptors));
  while (sent && !ack_ && !closed_) co_await woken_.wait();
  if (deadline.expired()) co_return fail(Code::kTimeout, "no acknowledgement came in time");
  CO_TRY(std::move(sent));
  if (!ack_) co_return fail(Code::kCancelled, "stopped");
  co_return std::move(*ack_);
}

runtime::Task<Result<void>> ZdsConnection::send_parked() {
  Request request;
  request.mutable_parked();
  co_return co_await send(std::move(request), {server_.parked_.get()});
}

}  // namespace weft::enrol
