#include "ztunnel/waypoint/body_pump.h"

#include "ztunnel/base/check.h"

#include <utility>

namespace weft::waypoint {

using runtime::Buffer;
using runtime::Task;

BodyPump::BodyPump(runtime::Loop& loop, http::ServerExchange& exchange, KeptBudget& budget,
                   uint64_t& received)
    : loop_(loop), exchange_(exchange), budget_(budget), received_(received) {}

BodyPump::~BodyPump() { forget(); }

void BodyPump::keep() {
  CHECK(read_ == 0);
  keeps_ = true;
}

void BodyPump::forget() {
  keeps_ = false;
  budget_.used -= kept_.size();
  kept_ = {};
}

void BodyPump::note(const Buffer& bytes) {
  read_ += bytes.size();
  received_ += bytes.size();
  if (!keeps_) return;
  if (kept_.size() + bytes.size() > KeptBudget::kRequestMax ||
      budget_.used + bytes.size() > KeptBudget::kTotalMax) {
    return forget();
  }
  budget_.used += bytes.size();
  kept_ += bytes.text();
}

void BodyPump::end() {
  whole_ = true;
  trailers_ = exchange_.take_trailers();
  if (on_whole_) std::exchange(on_whole_, {})();
}

http::FieldList BodyPump::trailers_again() const {
  http::FieldList copy;
  for (const http::FieldList::Field& field : trailers_.all()) copy.add(field.name, field.value);
  return copy;
}

Task<Result<void>> BodyPump::attach(http::ClientExchange& to) {
  size_t sent = 0;
  for (;;) {
    CO_TRY(co_await replay(to, sent));
    if (whole_) co_return co_await to.finish(trailers_again());
    if (running_.running() == 0) {
      CO_TRY(co_await send_ready(to));
      if (whole_) co_return co_await to.finish(trailers_again());
      CO_TRY(co_await to.flush());
      to_ = &to;
      running_.spawn(run());
      co_return Result<void>();
    }
    CO_TRY(co_await to.flush());
    if (sent < kept_.size() || whole_) continue;  // more has come meanwhile
    to_ = &to;
    co_return Result<void>();
  }
}

Task<Result<void>> BodyPump::replay(http::ClientExchange& to, size_t& sent) {
  while (sent < kept_.size()) {
    const std::string_view part =
        std::string_view(kept_).substr(sent, runtime::BufferPool::kBufferBytes);
    sent += part.size();
    CO_TRY(co_await to.write(loop_.buffers().copy_of(part)));
  }
  co_return Result<void>();
}

// What has come already, so that a small request leaves in one piece.
Task<Result<void>> BodyPump::send_ready(http::ClientExchange& to) {
  while (std::optional<Buffer> bytes = exchange_.take_ready()) {
    note(*bytes);
    CO_TRY(co_await to.write(std::move(*bytes)));
  }
  if (!exchange_.has_more()) end();
  co_return Result<void>();
}

Task<void> BodyPump::run() {
  while (exchange_.has_more()) {
    std::optional<Buffer> bytes = exchange_.take_ready();
    if (!bytes && exchange_.has_more()) {
      co_await give({});
      Result<Buffer> read = co_await exchange_.read();
      if (!read) {
        failure_ = std::move(read.error());
        if (to_ != nullptr) to_->abort();
        co_return;
      }
      bytes = std::move(*read);
    }
    if (!bytes) continue;
    note(*bytes);
    if (to_ == nullptr && !keeps_) co_return;  // nobody wants it
    if (!bytes->empty()) co_await give(std::move(*bytes));
  }
  end();
  http::ClientExchange* const to = to_;
  if (to == nullptr) co_return;
  writing_ = true;
  static_cast<void>(co_await to->finish(trailers_again()));
  writing_ = false;
  written_.wake();
}

// Empty: what is held back leaves, because the next bytes are not here.
Task<void> BodyPump::give(Buffer bytes) {
  http::ClientExchange* const to = to_;
  if (to == nullptr) co_return;
  writing_ = true;
  const bool is_flush = bytes.empty();
  const Result<void> done = is_flush ? co_await to->flush() : co_await to->write(std::move(bytes));
  writing_ = false;
  // A server may answer before it has everything and stop listening: its answer decides.
  if (!done && to_ == to) to_ = nullptr;
  written_.wake();
}

Task<void> BodyPump::detach() {
  to_ = nullptr;
  while (writing_) co_await written_.wait();
}

Task<void> BodyPump::stop() {
  if (running_.running() > 0) exchange_.stop_reading();
  co_await detach();
  co_await running_.join();
}

}  // namespace weft::waypoint
