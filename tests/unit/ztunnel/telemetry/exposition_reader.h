#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

// A reader of the Prometheus text format 0.0.4, written from its specification and not from our
// writer, that refuses what a Prometheus server would refuse.

namespace weft::telemetry {

using SampleLabels = std::map<std::string, std::string>;

struct Exposition {
  std::map<std::string, std::string> types;
  std::map<std::string, std::string> helps;
  std::map<std::string, std::map<SampleLabels, double>> samples;
  std::string error;  // empty: well-formed
};

Exposition read_exposition(std::string_view text);

}  // namespace weft::telemetry
