#pragma once

#include "ztunnel/base/result.h"

#include <google/protobuf/struct.pb.h>

#include <chrono>
#include <string>

namespace weft::cli {

// An agent asks its ztunnel first, which may have 100 000 workloads to tell of.
constexpr std::chrono::seconds kAnswerWithin{20};

// GET of one path on the admin socket of one of Weft's processes. kTimeout: no answer in time;
// kUnavailable: it answered, and not with 200: then its own words.
Result<std::string> ask(const std::string& socket_path, const std::string& path,
                        std::chrono::seconds patience = kAnswerWithin);
// An answer that is a JSON object.
Result<google::protobuf::Value> parse_answer(const std::string& text);

// A member of an object; a value without a kind where it is not there.
const google::protobuf::Value& at(const google::protobuf::Value& object, const std::string& name);

}  // namespace weft::cli
