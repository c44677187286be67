#include "ztunnel/node/connections.h"

#include "ztunnel/node/pod_proxy.h"
#include "ztunnel/node/worker.h"
#include "ztunnel/runtime/sync.h"

#include <algorithm>
#include <iterator>

namespace weft::node {
namespace {

using runtime::Task;

constexpr std::chrono::seconds kAnswerWithin{2};

role::OpenConnection entry_of(const Report& report) {
  const telemetry::AccessRecord& record = report.record;
  role::OpenConnection entry;
  entry.source = record.source.address;
  entry.hbone = report.mutual_tls;
  if (record.direction == Direction::kOutbound) {
    entry.original = report.original().to_string();
    entry.actual = record.destination.address.to_string();
  } else {
    entry.original = record.destination_service;
    entry.actual = record.hbone_address.empty() ? record.destination.address.to_string()
                                                : record.hbone_address;
  }
  return entry;
}

void append(std::vector<role::OpenConnection>& to, std::vector<role::OpenConnection> from) {
  std::ranges::move(from, std::back_inserter(to));
}

// Shared with closures that workers may still hold when the one who asked has gone.
struct Gathering {
  role::Connections all;
  size_t missing = 0;
  runtime::Event done;

  void add(role::Connections part) {
    for (auto& [uid, pod] : part.pods) {
      append(all.pods[uid].inbound, std::move(pod.inbound));
      append(all.pods[uid].outbound, std::move(pod.outbound));
    }
    all.listed += part.listed;
    all.omitted += part.omitted;
    if (--missing == 0) done.set();
  }
};

}  // namespace

void list_connections(PodProxy& proxy, const std::string& uid, role::Connections& into) {
  role::PodConnections& pod = into.pods[uid];
  for (const Report* report : proxy.open_connections()) {
    if (into.listed == role::kConnectionsListedMax) {
      ++into.omitted;
      continue;
    }
    ++into.listed;
    const bool inbound = report->record.direction == Direction::kInbound;
    (inbound ? pod.inbound : pod.outbound).push_back(entry_of(*report));
  }
}

Task<role::Connections> gather_connections(runtime::Loop& loop,
                                           const std::vector<Worker*>& workers) {
  auto gathering = std::make_shared<Gathering>();
  gathering->missing = workers.size();
  for (Worker* worker : workers) {
    worker->list_connections([&loop, gathering](role::Connections part) {
      loop.post([gathering, part = std::move(part)]() mutable { gathering->add(std::move(part)); });
    });
  }
  if (gathering->missing > 0) {
    const runtime::Deadline deadline(loop, kAnswerWithin, [gathering] { gathering->done.set(); });
    co_await gathering->done.wait();
  }
  role::Connections all = std::move(gathering->all);
  all.complete = gathering->missing == 0;
  co_return all;
}

}  // namespace weft::node
