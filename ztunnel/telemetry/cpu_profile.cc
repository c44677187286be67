#include "ztunnel/telemetry/cpu_profile.h"

#include "proto/profile.pb.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/telemetry/symbols.h"

#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>

namespace weft::telemetry {
namespace {

namespace pprof = perftools::profiles;

constexpr size_t kRingPages = 16;  // a power of two
constexpr size_t kDepthMax = 64;   // of a stack

int open_event(pid_t thread, uint32_t frequency, bool with_kernel) {
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.config = PERF_COUNT_SW_CPU_CLOCK;
  attributes.freq = 1;
  attributes.sample_freq = frequency;
  attributes.sample_type = PERF_SAMPLE_CALLCHAIN;
  attributes.sample_max_stack = kDepthMax;
  attributes.exclude_hv = 1;
  attributes.exclude_kernel = with_kernel ? 0 : 1;
  // Time in the kernel counts for the function of ours that called it.
  attributes.exclude_callchain_kernel = 1;
  return static_cast<int>(
      syscall(SYS_perf_event_open, &attributes, thread, -1, -1, PERF_FLAG_FD_CLOEXEC));
}

}  // namespace

// One thread's samples, shared with the kernel.
class CpuProfile::Ring {
 public:
  static Result<std::unique_ptr<Ring>> make(pid_t thread, uint32_t frequency) {
    auto ring = std::make_unique<Ring>();
    ring->event_ = Fd(open_event(thread, frequency, true));
    if (ring->event_.get() < 0 && (errno == EACCES || errno == EPERM)) {
      ring->event_ = Fd(open_event(thread, frequency, false));
    }
    if (ring->event_.get() < 0) {
      return fail(errno == ESRCH ? Code::kNotFound : Code::kUnsupported,
                  std::string("perf_event_open: ") + std::strerror(errno) +
                      ": a CPU profile needs CAP_PERFMON, or kernel.perf_event_paranoid below 3");
    }
    ring->page_ = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    void* memory = mmap(nullptr, (1 + kRingPages) * ring->page_, PROT_READ | PROT_WRITE, MAP_SHARED,
                        ring->event_.get(), 0);
    if (memory == MAP_FAILED) {
      return fail(Code::kUnsupported, std::string("mapping a perf ring: ") + std::strerror(errno));
    }
    ring->memory_ = static_cast<char*>(memory);
    return ring;
  }
  ~Ring() {
    if (memory_ != nullptr) munmap(memory_, (1 + kRingPages) * page_);
  }

  template <class Take>
  void drain(Take take) {
    auto* page = reinterpret_cast<perf_event_mmap_page*>(memory_);
    const uint64_t head = std::atomic_ref(page->data_head).load(std::memory_order_acquire);
    uint64_t tail = page->data_tail;
    while (tail < head) {
      perf_event_header header{};
      copy(tail, &header, sizeof header);
      if (header.size < sizeof header || header.size > sizeof record_) break;
      copy(tail, record_.data(), header.size);
      take(header.type,
           std::span<const char>(record_.data() + sizeof header, header.size - sizeof header));
      tail += header.size;
    }
    std::atomic_ref(page->data_tail).store(head, std::memory_order_release);
  }

 private:
  // Records wrap around the ring's end.
  void copy(uint64_t from, void* to, size_t size) const {
    const char* data = memory_ + page_;
    const size_t ring_bytes = kRingPages * page_;
    const size_t at = from % ring_bytes;
    const size_t first = std::min(size, ring_bytes - at);
    std::memcpy(to, data + at, first);
    std::memcpy(static_cast<char*>(to) + first, data, size - first);
  }

  Fd event_;
  size_t page_ = 0;
  char* memory_ = nullptr;
  std::array<char, 4096> record_{};  // a header, a count and kDepthMax addresses, twice over
};

CpuProfile::CpuProfile(uint32_t frequency)
    : frequency_(frequency), since_(std::chrono::system_clock::now()) {}

CpuProfile::~CpuProfile() = default;

Result<std::unique_ptr<CpuProfile>> CpuProfile::start(uint32_t frequency) {
  std::unique_ptr<CpuProfile> profile(new CpuProfile(frequency));
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    const pid_t thread = std::atoi(entry.path().filename().c_str());
    auto ring = Ring::make(thread, frequency);
    if (ring) {
      profile->rings_.push_back(std::move(*ring));
    } else if (ring.error().code != Code::kNotFound) {  // it may have ended just now
      return Fail(std::move(ring.error()));
    }
  }
  return profile;
}

void CpuProfile::collect() {
  for (const auto& ring : rings_) {
    ring->drain([this](uint32_t type, std::span<const char> record) {
      if (type == PERF_RECORD_LOST && record.size() >= 2 * sizeof(uint64_t)) {
        uint64_t count = 0;
        std::memcpy(&count, record.data() + sizeof(uint64_t), sizeof count);
        lost_ += count;
      }
      if (type != PERF_RECORD_SAMPLE || record.size() < sizeof(uint64_t)) return;
      uint64_t count = 0;
      std::memcpy(&count, record.data(), sizeof count);
      if (count > record.size() / sizeof(uint64_t) - 1) return;
      std::vector<uint64_t> addresses(count);
      std::memcpy(addresses.data(), record.data() + sizeof count, count * sizeof(uint64_t));
      add(addresses.data(), count);
    });
  }
}

void CpuProfile::add(const uint64_t* addresses, uint64_t count) {
  std::vector<uint64_t> stack;
  for (uint64_t i = 0; i < count && stack.size() < kDepthMax; ++i) {
    if (addresses[i] >= static_cast<uint64_t>(PERF_CONTEXT_MAX)) continue;  // a marker
    stack.push_back(addresses[i]);
  }
  if (stacks_.size() >= kStacksMax && !stacks_.contains(stack)) {
    ++lost_;
    return;
  }
  ++stacks_[std::move(stack)];
}

namespace {

// Fills a profile: every text, function and location once.
class Writer {
 public:
  Writer() { text(""); }

  int64_t text(const std::string& text) {
    const auto [found, added] = texts_.try_emplace(text, profile_.string_table_size());
    if (added) profile_.add_string_table(text);
    return found->second;
  }
  // Behind a call stands the address to return to, which may be the next function's.
  uint64_t location(uint64_t address, bool is_leaf) {
    const auto [found, added] = locations_.try_emplace({address, is_leaf}, locations_.size() + 1);
    if (!added) return found->second;
    pprof::Location& location = *profile_.add_location();
    location.set_id(found->second);
    location.set_address(address);
    const uint64_t within = is_leaf ? address : address - 1;
    for (size_t i = 0; i < mappings_.size(); ++i) {
      if (!mappings_[i].contains(within)) continue;
      location.set_mapping_id(i + 1);
      const std::string name = symbols_of(i) ? symbols_of(i)->name_of(within) : "";
      if (!name.empty()) location.add_line()->set_function_id(function(name));
    }
    return found->second;
  }
  void add_mappings() {
    for (size_t i = 0; i < mappings_.size(); ++i) {
      pprof::Mapping& mapping = *profile_.add_mapping();
      mapping.set_id(i + 1);
      mapping.set_memory_start(mappings_[i].start);
      mapping.set_memory_limit(mappings_[i].end);
      mapping.set_file_offset(mappings_[i].file_offset);
      mapping.set_filename(text(mappings_[i].file));
      mapping.set_has_functions(symbols_.contains(i) && symbols_.at(i).has_value());
    }
  }
  void set(pprof::ValueType& type, const char* what, const char* unit) {
    type.set_type(text(what));
    type.set_unit(text(unit));
  }
  pprof::Profile& profile() { return profile_; }

 private:
  const std::optional<Symbols>& symbols_of(size_t mapping) {
    const auto [found, added] = symbols_.try_emplace(mapping);
    if (added) {
      if (auto made = Symbols::of(mappings_[mapping])) found->second = std::move(*made);
    }
    return found->second;
  }
  uint64_t function(const std::string& name) {
    const auto [found, added] = functions_.try_emplace(name, functions_.size() + 1);
    if (!added) return found->second;
    pprof::Function& function = *profile_.add_function();
    function.set_id(found->second);
    function.set_name(text(name));
    function.set_system_name(text(name));
    return found->second;
  }

  pprof::Profile profile_;
  std::vector<CodeMapping> mappings_ = code_mappings();
  std::map<size_t, std::optional<Symbols>> symbols_;
  std::map<std::string, int64_t> texts_;
  std::map<std::string, uint64_t> functions_;
  std::map<std::pair<uint64_t, bool>, uint64_t> locations_;
};

}  // namespace

std::string CpuProfile::finish() {
  using std::chrono::nanoseconds;
  collect();
  rings_.clear();
  const auto nanos = [](auto duration) {
    return std::chrono::duration_cast<nanoseconds>(duration).count();
  };
  const int64_t period = nanos(std::chrono::seconds(1)) / frequency_;
  Writer writer;
  pprof::Profile& profile = writer.profile();
  writer.set(*profile.add_sample_type(), "samples", "count");
  writer.set(*profile.add_sample_type(), "cpu", "nanoseconds");
  writer.set(*profile.mutable_period_type(), "cpu", "nanoseconds");
  profile.set_period(period);
  profile.set_time_nanos(nanos(since_.time_since_epoch()));
  profile.set_duration_nanos(nanos(std::chrono::system_clock::now() - since_));
  for (const auto& [stack, count] : stacks_) {
    pprof::Sample& sample = *profile.add_sample();
    for (size_t i = 0; i < stack.size(); ++i) {
      sample.add_location_id(writer.location(stack[i], i == 0));
    }
    sample.add_value(count);
    sample.add_value(count * period);
  }
  writer.add_mappings();
  if (lost_ > 0) profile.add_comment(writer.text(std::to_string(lost_) + " samples were lost"));
  return profile.SerializeAsString();
}

}  // namespace weft::telemetry
