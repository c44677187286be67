#include "agent/cli/admin_client.h"

#include "ztunnel/http/http1_server.h"
#include "ztunnel/runtime/socket.h"

#include <google/protobuf/util/json_util.h>

namespace weft::cli {

namespace {

using google::protobuf::Value;

runtime::Task<void> fetch(runtime::Loop& loop, std::string socket_path, std::string path,
                          Result<std::string>& answer) {
  auto stream = co_await runtime::dial_unix(loop, socket_path);
  if (!stream) {
    answer = Fail(std::move(stream).error());
    loop.stop();
    co_return;
  }
  auto response = co_await http::fetch_http1(loop, std::move(*stream), "GET", path, "");
  if (!response) {
    answer = Fail(std::move(response).error());
  } else if (response->status != 200) {
    const std::string words = response->body.substr(0, response->body.find('\n'));
    answer = fail(Code::kUnavailable,
                  words.empty() ? "it answered " + std::to_string(response->status) : words);
  } else {
    answer = std::move(response->body);
  }
  loop.stop();
}

}  // namespace

Result<std::string> ask(const std::string& socket_path, const std::string& path,
                        std::chrono::seconds patience) {
  Result<std::string> answer =
      fail(Code::kTimeout, "it did not answer within " + std::to_string(patience.count()) + " s");
  const auto loop = TRY(runtime::Loop::create(runtime::Backend::kEpoll));
  loop->spawn(fetch(*loop, socket_path, path, answer));
  loop->schedule(patience, [&loop] { loop->stop(); });
  loop->run();
  return answer;
}

Result<Value> parse_answer(const std::string& text) {
  Value value;
  if (!google::protobuf::util::JsonStringToMessage(text, &value).ok() ||
      !value.has_struct_value()) {
    return fail(Code::kInvalid, "its answer is no JSON object");
  }
  return value;
}

const Value& at(const Value& object, const std::string& name) {
  static const Value kNothing;
  if (!object.has_struct_value()) return kNothing;
  const auto found = object.struct_value().fields().find(name);
  return found == object.struct_value().fields().end() ? kNothing : found->second;
}

}  // namespace weft::cli
