#pragma once

#include "agent/cli/kernel_probes.h"

#include <string>
#include <vector>

namespace weft::cli {

// A feature with what its probe said.
struct Checked {
  Feature feature;
  Result<std::string> outcome;
};
std::vector<Checked> probe_all(const std::vector<Feature>& features);

// FEATURE, STATE (ok, missing), NEED (needed, used), and a word about it; where it is missing, why
// and what Weft does then.
std::string precheck_table(const std::vector<Checked>& checked);
// One JSON object a line: feature, state, needed, detail, without.
std::string precheck_json(const std::vector<Checked>& checked);
// Whether something is missing that Weft does not work without.
bool is_unfit(const std::vector<Checked>& checked);

}  // namespace weft::cli
