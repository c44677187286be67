#include "ztunnel/routing/route.h"

#include <algorithm>
#include <array>
#include <utility>

namespace weft::routing {
namespace {

constexpr std::array<uint32_t, 5> kRedirects{301, 302, 303, 307, 308};

template <class Made>
Result<void> put(Result<Made> made, std::string_view field, Made& to) {
  if (!made) return Fail(std::move(made).error().in(std::string(field)));
  to = *std::move(made);
  return {};
}

Result<void> check_statuses(const weft::route::HttpRoute& config) {
  if (config.has_redirect() && std::ranges::count(kRedirects, config.redirect().status()) == 0) {
    return fail(Code::kInvalid, "redirect.status " + std::to_string(config.redirect().status()) +
                                    ": not 301, 302, 303, 307 or 308");
  }
  const uint32_t direct = config.direct_response().status();
  if (config.has_direct_response() && (direct < 200 || direct > 599)) {
    return fail(Code::kInvalid,
                "direct_response.status " + std::to_string(direct) + ": not of 200 to 599");
  }
  const auto& abort = config.fault().abort();
  if (config.fault().has_abort() && !abort.has_grpc_status() &&
      (abort.http_status() < 200 || abort.http_status() > 599)) {
    return fail(Code::kInvalid, "fault.abort.http_status " + std::to_string(abort.http_status()) +
                                    ": not of 200 to 599");
  }
  return {};
}

Result<Weighted> compile_weighted(const weft::route::Forward::Weighted& config, uint64_t before) {
  Weighted made;
  if (config.weight() == 0) return fail(Code::kInvalid, "a destination's weight is 0");
  made.up_to = before + config.weight();
  made.destination = &config.destination();
  TRY(put(HeaderChanges::compile(config.request_headers()), "request_headers",
          made.request_headers));
  TRY(put(HeaderChanges::compile(config.response_headers()), "response_headers",
          made.response_headers));
  if (config.has_rewrite()) {
    TRY(put(Rewrite::compile(config.rewrite()), "rewrite", made.rewrite.emplace()));
  }
  return made;
}

}  // namespace

Result<Route> Route::compile(const weft::route::HttpRoute& config) {
  Route made;
  made.config = &config;
  TRY(check_statuses(config));
  TRY(put(Rewrite::compile(config.rewrite()), "rewrite", made.rewrite));
  TRY(put(Rewrite::compile(config.redirect().path()), "redirect.path", made.redirect_path));
  TRY(put(HeaderChanges::compile(config.request_headers()), "request_headers",
          made.request_headers));
  TRY(put(HeaderChanges::compile(config.response_headers()), "response_headers",
          made.response_headers));
  if (config.has_cors()) TRY(put(Cors::compile(config.cors()), "cors", made.cors.emplace()));
  uint64_t sum = 0;
  for (const auto& one : config.forward().destinations()) {
    Weighted weighted;
    TRY(put(compile_weighted(one, sum), "destination " + one.destination().hostname(), weighted));
    sum = weighted.up_to;
    made.says_facts = made.says_facts || weighted.request_headers.says_facts() ||
                      weighted.response_headers.says_facts();
    made.destinations.push_back(std::move(weighted));
  }
  made.says_facts =
      made.says_facts || made.request_headers.says_facts() || made.response_headers.says_facts();
  return made;
}

}  // namespace weft::routing
