#pragma once

#include "ztunnel/dns/message.h"
#include "ztunnel/learn/state.h"

#include <random>
#include <string>
#include <string_view>
#include <variant>

namespace weft::node {

// How long a client may keep what we say, as Istio's ztunnel has it.
constexpr uint32_t kDnsTtlS = 30;
// Of one answer. A headless service with more endpoints shows a random part of them: 16 KiB over
// TCP are more than resolvers expect.
constexpr size_t kDnsRecordsMax = 1000;

// The mesh knows the name: this is the answer, which may have no records.
struct DnsAnswered {
  dns::Message message;
};
// Whoever was asked shall answer.
struct DnsForwarded {};
// The mesh knows that the name is an alias of one that it does not know: `message` is what is known
// so far, whoever was asked knows the rest.
struct DnsAliased {
  dns::Message message;
  dns::Name target;
};
using DnsDecision = std::variant<DnsAnswered, DnsForwarded, DnsAliased>;

// What becomes of a query of a pod. Decided from one State; pure but for the order of records.
//
// Known are, for A and AAAA: host names of services (their virtual addresses; without any, their
// ready endpoints), of the pods of a headless service ("db-0.db.shop.svc.cluster.local", or the
// address with dashes for the first label), what a wildcard service covers, and each of these with
// one of the pod's search domains behind it, as its resolver tries it. A name that has only
// addresses of the other family has no data. SRV is known of named ports ("_http._tcp.<host>").
// Everything else is forwarded, also a service of which nothing but the name is known.
DnsDecision decide_dns(const learn::State& state, std::string_view cluster_domain,
                       std::string_view client_ns, const dns::Query& query,
                       std::mt19937_64& random);

}  // namespace weft::node
