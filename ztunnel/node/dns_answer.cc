#include "ztunnel/node/dns_answer.h"

#include "ztunnel/node/dns_names.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

namespace weft::node {
namespace {

using dns::Message;
using dns::Name;
using dns::Question;
using learn::Service;

// RFC 9460: records that name addresses beside those of A and AAAA.
constexpr uint16_t kTypeSvcb = 64;
constexpr uint16_t kTypeHttps = 65;
// ExternalName services that lead to each other.
constexpr int kAliasesMax = 8;
// Of SRV records, which are all alike.
constexpr uint16_t kSrvWeight = 100;

class Answerer {
 public:
  Answerer(const learn::State& state, std::string_view cluster_domain, std::string_view client_ns,
           const dns::Query& query, std::mt19937_64& random)
      : state_(state),
        cluster_domain_(cluster_domain),
        client_ns_(client_ns),
        question_(*query.question),
        random_(random),
        message_(dns::answer_to(query, dns::Rcode::kNoError)) {
    message_.header.authoritative = true;
  }

  DnsDecision addresses();
  DnsDecision locations();
  DnsDecision bindings();

 private:
  std::optional<DnsMeaning> find(std::string_view name) const {
    return find_dns_name(state_, cluster_domain_, client_ns_, name);
  }
  bool is_asked(const IpAddress& address) const {
    return question_.type == dns::type::kAny ||
           address.is_v4() == (question_.type == dns::type::kA);
  }
  bool only_the_name_is_known(const Service& service) const;
  std::vector<IpAddress> addresses_of(const DnsMeaning& meaning) const;
  void add(std::vector<dns::Record>& records, const Name& owner, const IpAddress& address) const {
    records.push_back({owner, kDnsTtlS, address});
  }
  // From `owner` to another name, which is then the owner; false where that is no DNS name.
  bool add_alias(Name& owner, const std::string& target);
  void locate_service(const DnsMeaning& meaning, const Name& owner, uint16_t port);
  void locate_endpoints(const Service& service, const Name& owner, uint16_t port);
  DnsDecision answered();
  Name zone() const;

  const learn::State& state_;
  std::string_view cluster_domain_;
  std::string_view client_ns_;
  const Question& question_;
  std::mt19937_64& random_;
  Message message_;
};

// A ServiceEntry that lists no address the mesh could hand out: its name is resolved as without it.
// A headless service of Kubernetes without endpoints, though, is known to have none.
bool Answerer::only_the_name_is_known(const Service& service) const {
  if (!service.vips.empty()) return false;
  if (!service.vip_ranges.empty()) return true;
  std::string kubernetes = ".svc.";
  kubernetes += cluster_domain_;
  return !service.hostname.ends_with(kubernetes) &&
         std::ranges::none_of(service.endpoints, [](const learn::Endpoint& endpoint) {
           return !endpoint.workload->addresses.empty();
         });
}

std::vector<IpAddress> Answerer::addresses_of(const DnsMeaning& meaning) const {
  const Service& service = *meaning.service;
  std::vector<IpAddress> result;
  const auto take = [&](const std::vector<IpAddress>& from) {
    std::ranges::copy_if(from, std::back_inserter(result),
                         [this](const IpAddress& address) { return is_asked(address); });
  };
  if (meaning.pod) {
    if (is_shown(service, *meaning.pod)) take(meaning.pod->addresses);
  } else if (!service.vips.empty()) {
    take(service.vips);
  } else {
    for (const learn::Endpoint& endpoint : service.endpoints) {
      if (is_shown(service, *endpoint.workload)) take(endpoint.workload->addresses);
    }
  }
  return result;
}

bool Answerer::add_alias(Name& owner, const std::string& target) {
  Result<Name> name = Name::parse(target);
  if (!name) return false;
  message_.answers.push_back({owner, kDnsTtlS, dns::Alias{*name}});
  owner = std::move(*name);
  return true;
}

// Who says that a name of the mesh has nothing of what is asked for: the cluster's domain, or the
// name itself.
Name Answerer::zone() const {
  const std::string asked = question_.name.key();
  const std::string below = "." + std::string(cluster_domain_);
  if (!asked.ends_with(below)) return question_.name;
  return Name::parse(cluster_domain_).value_or(question_.name);
}

// Also the cut to what an answer may have: of a random order, so a random part.
DnsDecision Answerer::answered() {
  auto& answers = message_.answers;
  const auto first = std::ranges::find_if_not(answers, [](const dns::Record& record) {
    return std::holds_alternative<dns::Alias>(record.data);
  });
  if (first == answers.end()) message_.denial = dns::Denial{zone(), kDnsTtlS};
  std::shuffle(first, answers.end(), random_);
  if (answers.size() > kDnsRecordsMax) {
    answers.erase(answers.begin() + kDnsRecordsMax, answers.end());
  }
  return DnsAnswered{std::move(message_)};
}

DnsDecision Answerer::addresses() {
  Name owner = question_.name;
  for (int aliases = 0; aliases <= kAliasesMax; ++aliases) {
    const std::string asked = owner.key();
    const std::optional<DnsMeaning> meaning = find(asked);
    const auto forwarded = [&]() -> DnsDecision {
      if (message_.answers.empty()) return DnsForwarded{};
      return DnsAliased{std::move(message_), owner};
    };
    if (!meaning) return forwarded();
    if (meaning->name != asked && !add_alias(owner, meaning->name)) return forwarded();
    const Service& service = *meaning->service;
    if (!service.external_name.empty() && !meaning->pod) {
      if (!add_alias(owner, service.external_name)) return forwarded();
      continue;
    }
    if (only_the_name_is_known(service)) return forwarded();
    for (const IpAddress& address : addresses_of(*meaning)) add(message_.answers, owner, address);
    return answered();
  }
  return answered();
}

void Answerer::locate_service(const DnsMeaning& meaning, const Name& owner, uint16_t port) {
  const Result<Name> target = Name::parse(meaning.name);
  if (!target) return;
  message_.answers.push_back({owner, kDnsTtlS, dns::Location{0, kSrvWeight, port, *target}});
  for (const IpAddress& vip : meaning.service->vips) add(message_.additional, *target, vip);
}

void Answerer::locate_endpoints(const Service& service, const Name& owner, uint16_t port) {
  for (const learn::Endpoint& endpoint : service.endpoints) {
    const auto target_port = endpoint.ports.find(port);
    if (target_port == endpoint.ports.end() || !is_shown(service, *endpoint.workload)) continue;
    std::string known;  // an endpoint with a name has one record, whatever its addresses
    for (const IpAddress& address : endpoint.workload->addresses) {
      const std::string label = endpoint_label(service, *endpoint.workload, address);
      const Result<Name> target = Name::parse(label + "." + service.hostname);
      if (!target) continue;
      if (std::exchange(known, label) != label) {
        message_.answers.push_back(
            {owner, kDnsTtlS, dns::Location{0, kSrvWeight, target_port->second, *target}});
      }
      add(message_.additional, *target, address);
    }
  }
}

// RFC 2782: "_port._tcp.<host>".
DnsDecision Answerer::locations() {
  const std::string asked = question_.name.key();
  const size_t dot = asked.find('.');
  constexpr std::string_view kTcp = "_tcp.";
  if (!asked.starts_with('_') || dot == std::string::npos ||
      !std::string_view(asked).substr(dot + 1).starts_with(kTcp)) {
    return DnsForwarded{};
  }
  const std::string_view port_name = std::string_view(asked).substr(1, dot - 1);
  const std::string_view prefix = std::string_view(asked).substr(0, dot + 1 + kTcp.size());
  const std::optional<DnsMeaning> meaning = find(std::string_view(asked).substr(prefix.size()));
  if (!meaning || meaning->pod) return DnsForwarded{};
  const Service& service = *meaning->service;
  const auto port = std::ranges::find_if(
      service.port_names, [&](const auto& named) { return named.second == port_name; });
  if (port == service.port_names.end() || only_the_name_is_known(service)) return DnsForwarded{};
  Name owner = question_.name;
  const std::string full = std::string(prefix) + meaning->name;
  if (full != asked && !add_alias(owner, full)) return DnsForwarded{};
  if (service.vips.empty()) {
    locate_endpoints(service, owner, port->first);
  } else {
    locate_service(*meaning, owner, port->first);
  }
  return answered();
}

// A real answer may name addresses that the client would take in place of the service's own.
DnsDecision Answerer::bindings() {
  const std::optional<DnsMeaning> meaning = find(question_.name.key());
  if (!meaning || meaning->service->vips.empty()) return DnsForwarded{};
  return answered();
}

}  // namespace

DnsDecision decide_dns(const learn::State& state, std::string_view cluster_domain,
                       std::string_view client_ns, const dns::Query& query,
                       std::mt19937_64& random) {
  if (!query.question || query.question->klass != dns::kClassIn) return DnsForwarded{};
  Answerer answerer(state, cluster_domain, client_ns, query, random);
  switch (query.question->type) {
    case dns::type::kA:
    case dns::type::kAaaa:
    case dns::type::kAny:
      return answerer.addresses();
    case dns::type::kSrv:
      return answerer.locations();
    case kTypeSvcb:
    case kTypeHttps:
      return answerer.bindings();
    default:
      return DnsForwarded{};
  }
}

}  // namespace weft::node
