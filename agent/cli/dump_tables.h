#pragma once

#include <google/protobuf/struct.pb.h>

#include <string>
#include <vector>

// Tables of what a ztunnel's /config_dump says, ours or Istio's, with istioctl ztunnel-config's
// columns. Pure. What a dump does not have is an empty table.
namespace weft::cli {

std::string workloads_table(const google::protobuf::Value& dump);
std::string services_table(const google::protobuf::Value& dump);
std::string policies_table(const google::protobuf::Value& dump);
// `now`: RFC 3339 in UTC to the second, as the dump's own times are: whether a certificate is
// valid.
std::string certificates_table(const google::protobuf::Value& dump, const std::string& now);
std::string connections_table(const google::protobuf::Value& dump);

// Columns as wide as their widest cell, three spaces between them; nothing behind the last one.
std::string aligned(const std::vector<std::vector<std::string>>& rows);

}  // namespace weft::cli
