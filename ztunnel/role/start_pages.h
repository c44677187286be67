#pragma once

#include "ztunnel/base/result.h"

#include <cstddef>
#include <string_view>
#include <vector>

namespace weft::role {

// What is mapped of files and was never written to: programs' and libraries' code and constants.
struct FileRange {
  size_t begin = 0;  // addresses
  size_t end = 0;
  auto operator<=>(const FileRange&) const = default;
};
// Reads what /proc/<pid>/smaps says. A range with pages of its own (relocated ones too) is none:
// these exist nowhere else.
std::vector<FileRange> unwritten_ranges(std::string_view smaps);

// Lets go of the pages of files that the start has touched: parsing flags and configuration,
// setting up TLS, making keys. Half of an idle ztunnel's memory is those. What is needed after all
// comes back from the system's cache, without a read, when it is touched. Returns how many bytes
// were mapped.
Result<size_t> drop_start_pages();

}  // namespace weft::role
