#pragma once

#include "ztunnel/node/pod_proxy.h"

#include <chrono>
#include <string>

namespace weft::node {

// How long a pod's query waits for the resolver that it asked, and a new pod's first query for
// control to announce the pod. Just below the five seconds after which the C libraries ask the next
// resolver: the client hears of the failure (SERVFAIL) in time to do so at once.
constexpr std::chrono::milliseconds kDnsTimeout{4500};

// Whoever was asked, as a query can be sent on to it: from within the pod, to the same address.
class DnsUpstream {
 public:
  virtual ~DnsUpstream() = default;
  // The answer as it comes over the transport that the client used, with the query's id.
  virtual runtime::Task<Result<std::string>> forward(std::string query) = 0;
  // The whole answer, for us to read.
  virtual runtime::Task<Result<std::string>> look_up(std::string query) = 0;
};

enum class DnsTransport : uint8_t { kUdp, kTcp };

// The answer to one message of the pod; empty where it deserves none. Never fails: what cannot be
// answered otherwise is SERVFAIL.
runtime::Task<std::string> answer_dns(PodProxy& proxy, std::string message, DnsTransport transport,
                                      DnsUpstream& upstream);
// SERVFAIL, without any work.
std::string refuse_dns(std::string_view message);

}  // namespace weft::node
