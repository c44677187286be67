#pragma once

#include "proto/route.pb.h"
#include "ztunnel/http/message.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::routing {

using Headers = std::vector<std::pair<std::string_view, std::string_view>>;

// The views are of what lives as long as the head.
inline http::RequestHead request(std::string_view method, std::string_view path,
                                 const Headers& headers = {},
                                 std::string_view authority = "reviews:9080") {
  http::RequestHead head;
  head.method = head.fields.keep(method);
  head.scheme = "http";
  head.authority = head.fields.keep(authority);
  head.path = head.fields.keep(path);
  for (const auto& [name, value] : headers) head.fields.add(name, value);
  return head;
}

inline http::RequestHead get(std::string_view path, const Headers& headers = {},
                             std::string_view authority = "reviews:9080") {
  return request("GET", path, headers, authority);
}

// Of protobuf's text format.
template <class Message>
Message parsed(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

}  // namespace weft::routing
