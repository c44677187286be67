#pragma once

#include "proto/route.pb.h"
#include "ztunnel/base/result.h"
#include "ztunnel/http/message.h"
#include "ztunnel/routing/text_match.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft::routing {

// A compiled Cors: which pages may ask, and what browsers are told of it. It never refuses a
// request: a browser does, by what it is told.
class Cors {
 public:
  static Result<Cors> compile(const weft::route::Cors& config);

  // The answer to a preflight (OPTIONS with Access-Control-Request-Method) that is not forwarded:
  // 200 without a body.
  std::optional<http::ResponseHead> preflight(const http::RequestHead& request) const;
  // What is added to the answer of any other request of an allowed origin.
  void tell(const http::RequestHead& request, http::ResponseHead& response) const;

 private:
  bool allows(const http::RequestHead& request) const;

  std::vector<TextMatch> origins_;
  std::string methods_;  // as the header has them, joined by commas
  std::string headers_;
  std::string expose_;
  std::string max_age_;
  bool credentials_ = false;
  bool forward_unmatched_ = false;
};

}  // namespace weft::routing
