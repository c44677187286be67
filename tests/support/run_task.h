#pragma once

#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"
#include "ztunnel/runtime/sync.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

// What tests of coroutines need: run one to its end, and move text over streams.

namespace weft::testing {

namespace detail {
template <class T>
runtime::Task<void> keep(runtime::Loop& loop, runtime::Task<T> task, std::optional<T>& result) {
  result.emplace(co_await std::move(task));
  loop.stop();
}
inline runtime::Task<void> finish(runtime::Loop& loop, runtime::Task<void> task) {
  co_await std::move(task);
  loop.stop();
}
}  // namespace detail

// Runs the loop until the task has ended.
template <class T>
T run(runtime::Loop& loop, runtime::Task<T> task) {
  std::optional<T> result;
  loop.spawn(detail::keep(loop, std::move(task), result));
  loop.run();
  return *std::move(result);
}
inline void run(runtime::Loop& loop, runtime::Task<void> task) {
  loop.spawn(detail::finish(loop, std::move(task)));
  loop.run();
}

template <class T>
runtime::Task<void> store(runtime::Task<T> task, std::optional<T>& result) {
  result.emplace(co_await std::move(task));
}

// Both at the same time.
template <class A, class B>
runtime::Task<std::pair<A, B>> both(runtime::Task<A> first, runtime::Task<B> second) {
  runtime::TaskScope scope;
  std::optional<A> a;
  std::optional<B> b;
  scope.spawn(store(std::move(first), a));
  scope.spawn(store(std::move(second), b));
  co_await scope.join();
  co_return std::pair<A, B>(*std::move(a), *std::move(b));
}

// Everything up to the orderly end.
inline runtime::Task<Result<std::string>> read_all(runtime::ByteStream& stream) {
  std::string all;
  while (true) {
    const runtime::Buffer bytes = CO_TRY(co_await stream.read());
    if (bytes.empty()) co_return all;
    all += bytes.text();
  }
}

// At least `size` bytes.
inline runtime::Task<Result<std::string>> read_some(runtime::ByteStream& stream, size_t size) {
  std::string all;
  while (all.size() < size) {
    const runtime::Buffer bytes = CO_TRY(co_await stream.read());
    if (bytes.empty()) co_return fail(Code::kClosed, "ended after \"" + all + "\"");
    all += bytes.text();
  }
  co_return all;
}

inline runtime::Task<Result<void>> send(runtime::Loop& loop, runtime::ByteStream& stream,
                                        std::string_view text) {
  constexpr size_t kChunk = runtime::BufferPool::kBufferBytes;
  while (!text.empty()) {
    const size_t size = std::min(text.size(), kChunk);
    runtime::Buffer chunk = loop.buffers().copy_of(text.substr(0, size));
    CO_TRY(co_await stream.write(std::move(chunk)));
    text.remove_prefix(size);
  }
  co_return Result<void>();
}

inline runtime::Task<Result<void>> send_and_end(runtime::Loop& loop, runtime::ByteStream& stream,
                                                std::string_view text) {
  CO_TRY(co_await send(loop, stream, text));
  co_return co_await stream.shutdown_write();
}

}  // namespace weft::testing
