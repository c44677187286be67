#include "ztunnel/telemetry/metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

// What a process is asked about itself, under the names that every Prometheus client uses.

namespace weft::telemetry {
namespace {

int64_t open_descriptors() {
  std::error_code error;
  int64_t count = 0;
  auto entry = std::filesystem::directory_iterator("/proc/self/fd", error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) ++count;
  return count;
}

int64_t descriptors_max() {
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<int64_t>(limit.rlim_cur) : 0;
}

int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t size_pages = 0;
  int64_t resident_pages = 0;
  statm >> size_pages >> resident_pages;
  return statm ? resident_pages * sysconf(_SC_PAGESIZE) : 0;
}

}  // namespace

void Registry::add_process_metrics(std::string_view component, std::string_view tag) {
  gauge("istio_build", "Which program this is; always 1.",
        {{"component", std::string(component)}, {"tag", std::string(tag)}})
      .set(1);
  gauge_from("process_open_fds", "Open file descriptors.", open_descriptors);
  gauge_from("process_max_fds", "How many file descriptors may be open.", descriptors_max);
  gauge_from("process_resident_memory_bytes", "Resident memory.", resident_bytes);
}

}  // namespace weft::telemetry
