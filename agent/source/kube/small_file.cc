#include "agent/source/kube/small_file.h"

#include "agent/source/files.h"

namespace weft::source::kube {

Result<std::string> read_small_file(const std::string& path) {
  std::string text = TRY(read_file(path));
  if (text.size() > kSmallFileBytesMax) {
    return fail(Code::kLimit,
                path + ": longer than " + std::to_string(kSmallFileBytesMax) + " bytes");
  }
  text.resize(text.find_last_not_of(" \t\r\n") + 1);
  if (text.empty()) return fail(Code::kInvalid, path + " is empty");
  return text;
}

}  // namespace weft::source::kube
