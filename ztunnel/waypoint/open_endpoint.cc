#include "ztunnel/waypoint/open_endpoint.h"

#include "ztunnel/role/headers.h"
#include "ztunnel/role/pick.h"
#include "ztunnel/runtime/socket.h"

#include <algorithm>

namespace weft::waypoint {
namespace {

using runtime::Task;

// As long as a node proxy waits for what it cannot do without.
constexpr std::chrono::seconds kIdentityWait{10};
constexpr std::chrono::seconds kLookUpTimeout{5};

Task<Opened> open_plain(WorkerContext& context, Wanted wanted) {
  runtime::DialOptions options;
  options.timeout = wanted.timeout;
  auto stream = co_await runtime::dial(context.loop, wanted.address, std::move(options));
  if (!stream) co_return std::unexpected(Unreached{std::move(stream.error())});
  co_return Reached{std::move(*stream), std::move(wanted.workload), wanted.address, std::nullopt};
}

Task<Opened> open_tunnel(WorkerContext& context, Wanted wanted) {
  auto tls = co_await context.view.context_for(context.self.identity, kIdentityWait);
  if (!tls) {
    co_return std::unexpected(Unreached{
        std::move(tls.error()).in("no certificate for " + context.self.identity.to_string()),
        role::Flag::kIdentityError});
  }
  hbone::TunnelKey key{context.self.identity, {wanted.workload->identity}, {}};
  if (wanted.service) {
    const auto& names = wanted.service->subject_alt_names;
    key.peers.insert(key.peers.end(), names.begin(), names.end());
  }
  key.address = {wanted.address.ip, hbone::kHbonePort};
  const auto own = context.own_workload();
  hbone::ConnectRequest request = role::connect_request(
      *own, wanted.client, wanted.address.to_string(), wanted.service.get(), context.random);
  auto tunnelled = co_await context.pool.open(std::move(key), std::move(*tls), std::move(request));
  if (!tunnelled) {
    co_return std::unexpected(
        Unreached{std::move(tunnelled.error().error), role::flag_of(tunnelled.error().flag)});
  }
  co_return Reached{std::move(tunnelled->stream), std::move(wanted.workload), wanted.address,
                    std::move(tunnelled->peer)};
}

Task<Opened> open_address(WorkerContext& context, Wanted wanted) {
  wanted.workload =
      role::known_as(*context.view.state(), std::move(wanted.workload), wanted.address.ip);
  if (wanted.workload->other_network) {
    co_return std::unexpected(
        Unreached{Error(Code::kUnavailable, role::title_of(*wanted.workload) +
                                                " is on the network \"" + wanted.workload->network +
                                                "\", and there is no way to other networks")});
  }
  const SocketAddress address = wanted.address;
  Opened opened = wanted.workload->hbone ? co_await open_tunnel(context, std::move(wanted))
                                         : co_await open_plain(context, std::move(wanted));
  if (opened) {
    context.endpoint_memory.succeeded(address);
  } else if (opened.error().flag == role::Flag::kConnect) {
    context.endpoint_memory.failed(address, context.loop.now());
  }
  co_return opened;
}

}  // namespace

Task<Opened> open_endpoint(WorkerContext& context, Wanted wanted) {
  if (!wanted.address.ip.is_unspecified()) {
    co_return co_await open_address(context, std::move(wanted));
  }
  const std::string host = wanted.workload->hostname;
  auto found = co_await context.resolver.resolve(host, dns::Families::kV4ThenV6, kLookUpTimeout);
  if (!found) {
    co_return std::unexpected(Unreached{std::move(found.error()).in("looking up " + host)});
  }
  std::ranges::shuffle(*found, context.random);
  found->resize(std::min(found->size(), role::kAttemptsMax));
  Opened opened = std::unexpected(Unreached{Error(Code::kUnavailable, "nothing was tried")});
  for (const IpAddress& ip : *found) {
    wanted.address.ip = ip;
    opened = co_await open_address(context, wanted);
    if (opened || opened.error().flag != role::Flag::kConnect) break;
  }
  co_return opened;
}

}  // namespace weft::waypoint
