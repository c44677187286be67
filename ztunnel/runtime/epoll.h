#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/runtime/loop.h"

#include <memory>

namespace weft::runtime {

// The backend for kernels that refuse io_uring, and the one to compare io_uring with.
Result<std::unique_ptr<Loop>> make_epoll_loop();

}  // namespace weft::runtime
