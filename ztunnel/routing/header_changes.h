#pragma once

#include "proto/route.pb.h"
#include "ztunnel/base/result.h"
#include "ztunnel/http/message.h"

#include <chrono>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace weft::routing {

// What a value may say of an exchange beside its heads.
struct Facts {
  std::string_view remote_address;  // the client's "ip:port", as a ztunnel told it
  std::string_view local_address;   // where it wanted to go
  std::string_view peer;            // the client's SPIFFE id, proven; empty: none
  std::string_view upstream;        // the endpoint's "ip:port"; empty before there is one
  std::string_view route_name;
  std::string_view hostname;  // ours
  std::chrono::system_clock::time_point started;
};

// A header's value with Envoy's %OPERATORS%: REQ(NAME?OTHER):LENGTH, RESP(..), PROTOCOL,
// START_TIME, RESPONSE_CODE, ROUTE_NAME, HOSTNAME, UPSTREAM_HOST, DOWNSTREAM_PEER_URI_SAN,
// DOWNSTREAM_LOCAL_ADDRESS, DOWNSTREAM_REMOTE_ADDRESS and DOWNSTREAM_DIRECT_REMOTE_ADDRESS, the
// last three also _WITHOUT_PORT.
// "%%" is a percent sign. What is no operator of these stands as it is written.
class Format {
 public:
  static Format compile(std::string_view text);
  bool is_text() const;
  // What is not known is empty.
  std::string of(const http::RequestHead& request, const http::ResponseHead* response,
                 const Facts& facts) const;

 private:
  struct Operator {
    std::string name;
    std::string header;  // in lower case
    std::string other;   // asked where there is no such header
    size_t bytes_max = std::string::npos;
  };
  static bool parse_operator(std::string_view text, Operator& made);
  static std::string value(const Operator& what, const http::RequestHead& request,
                           const http::ResponseHead* response, const Facts& facts);

  std::vector<std::variant<std::string, Operator>> pieces_;
};

// Compiled HeaderChanges: remove, then set, then add. A value that comes out empty changes nothing.
class HeaderChanges {
 public:
  // kInvalid names the header: not a token, a line's end in its value, or one that frames the
  // message (content-length, transfer-encoding, connection, ..) and is not anybody's to change.
  static Result<HeaderChanges> compile(const weft::route::HeaderChanges& config);

  bool empty() const { return set_.empty() && add_.empty() && remove_.empty(); }
  bool says_facts() const;  // whether any value is more than a text
  // "host" and ":authority" change the authority.
  void apply(http::RequestHead& request, const Facts& facts) const;
  void apply(http::ResponseHead& response, const http::RequestHead& request,
             const Facts& facts) const;

 private:
  struct Value {
    std::string name;  // in lower case
    Format format;
  };
  std::vector<std::string> remove_;
  std::vector<Value> set_;
  std::vector<Value> add_;
};

}  // namespace weft::routing
