#include "ztunnel/telemetry/shard.h"

#include "ztunnel/telemetry/exposition.h"

namespace weft::telemetry {

Shard::Shard() : impl_(std::make_unique<Impl>()) {}
Shard::~Shard() = default;

ConnectionCounters Shard::connection(const ConnectionLabels& labels) {
  Impl& impl = *impl_;
  impl.key.clear();
  append_connection_labels(impl.key, labels);
  auto found = impl.series.find(impl.key);
  if (found == impl.series.end() && impl.series.size() >= kSeriesMax) {
    impl.refused.add(1);
    ConnectionLabels unknown;
    unknown.reporter = labels.reporter;
    impl.key.clear();
    append_connection_labels(impl.key, unknown);
    found = impl.series.find(impl.key);
  }
  if (found == impl.series.end()) {
    const std::scoped_lock lock(impl.mutex);
    found = impl.series.emplace(impl.key, std::make_unique<detail::ConnectionSeries>()).first;
  }
  return ConnectionCounters(found->second.get());
}

}  // namespace weft::telemetry
