#pragma once

#include "ztunnel/runtime/loop.h"

#include <chrono>
#include <functional>

namespace weft::learn::testing {

// Waits until `holds`, looking each millisecond, for as long as a loaded machine may need. False:
// it never did.
inline runtime::Task<bool> eventually(runtime::Loop& loop, std::function<bool()> holds) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > give_up) co_return false;
    co_await loop.sleep(std::chrono::milliseconds(1));
  }
  co_return true;
}

// For inside a coroutine, where ASSERT_* cannot return.
#define CO_ASSERT_TRUE(condition) \
  if (!(condition)) {             \
    ADD_FAILURE() << #condition;  \
    co_return;                    \
  }

}  // namespace weft::learn::testing
