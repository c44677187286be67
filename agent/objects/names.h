#pragma once

#include "agent/objects/report.h"

#include <google/protobuf/map.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weft::objects {

// The shapes of names in the Kubernetes API. Each returns what is wrong, empty where nothing is.
std::string wrong_with_label_name(std::string_view name);    // RFC 1123 label, 63 characters
std::string wrong_with_dns_label(std::string_view name);     // RFC 1035 label: begins with a letter
std::string wrong_with_subdomain(std::string_view name);     // RFC 1123 subdomain, 253 characters
std::string wrong_with_port_name(std::string_view name);     // RFC 6335 service name, 15 characters
std::string wrong_with_label_key(std::string_view key);      // [prefix/]name
std::string wrong_with_label_value(std::string_view value);  // 63 characters, may be empty

// Adds what is wrong with the value at `field`; empty values pass.
void check_text(std::string_view value, std::string_view field,
                std::string (*wrong)(std::string_view), Report& report);
void check_labels(const google::protobuf::Map<std::string, std::string>& labels,
                  std::string_view field, Report& report);

// A port as decimal text, 1 to 65535, and nothing else.
std::optional<uint16_t> parse_port(std::string_view text);
// Seconds since 1970 of an RFC 3339 time; fractions of a second are cut off.
std::optional<int64_t> parse_time(std::string_view text);
// The way back, in UTC: "2026-01-31T12:00:00Z".
std::string format_time(std::chrono::system_clock::time_point time);

}  // namespace weft::objects
