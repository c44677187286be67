#include "ztunnel/dns/resolver.h"

#include "ztunnel/dns/exchange.h"
#include "ztunnel/dns/message.h"

#include <algorithm>
#include <optional>

namespace weft::dns {
namespace {

using runtime::Task;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Addresses = std::vector<IpAddress>;

// A chain of aliases within one answer; servers follow as many.
constexpr int kAliasesMax = 16;

struct Outcome {
  Result<Addresses> addresses;
  seconds keep;
};

std::string make_query(const Name& name, uint16_t type) {
  Message query;
  query.header.recursion_desired = true;
  query.question = Question{name, type, kClassIn};
  query.edns = Edns{};
  return encode(query, kUdpBytesMin);
}

Outcome nothing_there(const Message& answer, const std::string& what) {
  const seconds keep(answer.denial ? answer.denial->ttl_s : 0);
  return {fail(Code::kNotFound, what),
          std::clamp(keep, Resolver::kKeepMin, Resolver::kKeepNegativeMax)};
}

// Follows the aliases from the name that was asked for; takes no address of another name.
Outcome read_answer(const Message& answer, const std::string& name, uint16_t type) {
  if (answer.header.rcode == Rcode::kNxDomain) {
    return nothing_there(answer, "the name " + name + " does not exist");
  }
  if (answer.header.rcode != Rcode::kNoError) {
    return {fail(Code::kUnavailable, "the DNS server answered for " + name + " with code " +
                                         std::to_string(static_cast<int>(answer.header.rcode))),
            Resolver::kKeepFailure};
  }
  Addresses addresses;
  uint32_t ttl_s = static_cast<uint32_t>(Resolver::kKeepMax.count());
  const Name* owner = &answer.question->name;
  for (int aliases = 0; owner != nullptr && aliases <= kAliasesMax; ++aliases) {
    const Name* next = nullptr;
    for (const Record& record : answer.answers) {
      if (!record.name.same_as(*owner)) continue;
      const auto* address = std::get_if<IpAddress>(&record.data);
      if (address != nullptr && address->is_v4() == (type == type::kA) &&
          addresses.size() < Resolver::kAddressesMax) {
        addresses.push_back(*address);
        ttl_s = std::min(ttl_s, record.ttl_s);
      }
      if (const auto* alias = std::get_if<Alias>(&record.data); alias != nullptr && !next) {
        next = &alias->target;
        ttl_s = std::min(ttl_s, record.ttl_s);
      }
    }
    owner = addresses.empty() ? next : nullptr;
  }
  if (addresses.empty()) {
    return nothing_there(answer, "the name " + name + " has no " +
                                     (type == type::kA ? "IPv4" : "IPv6") + " address");
  }
  return {std::move(addresses), std::max(seconds(ttl_s), Resolver::kKeepMin)};
}

}  // namespace

struct Resolver::Entry {
  std::optional<Outcome> outcome;  // of the last look-up, in force until:
  std::chrono::steady_clock::time_point until{};
  bool looking = false;
  runtime::Event looked;
};

Resolver::Resolver(runtime::Loop& loop, std::string resolv_conf, int netns_fd, uint16_t port)
    : loop_(loop), path_(std::move(resolv_conf)), netns_fd_(netns_fd), port_(port) {}

Resolver::~Resolver() { CHECK(exchanges_.empty()); }

Task<void> Resolver::stop() {
  stopped_ = true;
  const std::set<Exchange*> asking = exchanges_;
  for (Exchange* exchange : asking) exchange->abort();
  co_await lookups_.join();
}

const ResolvConf& Resolver::conf() {
  const auto now = loop_.now();
  if (conf_.servers.empty() || now - conf_read_at_ >= kConfReadAgain) {
    conf_ = read_resolv_conf(path_);
    conf_read_at_ = now;
  }
  return conf_;
}

// A full table loses what has expired, or else what expires soonest. Entries that are being looked
// up stay with whoever waits for them.
void Resolver::make_room() {
  if (entries_.size() < kNamesMax) return;
  std::erase_if(entries_, [now = loop_.now()](const auto& entry) {
    return !entry.second->looking && entry.second->until <= now;
  });
  if (entries_.size() < kNamesMax) return;
  entries_.erase(std::ranges::min_element(entries_, {}, [](const auto& entry) {
    return std::pair(entry.second->looking, entry.second->until);
  }));
}

std::shared_ptr<Resolver::Entry> Resolver::entry_for(const Key& key) {
  const auto known = entries_.find(key);
  if (known != entries_.end()) return known->second;
  make_room();
  return entries_.emplace(key, std::make_shared<Entry>()).first->second;
}

Task<Result<Addresses>> Resolver::addresses(Key key, milliseconds limit) {
  const std::shared_ptr<Entry> entry = entry_for(key);
  const runtime::Deadline deadline(loop_, limit, [&entry] { entry->looked.wake(); });
  if (!entry->looking && (!entry->outcome || entry->until <= loop_.now())) {
    if (lookups_.running() >= kLookupsMax) {
      co_return fail(Code::kLimit, "more than " + std::to_string(kLookupsMax) +
                                       " names are being resolved at this moment");
    }
    entry->looking = true;
    lookups_.spawn(look_up(key, entry));
  }
  while (entry->looking && !deadline.expired()) co_await entry->looked.wait();
  if (entry->looking) {
    co_return fail(Code::kTimeout, "resolving " + key.first + " took longer than " +
                                       std::to_string(limit.count()) + " ms");
  }
  co_return entry->outcome->addresses;
}

Task<void> Resolver::look_up(Key key, std::shared_ptr<Entry> entry) {
  const auto& [name, type] = key;
  Outcome outcome{fail(Code::kInternal, ""), kKeepFailure};
  if (const Result<Name> parsed = Name::parse(name); !parsed) {
    outcome.addresses = Fail(parsed.error());
  } else {
    const Result<std::string> bytes = co_await ask_servers(make_query(*parsed, type));
    const Result<Message> answer = bytes ? parse(*bytes) : Fail(bytes.error());
    if (!answer) {
      outcome.addresses = Fail(Error(answer.error()).in("resolving " + name));
    } else if (!answer->question) {
      outcome.addresses = fail(Code::kUnavailable, "the DNS server could not read the query");
    } else {
      outcome = read_answer(*answer, name, type);
    }
  }
  entry->until = loop_.now() + outcome.keep;
  entry->outcome = std::move(outcome);
  entry->looking = false;
  entry->looked.wake();
}

// In the order of resolv.conf, round after round, as the C library does; a server that says that it
// cannot is not asked for more, the next one is.
Task<Result<std::string>> Resolver::ask_servers(std::string query) {
  const ResolvConf conf = this->conf();
  const auto until = loop_.now() + kLookupMax;
  Result<std::string> last = fail(Code::kUnavailable, "no DNS server answered");
  for (int attempt = 0; attempt < conf.attempts; ++attempt) {
    for (const IpAddress& server : conf.servers) {
      const auto left = std::chrono::floor<milliseconds>(until - loop_.now());
      if (left.count() <= 0) co_return last;
      Exchange exchange(loop_, SocketAddress{server, port_}, netns_fd_);
      if (stopped_) exchange.abort();
      exchanges_.insert(&exchange);
      Result<std::string> answer = co_await exchange.ask(query, std::min(conf.timeout, left));
      exchanges_.erase(&exchange);
      if (stopped_) co_return fail(Code::kCancelled, "the resolver is being stopped");
      if (!answer) {
        last =
            Fail(Error(answer.error().code == Code::kTimeout ? Code::kTimeout : Code::kUnavailable,
                       "no DNS server answered", std::move(answer.error())));
        continue;
      }
      const unsigned rcode = static_cast<unsigned char>((*answer)[3]) & 0xfU;
      last = std::move(answer);
      const bool decisive = rcode == static_cast<unsigned>(Rcode::kNoError) ||
                            rcode == static_cast<unsigned>(Rcode::kNxDomain);
      if (decisive) co_return last;
    }
  }
  co_return last;
}

namespace {

Task<void> keep(Task<Result<Addresses>> task, std::optional<Result<Addresses>>& into) {
  into.emplace(co_await std::move(task));
}

}  // namespace

Task<Result<Addresses>> Resolver::resolve(std::string name, Families families, milliseconds limit) {
  if (stopped_) co_return fail(Code::kCancelled, "the resolver is being stopped");
  if (name.ends_with('.')) name.pop_back();
  std::ranges::transform(name, name.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  const bool v4_first = families == Families::kV4 || families == Families::kV4ThenV6;
  const uint16_t first_type = v4_first ? type::kA : type::kAaaa;
  if (families == Families::kV4 || families == Families::kV6) {
    co_return co_await addresses(Key(name, first_type), limit);
  }
  std::optional<Result<Addresses>> first;
  std::optional<Result<Addresses>> second;
  runtime::TaskScope both;
  both.spawn(keep(addresses(Key(name, first_type), limit), first));
  both.spawn(keep(addresses(Key(name, v4_first ? type::kAaaa : type::kA), limit), second));
  co_await both.join();
  if (!*first) co_return std::move(*second ? *second : *first);
  if (*second) (*first)->insert((*first)->end(), (*second)->begin(), (*second)->end());
  co_return std::move(*first);
}

}  // namespace weft::dns
