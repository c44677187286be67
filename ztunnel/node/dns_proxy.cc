// A pod's DNS query, whatever carried it: who asks, what the mesh knows, and for the rest whoever
// was asked.

#include "ztunnel/node/dns_proxy.h"

#include "ztunnel/base/log.h"
#include "ztunnel/dns/message.h"
#include "ztunnel/node/dns_answer.h"
#include "ztunnel/node/dns_metrics.h"

#include <algorithm>
#include <iterator>

namespace weft::node {
namespace {

using dns::Message;
using dns::Rcode;
using runtime::Task;

size_t bytes_max(const dns::Query& query, DnsTransport transport) {
  return transport == DnsTransport::kUdp ? query.udp_bytes_max() : dns::kMessageBytesMax;
}

std::string servfail(const dns::Query& query) {
  return encode(answer_to(query, Rcode::kServFail), dns::kUdpBytesMin);
}

Task<Result<DnsDecision>> decide(PodProxy& proxy, const dns::Query& query) {
  WorkerContext& context = proxy.context();
  const auto self = CO_TRY(co_await context.view.workload_of(proxy.pod(), kDnsTimeout));
  const auto state = CO_TRY(co_await context.view.ready_state(kDnsTimeout));
  co_return decide_dns(*state, context.config.cluster_domain, self->ns, query, context.random);
}

Task<Result<std::string>> ask(PodProxy& proxy, Task<Result<std::string>> asking) {
  const DnsMetrics* metrics = proxy.context().dns_metrics;
  const auto since = std::chrono::steady_clock::now();
  if (metrics != nullptr) metrics->upstream_requests.add();
  Result<std::string> answer = co_await std::move(asking);
  if (metrics != nullptr) {
    metrics->upstream_duration.observe(std::chrono::steady_clock::now() - since);
    if (!answer) metrics->upstream_failures.add();
  }
  if (!answer) {
    log::debug("dns")
        .field("pod", proxy.pod().ns + "/" + proxy.pod().name)
        .field("error", answer.error().to_string())
        .say("a forwarded query got no answer");
  }
  co_return answer;
}

// What is known of an alias, and behind it what the resolver says of its target.
Task<std::string> follow_alias(PodProxy& proxy, const dns::Query& query, DnsAliased alias,
                               size_t size_max, DnsUpstream& upstream) {
  Message target;
  target.header.id = query.header.id;
  target.header.recursion_desired = query.header.recursion_desired;
  target.question = dns::Question{alias.target, query.question->type, dns::kClassIn};
  target.edns = dns::Edns{};
  const Result<std::string> bytes =
      co_await ask(proxy, upstream.look_up(encode(target, dns::kUdpBytesMin)));
  Result<Message> answer = bytes ? dns::parse(*bytes) : Fail(bytes.error());
  if (!answer) co_return servfail(query);
  Message& whole = alias.message;
  whole.header.rcode = answer->header.rcode;
  whole.header.authoritative = false;
  whole.denial = std::move(answer->denial);
  std::ranges::move(answer->answers, std::back_inserter(whole.answers));
  if (whole.answers.size() > kDnsRecordsMax) {
    whole.answers.erase(whole.answers.begin() + kDnsRecordsMax, whole.answers.end());
  }
  co_return encode(whole, size_max);
}

}  // namespace

std::string refuse_dns(std::string_view message) {
  const auto query = dns::read_query(message);
  return query ? servfail(*query) : query.error();
}

Task<std::string> answer_dns(PodProxy& proxy, std::string message, DnsTransport transport,
                             DnsUpstream& upstream) {
  if (const DnsMetrics* metrics = proxy.context().dns_metrics) metrics->requests.add();
  const auto query = dns::read_query(message);
  if (!query) co_return query.error();
  Result<DnsDecision> decision = co_await decide(proxy, *query);
  if (!decision) {
    log::warn("dns")
        .field("pod", proxy.pod().ns + "/" + proxy.pod().name)
        .field("error", decision.error().to_string())
        .say("a query is answered with SERVFAIL");
    co_return servfail(*query);
  }
  if (const auto* answered = std::get_if<DnsAnswered>(&*decision)) {
    co_return encode(answered->message, bytes_max(*query, transport));
  }
  if (auto* aliased = std::get_if<DnsAliased>(&*decision)) {
    const size_t size_max = bytes_max(*query, transport);
    co_return co_await follow_alias(proxy, *query, std::move(*aliased), size_max, upstream);
  }
  Result<std::string> forwarded = co_await ask(proxy, upstream.forward(std::move(message)));
  if (!forwarded) co_return servfail(*query);
  co_return std::move(*forwarded);
}

}  // namespace weft::node
