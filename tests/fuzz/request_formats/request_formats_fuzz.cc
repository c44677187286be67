// Access log formats and filter expressions, which tenants write: read and asked, and headers that
// carry a trace's context, which anybody sends.

#include "ztunnel/base/check.h"
#include "ztunnel/telemetry/expression.h"
#include "ztunnel/telemetry/log_format.h"
#include "ztunnel/telemetry/trace_context.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

using namespace weft;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  http::RequestHead head;
  head.method = "GET";
  head.path = text;
  head.fields.add("traceparent", text);
  head.fields.add("b3", text);
  head.fields.add("x-b3-traceid", text.substr(0, text.size() / 2));
  head.fields.add("x-b3-spanid", text.substr(text.size() / 2));
  telemetry::RequestFacts facts;
  facts.request = &head;
  if (const auto context = telemetry::read_context(head.fields)) {
    // What is read is written, and read back the same.
    telemetry::TraceContext mine = *context;
    mine.sampled = mine.sampled.value_or(false);
    if (mine.span != 0) {
      http::FieldList fields;
      telemetry::write_w3c(fields, mine);
      const auto again = telemetry::read_context(fields);
      CHECK(again && again->trace_low == mine.trace_low && again->span == mine.span);
    }
  }
  std::string out;
  for (const auto& format :
       {telemetry::LogFormat::of_text(text),
        telemetry::LogFormat::of_fields({{std::string(text), std::string(text)}})}) {
    if (!format) continue;
    format->append(out, facts);
    CHECK(out.ends_with('\n'));
  }
  if (const auto expression = telemetry::Expression::parse(text)) {
    static_cast<void>(telemetry::text_of(expression->value(facts)));
    static_cast<void>(expression->holds(facts));
  }
  return 0;
}
