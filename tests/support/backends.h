#pragma once

#include "ztunnel/runtime/loop.h"

#include <gtest/gtest.h>

#include <string>

namespace weft::testing {

inline std::string name_of_backend(const ::testing::TestParamInfo<runtime::Backend>& info) {
  return info.param == runtime::Backend::kUring ? "Uring" : "Epoll";
}

}  // namespace weft::testing

// The suite's tests on both of the loop's backends; its parameter is a runtime::Backend.
#define BOTH_BACKENDS(suite)                                                             \
  INSTANTIATE_TEST_SUITE_P(                                                              \
      Backends, suite,                                                                   \
      ::testing::Values(weft::runtime::Backend::kUring, weft::runtime::Backend::kEpoll), \
      weft::testing::name_of_backend)
