#include "ztunnel/routing/header_changes.h"

#include "ztunnel/routing/conditions.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace weft::routing {
namespace {

// What says where a message ends, or is of one connection only.
constexpr std::array<std::string_view, 8> kFraming{
    "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te",
    "trailer",        "proxy-connection"};

bool is_token(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("!#$%&'*+-.^_`|~").contains(c);
  });
}

std::string lower(std::string_view text) {
  std::string made(text);
  for (char& c : made) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return made;
}

bool is_authority(std::string_view name) { return name == "host" || name == ":authority"; }

Result<std::string> checked_name(std::string_view name) {
  std::string made = lower(name);
  if (is_authority(made)) return made;
  if (!is_token(made)) {
    return fail(Code::kInvalid, "header name \"" + made + "\" is not a token");
  }
  if (std::ranges::count(kFraming, made) > 0) {
    return fail(Code::kInvalid, "header \"" + made + "\" frames the message: not to be changed");
  }
  return made;
}

Result<void> check_value(const std::string& name, std::string_view value) {
  const bool breaks = value.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
  if (!breaks) return {};
  return fail(Code::kInvalid, "header \"" + name + "\": its value holds a line's end or a NUL");
}

}  // namespace

Result<HeaderChanges> HeaderChanges::compile(const weft::route::HeaderChanges& config) {
  HeaderChanges made;
  for (const std::string& name : config.remove()) {
    made.remove_.push_back(TRY(checked_name(name)));
    if (is_authority(made.remove_.back())) {
      return fail(Code::kInvalid, "\"" + name + "\" cannot be removed: every request has one");
    }
  }
  const auto values = [](const auto& from, std::vector<Value>& to) -> Result<void> {
    for (const weft::route::HeaderChanges::Value& one : from) {
      std::string name = TRY(checked_name(one.name()));
      TRY(check_value(name, one.value()));
      to.push_back({std::move(name), Format::compile(one.value())});
    }
    return {};
  };
  TRY(values(config.set(), made.set_));
  TRY(values(config.add(), made.add_));
  return made;
}

bool HeaderChanges::says_facts() const {
  const auto says = [](const Value& one) { return !one.format.is_text(); };
  return std::ranges::any_of(set_, says) || std::ranges::any_of(add_, says);
}

void HeaderChanges::apply(http::RequestHead& request, const Facts& facts) const {
  for (const std::string& name : remove_) request.fields.remove(name);
  const auto change = [&](const Value& one, bool add) {
    const std::string value = one.format.of(request, nullptr, facts);
    if (value.empty()) return;
    if (is_authority(one.name)) {
      request.authority = request.fields.keep(value);
    } else if (add) {
      request.fields.add(one.name, value);
    } else {
      request.fields.set(one.name, value);
    }
  };
  for (const Value& one : set_) change(one, false);
  for (const Value& one : add_) change(one, true);
}

void HeaderChanges::apply(http::ResponseHead& response, const http::RequestHead& request,
                          const Facts& facts) const {
  for (const std::string& name : remove_) response.fields.remove(name);
  for (const Value& one : set_) {
    const std::string value = one.format.of(request, &response, facts);
    if (!value.empty() && !is_authority(one.name)) response.fields.set(one.name, value);
  }
  for (const Value& one : add_) {
    const std::string value = one.format.of(request, &response, facts);
    if (!value.empty() && !is_authority(one.name)) response.fields.add(one.name, value);
  }
}

}  // namespace weft::routing
