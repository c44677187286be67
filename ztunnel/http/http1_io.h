#pragma once

#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"

#include <string>

namespace weft::http::http1 {

// Writes a text of any length, a buffer at a time.
runtime::Task<Result<void>> send_text(runtime::Loop& loop, runtime::ByteStream& connection,
                                      std::string text);

}  // namespace weft::http::http1
