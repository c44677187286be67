#include "agent/compile/capture_scope.h"

#include <algorithm>
#include <charconv>

namespace weft::compile {

namespace {

constexpr std::string_view kExcludeOutboundPorts = "traffic.sidecar.istio.io/excludeOutboundPorts";
constexpr std::string_view kExcludeOutboundRanges =
    "traffic.sidecar.istio.io/excludeOutboundIPRanges";
constexpr std::string_view kIncludeOutboundPorts = "traffic.sidecar.istio.io/includeOutboundPorts";
constexpr std::string_view kIncludeOutboundRanges =
    "traffic.sidecar.istio.io/includeOutboundIPRanges";
constexpr std::string_view kExcludeInboundPorts = "traffic.sidecar.istio.io/excludeInboundPorts";
constexpr std::string_view kIncludeInboundPorts = "traffic.sidecar.istio.io/includeInboundPorts";
constexpr std::string_view kBypassInbound = "ambient.istio.io/bypass-inbound-capture";

constexpr uint16_t kHbonePort = 15008;

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

std::string quoted(std::string_view text) { return '"' + std::string(text) + '"'; }

Result<uint16_t> parse_port(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error == std::errc() && end == text.data() + text.size() && port != 0) return port;
  return fail(Code::kInvalid, quoted(text) +
                                  " is no port: write numbers from 1 to 65535 with "
                                  "commas between");
}

Result<Cidr> parse_range(std::string_view text) {
  const Result<Cidr> range = Cidr::parse(text);
  if (range && text.contains('/')) return *range;
  return fail(Code::kInvalid,
              quoted(text) + " is no CIDR: write ranges such as 10.0.0.0/8" +
                  (range ? " (one address: " + range->to_string() + ")" : std::string()) +
                  " with commas between");
}

// An empty text is an empty list; an empty element between commas is a mistake.
template <class Element>
Result<std::vector<Element>> parse_list(std::string_view text,
                                        Result<Element> (*parse)(std::string_view)) {
  std::vector<Element> list;
  text = trimmed(text);
  while (!text.empty()) {
    const size_t comma = text.find(',');
    list.push_back(TRY(parse(trimmed(text.substr(0, comma)))));
    if (list.size() > kScopeEntriesMax) {
      return fail(Code::kLimit, "more than " + std::to_string(kScopeEntriesMax) + " entries");
    }
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (trimmed(text).empty()) return fail(Code::kInvalid, "it ends with a comma: remove it");
  }
  return list;
}

// strconv.ParseBool's words, which Istio reads it by.
Result<bool> parse_bool(std::string_view text) {
  for (const std::string_view word : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == word) return true;
  }
  for (const std::string_view word : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == word) return false;
  }
  return fail(Code::kInvalid, quoted(text) + ": expected \"true\" or \"false\"");
}

class Reader {
 public:
  Reader(const Labels& annotations, std::vector<AnnotationMistake>& mistakes)
      : annotations_(annotations), mistakes_(mistakes) {}

  template <class Element>
  std::vector<Element> exclude(std::string_view name, Result<Element> (*parse)(std::string_view)) {
    const auto text = text_of(name);
    if (!text) return {};
    if (trimmed(*text) == "*") {
      mistaken(name,
               "\"*\" would exclude everything, which Istio refuses too: name what to "
               "exclude, or set the include annotation of the same name to \"\"");
      return {};
    }
    return read(name, parse_list(*text, parse)).value_or(std::vector<Element>());
  }

  // nullopt: all.
  template <class Element>
  std::optional<std::vector<Element>> include(std::string_view name,
                                              Result<Element> (*parse)(std::string_view)) {
    const auto text = text_of(name);
    if (!text || trimmed(*text) == "*") return std::nullopt;
    return read(name, parse_list(*text, parse));
  }

  bool flag(std::string_view name) {
    const auto text = text_of(name);
    return text && read(name, parse_bool(*text)).value_or(false);
  }

  bool has(std::string_view name) const { return text_of(name).has_value(); }

 private:
  std::optional<std::string_view> text_of(std::string_view name) const {
    const auto found = annotations_.find(std::string(name));
    if (found == annotations_.end()) return std::nullopt;
    return found->second;
  }

  template <class Value>
  std::optional<Value> read(std::string_view name, Result<Value> value) {
    if (value) return std::move(*value);
    mistaken(name, value.error().message + " (captured as if it were not there)");
    return std::nullopt;
  }

  void mistaken(std::string_view name, std::string message) {
    mistakes_.push_back({std::string(name), std::move(message)});
  }

  const Labels& annotations_;
  std::vector<AnnotationMistake>& mistakes_;
};

}  // namespace

CaptureScope read_capture_scope(const Labels& annotations,
                                std::vector<AnnotationMistake>& mistakes) {
  Reader reader(annotations, mistakes);
  CaptureScope scope;
  scope.exclude_outbound_ports = reader.exclude(kExcludeOutboundPorts, parse_port);
  scope.exclude_outbound_ranges = reader.exclude(kExcludeOutboundRanges, parse_range);
  scope.include_outbound_ranges = reader.include(kIncludeOutboundRanges, parse_range);
  const auto ports = reader.include(kIncludeOutboundPorts, parse_port);
  if (ports) scope.include_outbound_ports = *ports;
  // All ports, or some that we cannot read: then ranges do not say any more what is left out.
  if (!ports && reader.has(kIncludeOutboundPorts)) scope.include_outbound_ranges.reset();
  scope.exclude_inbound_ports = reader.exclude(kExcludeInboundPorts, parse_port);
  scope.include_inbound_ports = reader.include(kIncludeInboundPorts, parse_port);
  if (reader.flag(kBypassInbound)) scope.include_inbound_ports.emplace();
  if (std::ranges::find(scope.exclude_inbound_ports, kHbonePort) !=
      scope.exclude_inbound_ports.end()) {
    mistakes.push_back({std::string(kExcludeInboundPorts),
                        "port 15008 is the mesh's own and captured in any case: remove it"});
  }
  return scope;
}

}  // namespace weft::compile
