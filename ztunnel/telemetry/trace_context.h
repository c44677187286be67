#pragma once

#include "ztunnel/http/message.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// Which trace a request belongs to, in the headers that carry it from one hop to the next: W3C's
// trace context (traceparent, tracestate) and B3 (one header, or several).

namespace weft::telemetry {

struct TraceContext {
  uint64_t trace_high = 0;
  uint64_t trace_low = 0;
  uint64_t span = 0;
  uint64_t parent = 0;          // 0: the trace begins here
  std::optional<bool> sampled;  // none: nobody has decided
};

// What came: W3C's where it is there and well formed, else B3; none: nothing usable. One that says
// only whether to sample ("b3: 0") has no ids.
std::optional<TraceContext> read_context(const http::FieldList& fields);

// Puts this span in, for the next hop, instead of what was there. What else the headers say
// (tracestate) is left alone.
void write_w3c(http::FieldList& fields, const TraceContext& context);
void write_b3(http::FieldList& fields, const TraceContext& context);

// 16 digits in lower case.
std::string hex_of(uint64_t number);

}  // namespace weft::telemetry
