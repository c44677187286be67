#include "ztunnel/node/dns_stream.h"

#include "ztunnel/dns/exchange.h"
#include "ztunnel/dns/framing.h"
#include "ztunnel/dns/message.h"
#include "ztunnel/node/dns_proxy.h"
#include "ztunnel/node/outbound.h"
#include "ztunnel/role/report.h"

namespace weft::node {
namespace {

using runtime::ByteStream;
using runtime::Task;

// RFC 7766 leaves it to the server; Istio's ztunnel has the same.
constexpr std::chrono::seconds kIdleMax{5};
// RFC 5936 and RFC 1995: a zone's answer is many messages.
constexpr uint16_t kTypeIxfr = 251;
constexpr uint16_t kTypeAxfr = 252;

// One connection to the resolver that the client asked, opened when first needed, and kept.
class StreamUpstream final : public DnsUpstream {
 public:
  StreamUpstream(PodProxy& proxy, SocketAddress client, SocketAddress resolver)
      : proxy_(proxy), client_(client), resolver_(resolver) {}
  ~StreamUpstream() override { close(std::nullopt); }

  Task<Result<std::string>> forward(std::string query) override {
    const bool kept = stream_ != nullptr;
    Result<std::string> answer = co_await ask(query);
    // The resolver may have closed a kept connection just as we used it.
    if (!answer && kept && !aborted_) answer = co_await ask(std::move(query));
    co_return answer;
  }
  Task<Result<std::string>> look_up(std::string query) override {
    return forward(std::move(query));
  }
  void abort() {
    aborted_ = true;
    if (stream_) stream_->abort();
  }

 private:
  Task<Result<std::string>> ask(std::string query) {
    if (aborted_) co_return fail(Code::kCancelled, "the DNS query was given up here");
    if (!stream_) {
      report_.emplace(proxy_.reporting(), Direction::kOutbound, client_, resolver_);
      stream_ = co_await open_outbound(proxy_, client_, resolver_, *report_);
      if (!stream_) co_return fail(Code::kUnavailable, "no connection to the resolver");
      report_->opened();
      if (aborted_) stream_->abort();
    }
    const runtime::Deadline deadline(proxy_.context().loop, kDnsTimeout,
                                     [this] { stream_->abort(); });
    report_->bytes.add_sent(query.size() + 2);
    Result<std::string> answer =
        co_await dns::ask_over(proxy_.context().loop, *stream_, std::move(query));
    if (answer) {
      report_->bytes.add_received(answer->size() + 2);
    } else {
      close(answer.error());
    }
    co_return answer;
  }

  void close(std::optional<Error> why) {
    if (!stream_) return;
    stream_.reset();
    report_->closed(std::move(why));
    report_.reset();
  }

  PodProxy& proxy_;
  SocketAddress client_;
  SocketAddress resolver_;
  std::optional<Report> report_;
  std::unique_ptr<ByteStream> stream_;
  bool aborted_ = false;
};

// By the header and the question's type: whether answering it is one message.
bool is_one_question(std::string_view message) {
  const auto query = dns::read_query(message);
  if (!query || !query->question) return false;
  return query->question->type != kTypeAxfr && query->question->type != kTypeIxfr;
}

// Whether what has come so far may become a query: something else is seen by its header, before it
// has sent as much as it seems to announce.
bool may_be_query(std::string_view framed_message) {
  if (framed_message.size() < 2 + dns::kHeaderBytes) return true;
  constexpr size_t kFlags = 4;
  constexpr size_t kQuestions = 6;
  const bool is_standard = (static_cast<unsigned char>(framed_message[kFlags]) & 0xf8U) == 0;
  return is_standard && framed_message.substr(kQuestions, 2) == std::string_view("\0\1", 2);
}

class DnsConnection {
 public:
  DnsConnection(PodProxy& proxy, runtime::SocketStream& downstream, SocketAddress client,
                SocketAddress original)
      : loop_(proxy.context().loop),
        proxy_(proxy),
        downstream_(downstream),
        upstream_(proxy, client, original),
        breakable_(proxy, [this] { upstream_.abort(); }, [this] { drain(); }) {}

  Task<std::optional<std::string>> serve() {
    while (true) {
      while (std::optional<std::string> message = deframer_.next()) {
        if (is_first_ && !is_one_question(*message)) {
          co_return dns::framed(*message) + deframer_.pending();
        }
        is_first_ = false;
        if (!co_await answer(std::move(*message))) co_return std::nullopt;
      }
      if (is_first_ && !may_be_query(deframer_.pending())) co_return deframer_.pending();
      if (draining_) co_return std::nullopt;
      if (co_await read_more()) continue;
      if (is_first_ && timed_out_ && !deframer_.pending().empty()) co_return deframer_.pending();
      co_return std::nullopt;
    }
  }

 private:
  // False: the connection is to be ended.
  Task<bool> read_more() {
    const runtime::Deadline deadline(loop_, kIdleMax, [this] { loop_.cancel(downstream_.fd()); });
    reading_ = true;
    const Result<runtime::Buffer> bytes = co_await downstream_.read();
    reading_ = false;
    timed_out_ = deadline.expired();
    if (!bytes || bytes->empty()) co_return false;
    deframer_.push(bytes->text());
    co_return true;
  }

  Task<bool> answer(std::string message) {
    const std::string answer =
        co_await answer_dns(proxy_, std::move(message), DnsTransport::kTcp, upstream_);
    if (answer.empty()) co_return false;
    const runtime::Deadline deadline(loop_, kIdleMax, [this] { downstream_.abort(); });
    const auto written = co_await downstream_.write(loop_.buffers().copy_of(dns::framed(answer)));
    co_return written.has_value();
  }

  // What was read is still answered.
  void drain() {
    draining_ = true;
    if (reading_) loop_.cancel(downstream_.fd());
  }

  runtime::Loop& loop_;
  PodProxy& proxy_;
  runtime::SocketStream& downstream_;
  StreamUpstream upstream_;
  dns::Deframer deframer_;
  bool is_first_ = true;
  bool reading_ = false;
  bool draining_ = false;
  bool timed_out_ = false;
  PodProxy::Breakable breakable_;
};

}  // namespace

Task<std::optional<std::string>> serve_dns_stream(PodProxy& proxy,
                                                  runtime::SocketStream& downstream,
                                                  SocketAddress client, SocketAddress original) {
  DnsConnection connection(proxy, downstream, client, original);
  co_return co_await connection.serve();
}

}  // namespace weft::node
