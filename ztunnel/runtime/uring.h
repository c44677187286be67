#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/runtime/loop.h"

#include <memory>

namespace weft::runtime {

// kUnsupported where the kernel lacks what we need (6.1 has it) or an administrator refuses it.
Result<std::unique_ptr<Loop>> make_uring_loop();

}  // namespace weft::runtime
