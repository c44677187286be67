#include "ztunnel/http/http1_inlet.h"

#include <cstring>
#include <utility>

namespace weft::http::http1 {

using runtime::Buffer;
using runtime::Task;

Inlet::Inlet(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport)
    : state_(std::make_shared<State>(loop)) {
  state_->transport = std::move(transport);
}

Inlet::~Inlet() {
  if (!state_) return;
  state_->on_end = {};
  if (state_->reading) state_->transport->abort();
}

Buffer& Inlet::unread() {
  State& state = *state_;
  if (!state.stash.empty()) {
    state.unread = state.loop.buffers().copy_of(state.stash);
    std::string().swap(state.stash);
  }
  return state.unread;
}

void Inlet::read_ahead() {
  State& state = *state_;
  if (state.reading || has_unread() || has_ended()) return;
  if (std::optional<Buffer> ready = state.transport->take_ready()) {
    state.unread = std::move(*ready);
    return;
  }
  state.reading = true;
  runtime::start(read(state_));
}

Task<void> Inlet::read(std::shared_ptr<State> state) {
  Result<Buffer> bytes = co_await state->transport->read();
  state->reading = false;
  if (!bytes) {
    state->error = std::move(bytes.error());
  } else if (bytes->empty()) {
    state->ended = true;
  } else if (state->waited || bytes->size() > kStashBytesMax) {
    state->unread = *std::move(bytes);
  } else {
    state->stash = bytes->text();
    bytes->clear();
  }
  state->arrived.wake();
  if ((state->ended || state->error) && state->on_end) std::exchange(state->on_end, {})();
}

Task<Result<bool>> Inlet::more() {
  const std::shared_ptr<State> state = state_;
  read_ahead();
  state->waited = true;
  while (state->reading && !state->interrupted) co_await state->arrived.wait();
  state->waited = false;
  if (state->interrupted) co_return Fail(*state->interrupted);
  if (!state->unread.empty() || !state->stash.empty()) co_return true;
  if (state->error) co_return Fail(*state->error);
  co_return false;
}

void Inlet::interrupt(Error why) {
  state_->interrupted = std::move(why);
  state_->arrived.wake();
}

void Inlet::when_ended(std::move_only_function<void()> call) {
  state_->on_end = std::move(call);
  read_ahead();
}

Parsed<std::span<char>> HeadReader::take(Inlet& inlet, FieldList& into) {
  while (inlet.has_unread()) {
    Buffer& unread = inlet.unread();
    const Parsed<std::optional<size_t>> end = finder_.find(unread.text());
    if (!end) return std::unexpected(end.error());
    const size_t size = end->value_or(unread.size());
    const size_t whole = partial_.size() + size;
    const bool is_empty_line = *end && whole == 2;
    if (*end && !is_empty_line) {
      const std::span<char> head = into.room(whole);
      std::memcpy(head.data(), partial_.data(), partial_.size());
      std::memcpy(head.data() + partial_.size(), unread.data(), size);
      unread.trim_front(size);
      if (unread.empty()) unread.clear();
      finder_.reset();
      std::string().swap(partial_);
      skipped_line_ = false;
      return head;
    }
    if (is_empty_line && std::exchange(skipped_line_, true)) {
      return refuse(400, "empty lines before the message");
    }
    if (!is_empty_line) partial_.append(unread.text());
    unread.trim_front(size);
    if (unread.empty()) unread.clear();
    if (!is_empty_line) continue;
    finder_.reset();
    partial_.clear();
  }
  return std::span<char>();
}

}  // namespace weft::http::http1
