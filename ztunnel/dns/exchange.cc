#include "ztunnel/dns/exchange.h"

#include "ztunnel/dns/framing.h"
#include "ztunnel/dns/message.h"

#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>

namespace weft::dns {
namespace {

using runtime::Task;
using std::chrono::milliseconds;

uint16_t random_id() {
  uint16_t id = 0;
  // Never fails nor waits once the machine has booted.
  [[maybe_unused]] const ssize_t got = getrandom(&id, sizeof id, 0);
  return id;
}

Fail cancelled() { return fail(Code::kCancelled, "the DNS query was given up here"); }

// The header and the question alone: what an answer is matched by.
std::optional<Message> head_of(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes) return std::nullopt;
  std::string head(bytes);
  // No records: whatever stands in them does not matter here, nor what it costs to read.
  const bool one_question = head[4] == 0 && head[5] == 1;
  std::fill(head.begin() + 6, head.begin() + kHeaderBytes, '\0');
  if (!one_question) {
    head.resize(kHeaderBytes);
    head[4] = head[5] = '\0';
  } else {
    size_t at = kHeaderBytes;
    while (at < head.size() && head[at] != '\0') at += 1 + static_cast<unsigned char>(head[at]);
    head.resize(std::min(head.size(), at + 5));
  }
  Result<Message> message = parse(head);
  if (!message) return std::nullopt;
  return std::move(*message);
}

}  // namespace

bool answers(std::string_view answer, std::string_view query) {
  const std::optional<Message> got = head_of(answer);
  const std::optional<Message> sent = head_of(query);
  if (!got || !sent || !got->header.response) return false;
  if (got->header.id != sent->header.id || got->header.opcode != sent->header.opcode) return false;
  if (!got->question) return got->header.rcode != Rcode::kNoError || !sent->question;
  return sent->question && got->question->same_as(*sent->question);
}

Task<Result<std::string>> ask_over(runtime::Loop& loop, runtime::ByteStream& stream,
                                   std::string query) {
  CO_TRY(co_await stream.write(loop.buffers().copy_of(framed(query))));
  Deframer deframer;
  while (true) {
    const runtime::Buffer bytes = CO_TRY(co_await stream.read());
    if (bytes.empty()) co_return fail(Code::kClosed, "the DNS server closed the connection");
    deframer.push(bytes.text());
    std::optional<std::string> answer = deframer.next();
    if (!answer) continue;
    if (answers(*answer, query)) co_return std::move(*answer);
    co_return fail(Code::kInvalid, "the DNS server answered something else than it was asked");
  }
}

Error Exchange::timed_out() const {
  return Error(Code::kTimeout, "the DNS server " + server_.to_string() + " did not answer");
}

void Exchange::abort() {
  aborted_ = true;
  if (socket_) loop_.cancel(socket_.get());
  if (stream_ != nullptr) stream_->abort();
}

// What is not the answer is passed over: anyone can send to an open port.
Task<Result<std::string>> Exchange::receive_datagram(std::string_view query) {
  while (true) {
    const int ready = co_await loop_.poll(socket_.get(), POLLIN);
    if (ready < 0) co_return fail_errno(-ready, "waiting for a DNS answer");
    runtime::Buffer buffer = loop_.buffers().get();
    const std::span<uint8_t> room = buffer.tail();
    const ssize_t got = recv(socket_.get(), room.data(), room.size(), MSG_DONTWAIT);
    if (got < 0 && errno != EAGAIN && errno != EINTR) {
      co_return fail_errno(errno, "the DNS server " + server_.to_string());
    }
    if (got <= 0) continue;
    buffer.extend(static_cast<size_t>(got));
    if (answers(buffer.text(), query)) co_return std::string(buffer.text());
  }
}

Task<Result<std::string>> Exchange::over_udp(std::string query, milliseconds limit) {
  if (aborted_) co_return cancelled();
  const int family = server_.ip.is_v4() ? AF_INET : AF_INET6;
  socket_ = CO_TRY(runtime::socket_in(netns_fd_, family, SOCK_DGRAM, 0));
  if (mark_ != 0 && setsockopt(socket_.get(), SOL_SOCKET, SO_MARK, &mark_, sizeof mark_) != 0) {
    co_return fail_errno(errno, "marking a DNS query");
  }
  sockaddr_storage address{};
  const socklen_t length = server_.to_sockaddr(address);
  // Connected: the kernel drops what comes from elsewhere, and tells of a port that is closed.
  if (connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    co_return fail_errno(errno, "the DNS server " + server_.to_string());
  }
  const uint16_t own_id = id_of(query);
  set_id(query, random_id());
  const auto until = loop_.now() + limit;
  milliseconds wait = kResendAfter;
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(until - loop_.now());
    if (left.count() <= 0) co_return Fail(timed_out());
    if (send(socket_.get(), query.data(), query.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
        errno != EAGAIN && errno != ENOBUFS) {
      co_return fail_errno(errno, "asking the DNS server " + server_.to_string());
    }
    const runtime::Deadline deadline(loop_, std::min(wait, left),
                                     [this] { loop_.cancel(socket_.get()); });
    Result<std::string> answer = co_await receive_datagram(query);
    if (answer) set_id(*answer, own_id);
    if (answer) co_return answer;
    if (aborted_) co_return cancelled();
    if (!deadline.expired()) co_return answer;
    wait *= 2;
  }
}

Task<Result<std::string>> Exchange::over_stream(std::string query,
                                                std::chrono::steady_clock::time_point until) {
  runtime::DialOptions options;
  options.netns_fd = netns_fd_;
  options.mark = mark_;
  options.timeout = std::chrono::ceil<milliseconds>(until - loop_.now());
  const std::unique_ptr<runtime::SocketStream> stream =
      CO_TRY(co_await runtime::dial(loop_, server_, options));
  if (aborted_) co_return cancelled();
  stream_ = stream.get();
  const runtime::Deadline deadline(loop_, std::chrono::ceil<milliseconds>(until - loop_.now()),
                                   [this] { stream_->abort(); });
  Result<std::string> answer = co_await ask_over(loop_, *stream, query);
  stream_ = nullptr;
  if (!answer && aborted_) co_return cancelled();
  if (!answer && deadline.expired()) co_return Fail(timed_out());
  co_return answer;
}

Task<Result<std::string>> Exchange::over_tcp(std::string query, milliseconds limit) {
  if (aborted_) co_return cancelled();
  const uint16_t own_id = id_of(query);
  set_id(query, random_id());
  std::string answer = CO_TRY(co_await over_stream(query, loop_.now() + limit));
  set_id(answer, own_id);
  co_return answer;
}

Task<Result<std::string>> Exchange::ask(std::string query, milliseconds limit) {
  const auto until = loop_.now() + limit;
  std::string answer = CO_TRY(co_await over_udp(query, limit));
  const bool truncated = (static_cast<unsigned char>(answer[2]) & 0x02U) != 0;
  const auto left = std::chrono::floor<milliseconds>(until - loop_.now());
  if (!truncated || left.count() <= 0) co_return answer;
  Result<std::string> whole = co_await over_tcp(std::move(query), left);
  if (whole) co_return whole;
  co_return answer;
}

}  // namespace weft::dns
