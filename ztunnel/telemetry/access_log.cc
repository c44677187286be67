#include "ztunnel/telemetry/access_log.h"

#include "ztunnel/base/log.h"

namespace weft::telemetry {
namespace {

constexpr std::string_view kTarget = "access";

void add_text(log::Line& line, std::string_view key, const std::string& value) {
  if (!value.empty()) line.field(key, value);
}

void add_address(log::Line& line, std::string_view key, const SocketAddress& address) {
  if (address != SocketAddress{}) line.bare(key, address.to_string());
}

void add_identity(log::Line& line, std::string_view key, const std::optional<SpiffeId>& identity) {
  if (identity) line.field(key, identity->to_string());
}

std::string_view name_of(AccessRecord::Direction direction) {
  return direction == AccessRecord::Direction::kInbound ? "inbound" : "outbound";
}

void add_parties(log::Line& line, const AccessRecord& record) {
  add_address(line, "src.addr", record.source.address);
  add_text(line, "src.workload", record.source.workload);
  add_text(line, "src.namespace", record.source.ns);
  add_identity(line, "src.identity", record.source.identity);
  add_text(line, "src.cluster", record.source.cluster);
  add_address(line, "dst.addr", record.destination.address);
  if (!record.hbone_address.empty()) line.bare("dst.hbone_addr", record.hbone_address);
  add_text(line, "dst.service", record.destination_service);
  add_text(line, "dst.workload", record.destination.workload);
  add_text(line, "dst.namespace", record.destination.ns);
  add_identity(line, "dst.identity", record.destination.identity);
  add_text(line, "dst.cluster", record.destination.cluster);
  line.field("direction", name_of(record.direction));
}

}  // namespace

void log_connection_complete(const AccessRecord& record) {
  const log::Level level = record.error ? log::Level::kError : log::Level::kInfo;
  if (!log::enabled(level)) return;
  log::Line line(level, kTarget);
  add_parties(line, record);
  line.bare("bytes_sent", std::to_string(record.bytes_sent));
  line.bare("bytes_recv", std::to_string(record.bytes_received));
  line.field("duration", std::to_string(record.duration.count()) + "ms");
  if (record.error) line.field("error", record.error->to_string());
  line.say("connection complete");
}

void log_connection_opened(const AccessRecord& record) {
  if (!log::enabled(log::Level::kDebug)) return;
  log::Line line(log::Level::kDebug, kTarget);
  add_parties(line, record);
  line.say("connection opened");
}

void log_connection_failed(const SocketAddress& source, const SocketAddress& destination,
                           AccessRecord::Direction direction, const Error& error) {
  if (!log::enabled(log::Level::kWarn)) return;
  log::Line line(log::Level::kWarn, kTarget);
  add_address(line, "src.addr", source);
  add_address(line, "dst.addr", destination);
  line.field("direction", name_of(direction));
  line.field("error", error.to_string());
  line.say("connection failed");
}

}  // namespace weft::telemetry
