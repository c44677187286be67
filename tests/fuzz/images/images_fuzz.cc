// images.yaml: what is read can be printed and read again, and is the same.

#include "agent/sandbox/images.h"
#include "ztunnel/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto images = weft::sandbox::parse_images(text, "/folder/images.yaml");
  if (!images) return 0;
  const std::string printed = weft::sandbox::print_images(*images);
  CHECK(weft::sandbox::parse_images(printed, "/folder/images.yaml").has_value());
  return 0;
}
