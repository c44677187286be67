#pragma once

#include "ztunnel/telemetry/metrics.h"

#include <cstdint>
#include <string>
#include <string_view>

// The Prometheus text format, version 0.0.4. Internal to the room.

namespace weft::telemetry {

// Appends name="value" with the value escaped, behind a comma where something stands before it.
void append_label(std::string& out, std::string_view name, std::string_view value);
// All labels of a connection in ztunnel's order, without braces.
void append_connection_labels(std::string& out, const ConnectionLabels& labels);
std::string render_labels(const Labels& labels);

void append_head(std::string& out, std::string_view name, std::string_view help,
                 std::string_view type);
// `labels` without braces; may be empty. A number up to 64 bits, signed or not, as text.
void append_sample(std::string& out, std::string_view name, std::string_view labels,
                   std::string_view value);

}  // namespace weft::telemetry
