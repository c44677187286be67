#pragma once

#include "agent/compile/store.h"
#include "ztunnel/base/ip.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace weft::compile {

// Which connections of an enrolled pod are captured, where its annotations say less than all.
// Being excluded goes before being included. Port 15008 in is captured in any case: there the mesh
// itself connects.
struct CaptureScope {
  std::vector<uint16_t> exclude_outbound_ports;
  std::vector<Cidr> exclude_outbound_ranges;
  // Of connections out only those to these ranges, or to a port included; nullopt: all.
  std::optional<std::vector<Cidr>> include_outbound_ranges;
  std::vector<uint16_t> include_outbound_ports;
  // Counts only where `include_inbound_ports` is nullopt: all but these.
  std::vector<uint16_t> exclude_inbound_ports;
  std::optional<std::vector<uint16_t>> include_inbound_ports;

  bool captures_all() const { return *this == CaptureScope(); }
  bool operator==(const CaptureScope&) const = default;
};

// Longer lists are refused, as a mistake: Istio's users have a handful.
constexpr size_t kScopeEntriesMax = 256;

// A mistake in an annotation: what is wrong with it, and what to write instead.
struct AnnotationMistake {
  std::string annotation;
  std::string message;
  std::string to_string() const { return "annotation " + annotation + ": " + message; }
  bool operator==(const AnnotationMistake&) const = default;
};

// Reads traffic.sidecar.istio.io/{include,exclude}{Outbound,Inbound}Ports,
// {include,exclude}OutboundIPRanges and ambient.istio.io/bypass-inbound-capture, as Istio does. An
// annotation with a mistake counts as absent, so that more is captured, never less.
CaptureScope read_capture_scope(const Labels& annotations,
                                std::vector<AnnotationMistake>& mistakes);

}  // namespace weft::compile
