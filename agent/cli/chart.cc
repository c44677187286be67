#include "agent/cli/chart.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

// WEFT_CHART_FILE is the archive that the build has made.
asm(R"(
.section .rodata
.global weft_chart_begin
.global weft_chart_end
weft_chart_begin:
.incbin ")" WEFT_CHART_FILE R"("
weft_chart_end:
.byte 0
.text
)");

extern "C" const char weft_chart_begin[];
extern "C" const char weft_chart_end[];

namespace weft::cli {

std::string_view chart_archive() {
  return {weft_chart_begin, static_cast<size_t>(weft_chart_end - weft_chart_begin)};
}

Result<Fd> open_chart() {
  Fd file(memfd_create("weft.tgz", 0));  // without CLOEXEC: it is for the next program
  if (!file) return fail_errno(errno, "making a file for the chart");
  std::string_view left = chart_archive();
  while (!left.empty()) {
    const ssize_t written = write(file.get(), left.data(), left.size());
    if (written < 0) return fail_errno(errno, "writing the chart");
    left.remove_prefix(static_cast<size_t>(written));
  }
  return file;
}

}  // namespace weft::cli
