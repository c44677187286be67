#include "ztunnel/runtime/uring.h"

namespace weft::runtime {

Result<std::unique_ptr<Loop>> make_uring_loop() {
  return fail(Code::kUnsupported, "this build has no io_uring backend");
}

}  // namespace weft::runtime
