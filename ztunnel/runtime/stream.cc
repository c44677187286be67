#include "ztunnel/runtime/stream.h"

namespace weft::runtime {

Task<Result<void>> ByteStream::write_pieces(std::span<Buffer> pieces) {
  for (Buffer& piece : pieces) CO_TRY(co_await write(std::move(piece)));
  co_return Result<void>();
}

}  // namespace weft::runtime
