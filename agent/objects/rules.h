#pragma once

#include "agent/objects/report.h"
#include "agent/objects/tree.h"
#include "proto/crd/rules.pb.h"

#include <chrono>
#include <optional>
#include <string_view>

namespace weft::objects {

// A duration as Go writes them: "300ms", "-1.5h", "2h45m", "0". Nothing where it is none, or does
// not fit.
std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text);

// What weft.crd.FieldRules say of one value (of a list or a map: of each) beyond its type: the same
// that the CRDs' schemas make the API server say.
void check_value(const crd::FieldRules& rules, const Tree& value, Report& report);

// Of a list or a map: how many elements or entries it may have.
void check_count(const crd::FieldRules& rules, size_t count, Report& report);

}  // namespace weft::objects
