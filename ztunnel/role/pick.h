#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/learn/state.h"
#include "ztunnel/role/endpoint_memory.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace weft::role {

// Endpoints that one connection may try.
constexpr size_t kAttemptsMax = 3;

// What choosing depends on besides the mesh itself.
struct Choice {
  const learn::Workload& source;
  IpAddress client = {};  // the connection's own source address
  uint64_t random = 0;
  std::span<const learn::Workload* const> tried = {};  // not again
  const EndpointMemory* memory = nullptr;  // not where others failed lately, if there is a choice
  EndpointMemory::Time now = {};
};

// Of a service, the endpoints that have the port, are ready (or, where none is, are ending and
// still serve) and have an address of the asked family (or, where none has, of the other). Among
// them, as the service's scopes say: all, only those in all scopes of the client, or those in the
// most. Of these by capacity, or always the same one for a client where the service wants that.
// Null: there is none. Good as long as the State that the service is of.
const learn::Candidate* pick(const learn::Service& service, uint16_t port, bool v4_first,
                             const Choice& choice);
// What to say then.
std::string why_no_endpoint(const learn::Service& service, uint16_t port);

// An endpoint that is written down by its address or name alone may be a pod of the mesh: then it
// is reached as that pod, over mutual TLS and as its policies want it, never in plain text beside
// them.
std::shared_ptr<const learn::Workload> known_as(const learn::State& state,
                                                std::shared_ptr<const learn::Workload> workload,
                                                const IpAddress& ip);

// "service <namespace>/<host>"
std::string title_of(const learn::Service& service);
// "workload <namespace>/<name>"
std::string title_of(const learn::Workload& workload);

}  // namespace weft::role
