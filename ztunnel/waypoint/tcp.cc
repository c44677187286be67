#include "ztunnel/waypoint/tcp.h"

#include "ztunnel/role/pick.h"

#include <array>

namespace weft::waypoint {
namespace {

using runtime::Task;

Task<Opened> try_workload(WorkerContext& context, const Client& client,
                          std::shared_ptr<const learn::Workload> workload, SocketAddress address,
                          role::Report& report) {
  report.destination(workload);
  report.record.destination.address = address;
  Opened opened = co_await open_endpoint(context, {.workload = std::move(workload),
                                                   .address = address,
                                                   .service = client.service,
                                                   .client = client.address});
  if (opened) {
    report.destination(opened->workload);
    report.record.destination.address = opened->address;
    report.record.destination.identity = opened->peer;
  }
  co_return opened;
}

}  // namespace

Task<Opened> open_tcp(WorkerContext& context, const Client& client, role::Report& report) {
  if (client.routes && !client.routes->refused.empty()) {
    co_return std::unexpected(
        Unreached{Error(Code::kRefused, client.routes->refused), role::Flag::kDenied});
  }
  if (client.target) {
    co_return co_await try_workload(context, client, client.target, client.original, report);
  }
  const auto own = context.own_workload();
  std::array<const learn::Workload*, role::kAttemptsMax> tried{};
  std::optional<Unreached> first;
  for (size_t attempt = 0; attempt < role::kAttemptsMax; ++attempt) {
    const role::Choice choice{.source = *own,
                              .client = client.address.ip,
                              .random = context.random(),
                              .tried = std::span(tried).first(attempt),
                              .memory = &context.endpoint_memory,
                              .now = context.loop.now()};
    const learn::Candidate* chosen =
        role::pick(*client.service, client.port, client.original.ip.is_v4(), choice);
    if (chosen == nullptr) {
      if (first) break;  // that one's reason says more
      co_return std::unexpected(Unreached{
          Error(Code::kUnavailable, role::why_no_endpoint(*client.service, client.port))});
    }
    tried[attempt] = chosen->workload;
    auto workload = client.state->workload_by_uid(chosen->workload->uid);
    Opened opened =
        co_await try_workload(context, client, std::move(workload), chosen->address, report);
    if (opened || opened.error().flag != role::Flag::kConnect) co_return opened;
    if (!first) first = std::move(opened.error());
  }
  co_return std::unexpected(std::move(*first));
}

}  // namespace weft::waypoint
