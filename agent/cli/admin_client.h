#pragma once

#include "ztunnel/base/result.h"

#include <google/protobuf/struct.pb.h>

#include <string>

namespace weft::cli {

// GET of one path on the admin socket of one of Weft's processes. kTimeout: no answer within 20 s;
// kUnavailable: it answered, and not with 200: then its own words.
Result<std::string> ask(const std::string& socket_path, const std::string& path);
// The same, where the answer is a JSON object.
Result<google::protobuf::Value> ask_json(const std::string& socket_path, const std::string& path);

// A member of an object; a value without a kind where it is not there.
const google::protobuf::Value& at(const google::protobuf::Value& object, const std::string& name);

}  // namespace weft::cli
