#include "ztunnel/http/http1_io.h"

namespace weft::http::http1 {

runtime::Task<Result<void>> send_text(runtime::Loop& loop, runtime::ByteStream& connection,
                                      std::string text) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view part = rest.substr(0, runtime::BufferPool::kBufferBytes);
    runtime::Buffer buffer = loop.buffers().copy_of(part);
    CO_TRY(co_await connection.write(std::move(buffer)));
    rest.remove_prefix(part.size());
  }
  co_return Result<void>();
}

}  // namespace weft::http::http1
