#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <sys/types.h>

#include <string>
#include <string_view>

// Files that are read and written whole: configuration, certificates, tokens. They block, so they
// are for a start and for changes of configuration, never for a connection. Every error names the
// path.

namespace weft {

// Tokens, certificates, bundles of roots, kubeconfigs: what is longer is something else.
constexpr size_t kSmallFileBytesMax = 1U << 20;

// kNotFound where it is not there, kInvalid where it is not a regular file (a FIFO would hang us),
// kLimit where it has more than `bytes_max`.
Result<std::string> read_file(const std::string& path, size_t bytes_max);
// The same of a file that is open, from where it stands.
Result<std::string> read_all(const Fd& file, const std::string& path, size_t bytes_max);
// At most kSmallFileBytesMax, without the white space at its end; kInvalid where nothing is left.
Result<std::string> read_small_file(const std::string& path);

Result<void> write_all(const Fd& file, const std::string& path, std::string_view bytes);

// Whether bytes have to outlive a loss of power.
enum class Durable { kNo, kYes };
// A file that must not exist, nor be a link; `mode` whatever the umask says.
Result<void> write_new_file(const std::string& path, std::string_view bytes, mode_t mode,
                            Durable durable);
// Written beside its place (path + ".new", which must be nobody else's) and renamed there, so that
// whoever reads it meanwhile sees the old bytes or the new ones, whole. On failure the old stay.
Result<void> replace_file(const std::string& path, std::string_view bytes, mode_t mode,
                          Durable durable);
// One that is not there is no error.
Result<void> remove_file(const std::string& path);

}  // namespace weft
