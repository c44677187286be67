#include "agent/enrol/cni_server.h"

#include "agent/cni/message.h"
#include "agent/enrol/netns.h"
#include "agent/enrol/zds_packet.h"
#include "ztunnel/base/log.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>

namespace weft::enrol {
namespace {

constexpr const char* kTarget = "cni";
// More pods than a node holds (110 by default) start at once after a reboot at most.
constexpr size_t kOpenMax = 512;
constexpr int kBacklog = 128;
// weft-cni sends its question with the connect.
constexpr std::chrono::milliseconds kQuestionTimeout{2'000};

// The only descriptor that a question may carry: a network namespace other than the node's own.
Result<void> take_netns(Packet& packet, PodSandbox& sandbox) {
  const bool optional = sandbox.command != PodSandbox::Command::kAdd;
  if (packet.descriptors.empty() && optional) return {};
  if (packet.descriptors.size() != 1) {
    return fail(Code::kInvalid, "expected one descriptor, the pod's network namespace");
  }
  sandbox.netns = std::move(packet.descriptors.front());
  Result<uint64_t> cookie = netns_cookie(sandbox.netns.get());
  if (!cookie && optional) return {};
  sandbox.netns_cookie = TRY(cookie);
  const Fd own = TRY(open_netns_of(getpid()));
  if (is_same_netns(own.get(), sandbox.netns.get())) {
    return fail(Code::kRefused, "CNI_NETNS is the node's own network namespace");
  }
  return {};
}

}  // namespace

Result<void> CniServer::listen() {
  listener_ = TRY(listen_seqpacket(path_, kBacklog));
  acceptor_ = std::make_unique<runtime::Acceptor>(
      loop_, listener_.get(), [this](Fd connection) { return serve(std::move(connection)); });
  return {};
}

runtime::Task<void> CniServer::run() {
  co_await acceptor_->run();
  while (open_ > 0) co_await closed_.wait();
}

void CniServer::stop() {
  if (stopped_) return;
  stopped_ = true;
  acceptor_->stop();
  for (const int connection : reading_) loop_.cancel(connection);
}

runtime::Task<void> CniServer::serve(Fd connection) {
  if (stopped_ || open_ >= kOpenMax) co_return;  // weft-cni asks again
  ++open_;
  Result<PodSandbox> sandbox = co_await read_question(connection.get());
  Result<bool> captured = false;
  if (sandbox) {
    const std::string pod = sandbox->ns + "/" + sandbox->name;
    const bool starts = sandbox->command == PodSandbox::Command::kAdd;
    const auto asked_at = std::chrono::steady_clock::now();
    captured = co_await answer(std::move(*sandbox));
    const auto waited = std::chrono::steady_clock::now() - asked_at;
    if (starts && captured) {
      log::info(kTarget)
          .field("pod", pod)
          .field("captured", *captured ? "yes" : "no")
          .field("waited_us", std::chrono::duration_cast<std::chrono::microseconds>(waited).count())
          .say("a pod starts");
    }
    if (!captured) {
      log::warn(kTarget)
          .field("pod", pod)
          .field("error", captured.error().to_string())
          .say("a pod was kept from starting");
    }
  } else {
    captured = Fail(std::move(sandbox.error()).in("the question of weft-cni"));
  }
  const std::string text = cni_answer(captured);
  // Fits into the socket's buffer; who does not read it has gone.
  (void)::send(connection.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  --open_;
  if (open_ == 0) closed_.wake();
}

runtime::Task<Result<bool>> CniServer::answer(PodSandbox sandbox) {
  switch (sandbox.command) {
    case PodSandbox::Command::kAdd:
      co_return co_await handler_.sandbox_made(std::move(sandbox));
    case PodSandbox::Command::kCheck:
      co_return handler_.is_captured(sandbox);
    case PodSandbox::Command::kDelete:
      handler_.sandbox_gone(std::move(sandbox));
      co_return false;
  }
  co_return false;
}

runtime::Task<Result<PodSandbox>> CniServer::read_question(int connection) {
  reading_.insert(connection);
  const runtime::Deadline deadline(loop_, kQuestionTimeout,
                                   [this, connection] { loop_.cancel(connection); });
  const int ready = co_await loop_.poll(connection, POLLIN);
  reading_.erase(connection);
  if (ready < 0) co_return fail(Code::kTimeout, "none came");
  Packet packet = CO_TRY(receive_packet(connection, cni::kMessageBytesMax));
  PodSandbox sandbox = CO_TRY(parse_cni_question(packet.bytes));
  CO_TRY(take_netns(packet, sandbox));
  co_return sandbox;
}

}  // namespace weft::enrol
