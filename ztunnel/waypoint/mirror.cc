#include "ztunnel/waypoint/mirror.h"

#include <optional>
#include <utility>

namespace weft::waypoint {

using runtime::Task;

namespace {

// Of an answer: read so that its connection may serve again; a longer one is broken off.
constexpr size_t kAnswerBytesMax = size_t{256} * 1024;

Task<Result<void>> send(runtime::Loop& loop, http::ClientExchange& to, const MirrorCopy& copy) {
  CO_TRY(co_await to.send(copy.head, copy.body.empty()));
  std::string_view left = copy.body;
  if (left.empty()) co_return Result<void>();
  while (!left.empty()) {
    const std::string_view part = left.substr(0, runtime::BufferPool::kBufferBytes);
    left.remove_prefix(part.size());
    CO_TRY(co_await to.write(loop.buffers().copy_of(part)));
  }
  co_return co_await to.finish({});
}

Task<Result<int>> read_answer(http::ClientExchange& from) {
  Result<http::ResponseHead> head = co_await from.response();
  while (head && head->status < 200 && head->status != 101) head = co_await from.response();
  if (!head) co_return Fail(head.error());
  size_t read = 0;
  while (from.has_more() && read < kAnswerBytesMax) {
    std::optional<runtime::Buffer> bytes = from.take_ready();
    if (!bytes && from.has_more()) bytes = CO_TRY(co_await from.read());
    if (bytes) read += bytes->size();
  }
  co_return head->status;
}

}  // namespace

http::RequestHead copy_of(const http::RequestHead& head) {
  http::RequestHead copy;
  copy.version = head.version;
  copy.method = copy.fields.keep(head.method);
  copy.scheme = copy.fields.keep(head.scheme);
  copy.authority = copy.fields.keep(head.authority);
  copy.path = copy.fields.keep(head.path);
  for (const http::FieldList::Field& field : head.fields.all()) {
    copy.fields.add(field.name, field.value);
  }
  return copy;
}

Task<void> send_mirror(runtime::Loop& loop, Upstreams& upstreams, MirrorCopy copy,
                       std::shared_ptr<size_t> running) {
  std::expected<std::unique_ptr<Try>, Failure> attempt =
      co_await upstreams.begin(*copy.destination, copy.head.version, Chooser{});
  if (attempt) {
    http::ClientExchange& exchange = (*attempt)->exchange();
    const auto limit = copy.timeout.count() == 0 ? MirrorCopy::kTimeout : copy.timeout;
    const runtime::Deadline deadline(loop, limit, [&exchange] { exchange.abort(); });
    static_cast<void>(co_await send(loop, exchange, copy));
    const Result<int> status = co_await read_answer(exchange);
    (*attempt)->answered(status ? *status : 0);
  }
  --*running;
}

}  // namespace weft::waypoint
