#pragma once

#include "ztunnel/runtime/stream.h"

#include <cstddef>
#include <memory>
#include <utility>

namespace weft::runtime {

// What one direction of a memory pipe holds by default: as much as a socket whose peer does not
// read holds at least, so that code that leans on a bigger one fails in a test.
constexpr size_t kMemoryPipeBytes = 256 * 1024;

// Two ends of a connection without a kernel: what is written to one is read from the other. For
// tests of protocols, and for parts of one process that talk as strangers do. Both ends belong to
// one thread. An end that is destroyed closes as a socket does: the peer reads what was written and
// then the end of the stream, or a reset where bytes for the closed end were never read.
std::pair<std::unique_ptr<ByteStream>, std::unique_ptr<ByteStream>> make_memory_pipe(
    size_t bytes_each_way = kMemoryPipeBytes);

}  // namespace weft::runtime
