#pragma once

#include "ztunnel/base/result.h"

#include <string>

namespace weft::source::kube {

// Certificates, keys, tokens and kubeconfigs: what is longer is something else.
constexpr size_t kSmallFileBytesMax = 1U << 20;

// A whole file without the white space at its end; kInvalid where it is empty. Errors name it.
Result<std::string> read_small_file(const std::string& path);

}  // namespace weft::source::kube
