#pragma once

#include "ztunnel/http/message.h"
#include "ztunnel/routing/text_match.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft::routing {

// "/a/b?c=d" without "?c=d".
std::string_view without_query(std::string_view path);
// "c=d"; empty: none.
std::string_view query_of(std::string_view path);
// "reviews:9080" without ":9080"; brackets of IPv6 stay.
std::string_view without_port(std::string_view authority);

// A header's value as matches and formats see it: several of one name are joined by a comma, and
// ":method", ":path", ":scheme", ":authority" and "host" are what they say. `joined` is where a
// joined one is kept. nullopt: there is none.
std::optional<std::string_view> header_value(const http::RequestHead& request,
                                             std::string_view name, std::string& joined);
// The first parameter's of that name, as it stands in the query: nothing is decoded.
std::optional<std::string_view> query_value(std::string_view query, std::string_view name);

// All of an HttpMatch but a path that an index finds.
class Conditions {
 public:
  // kInvalid names the field.
  static Result<Conditions> compile(const weft::route::HttpMatch& match);

  bool hold(const http::RequestHead& request) const;

 private:
  struct Named {
    std::string name;
    TextMatch value;
    bool invert = false;

    bool holds(std::optional<std::string_view> found) const;
  };
  static Result<std::vector<Named>> compile_named(
      const google::protobuf::RepeatedPtrField<weft::route::HttpMatch::Named>& from,
      std::string_view field);

  Regex path_;  // null: not of a regular expression
  std::optional<TextMatch> method_;
  std::optional<TextMatch> authority_;
  std::optional<TextMatch> scheme_;
  std::vector<Named> headers_;
  std::vector<Named> query_;
};

}  // namespace weft::routing
