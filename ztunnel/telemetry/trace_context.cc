#include "ztunnel/telemetry/trace_context.h"

#include <array>

namespace weft::telemetry {
namespace {

constexpr size_t kIdDigits = 16;

// Exactly these digits; W3C wants them in lower case, and B3 has them so.
std::optional<uint64_t> hex(std::string_view text) {
  if (text.empty() || text.size() > kIdDigits) return std::nullopt;
  uint64_t number = 0;
  for (const char c : text) {
    const bool is_digit = c >= '0' && c <= '9';
    if (!is_digit && (c < 'a' || c > 'f')) return std::nullopt;
    number = number * 16 + static_cast<uint64_t>(is_digit ? c - '0' : c - 'a' + 10);
  }
  return number;
}

// A trace's id of 32 digits or, as B3 once had it, 16.
bool read_trace(std::string_view text, TraceContext& context) {
  if (text.size() != kIdDigits && text.size() != 2 * kIdDigits) return false;
  const auto high =
      text.size() == kIdDigits ? std::optional<uint64_t>(0) : hex(text.substr(0, kIdDigits));
  const auto low = hex(text.substr(text.size() - kIdDigits));
  if (!high || !low || (*high == 0 && *low == 0)) return false;
  context.trace_high = *high;
  context.trace_low = *low;
  return true;
}

bool read_span(std::string_view text, TraceContext& context) {
  const auto span = text.size() == kIdDigits ? hex(text) : std::nullopt;
  if (!span || *span == 0) return false;
  context.span = *span;
  return true;
}

// "00-<trace>-<span>-<flags>"; later versions may have more behind it.
std::optional<TraceContext> read_w3c(std::string_view text) {
  constexpr size_t kBytes = 55;
  if (text.size() < kBytes || text[2] != '-' || text[35] != '-' || text[52] != '-') {
    return std::nullopt;
  }
  const auto version = hex(text.substr(0, 2));
  const bool is_longer = text.size() > kBytes;
  if (!version || *version == 0xff || (*version == 0 && is_longer) ||
      (is_longer && text[kBytes] != '-')) {
    return std::nullopt;
  }
  TraceContext context;
  const auto flags = hex(text.substr(53, 2));
  if (!flags || !read_trace(text.substr(3, 32), context) ||
      !read_span(text.substr(36, kIdDigits), context)) {
    return std::nullopt;
  }
  context.sampled = (*flags & 1) != 0;
  return context;
}

std::optional<bool> sampling_of(std::string_view text) {
  if (text == "1" || text == "d" || text == "true") return true;
  if (text == "0" || text == "false") return false;
  return std::nullopt;
}

// "<trace>-<span>[-<sampled>[-<parent>]]" or a decision alone.
std::optional<TraceContext> read_single_b3(std::string_view text) {
  TraceContext context;
  const auto next = [&] {
    const size_t dash = text.find('-');
    const std::string_view part = text.substr(0, dash);
    text = dash == std::string_view::npos ? std::string_view() : text.substr(dash + 1);
    return part;
  };
  if (text.find('-') == std::string_view::npos) {
    context.sampled = sampling_of(text);
    return context.sampled ? std::optional(context) : std::nullopt;
  }
  const std::string_view trace = next();
  if (!read_trace(trace, context) || !read_span(next(), context)) return std::nullopt;
  context.sampled = sampling_of(next());
  return context;
}

std::optional<TraceContext> read_b3(const http::FieldList& fields) {
  TraceContext context;
  context.sampled = sampling_of(fields.get("x-b3-sampled"));
  if (fields.get("x-b3-flags") == "1") context.sampled = true;
  const bool has_ids = read_trace(fields.get("x-b3-traceid"), context) &&
                       read_span(fields.get("x-b3-spanid"), context);
  if (has_ids) return context;
  if (!context.sampled) return std::nullopt;
  TraceContext decision;
  decision.sampled = context.sampled;
  return decision;
}

}  // namespace

std::string hex_of(uint64_t number) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text(kIdDigits, '0');
  for (size_t i = kIdDigits; i > 0; --i) {
    text[i - 1] = kDigits[number & 15U];
    number >>= 4U;
  }
  return text;
}

std::optional<TraceContext> read_context(const http::FieldList& fields) {
  if (auto context = read_w3c(fields.get("traceparent"))) return context;
  if (auto context = read_single_b3(fields.get("b3"))) return context;
  return read_b3(fields);
}

void write_w3c(http::FieldList& fields, const TraceContext& context) {
  fields.set("traceparent", "00-" + hex_of(context.trace_high) + hex_of(context.trace_low) + "-" +
                                hex_of(context.span) + (*context.sampled ? "-01" : "-00"));
}

void write_b3(http::FieldList& fields, const TraceContext& context) {
  fields.remove("b3");
  fields.set("x-b3-traceid", hex_of(context.trace_high) + hex_of(context.trace_low));
  fields.set("x-b3-spanid", hex_of(context.span));
  if (context.parent == 0) {
    fields.remove("x-b3-parentspanid");
  } else {
    fields.set("x-b3-parentspanid", hex_of(context.parent));
  }
  fields.set("x-b3-sampled", *context.sampled ? "1" : "0");
}

}  // namespace weft::telemetry
