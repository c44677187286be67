#include "ztunnel/base/check.h"
#include "ztunnel/dns/message.h"

#include <string>
#include <unordered_map>

namespace weft::dns {
namespace {

constexpr size_t kOptBytes = 11;
// What a pointer's 14 bits reach.
constexpr size_t kPointerMax = 0x3fff;

class Writer {
 public:
  std::string take() { return std::move(out_); }
  size_t size() const { return out_.size(); }

  void put8(uint8_t value) { out_ += static_cast<char>(value); }
  void put16(uint16_t value) {
    put8(static_cast<uint8_t>(value >> 8U));
    put8(static_cast<uint8_t>(value));
  }
  void put32(uint32_t value) {
    put16(static_cast<uint16_t>(value >> 16U));
    put16(static_cast<uint16_t>(value));
  }
  void set16(size_t at, uint16_t value) {
    out_[at] = static_cast<char>(value >> 8U);
    out_[at + 1] = static_cast<char>(value & 0xffU);
  }
  void append(std::string_view bytes) { out_ += bytes; }

  // With a pointer to where the name, or the rest of it, stands already in the same case.
  void put_name(const Name& name) {
    std::string_view rest = name.wire();
    while (rest.size() > 1) {
      const auto known = suffixes_.find(std::string(rest));
      if (known != suffixes_.end()) {
        put16(static_cast<uint16_t>(0xc000U | known->second));
        return;
      }
      if (out_.size() <= kPointerMax) suffixes_.emplace(rest, out_.size());
      const size_t label = 1 + static_cast<unsigned char>(rest.front());
      append(rest.substr(0, label));
      rest.remove_prefix(label);
    }
    put8(0);
  }

  // Takes back what was written since the writer had `size` bytes.
  void cut_to(size_t size) {
    out_.resize(size);
    std::erase_if(suffixes_, [size](const auto& known) { return known.second >= size; });
  }

 private:
  std::string out_;
  std::unordered_map<std::string, size_t> suffixes_;  // wire form of a name -> where it stands
};

uint16_t flags_of(const Header& header) {
  unsigned flags = static_cast<unsigned>(header.rcode) & 0xfU;
  flags |= (header.opcode & 0xfU) << 11U;
  if (header.response) flags |= 0x8000U;
  if (header.authoritative) flags |= 0x0400U;
  if (header.truncated) flags |= 0x0200U;
  if (header.recursion_desired) flags |= 0x0100U;
  if (header.recursion_available) flags |= 0x0080U;
  if (header.authentic_data) flags |= 0x0020U;
  if (header.checking_disabled) flags |= 0x0010U;
  return static_cast<uint16_t>(flags);
}

struct DataWriter {
  Writer& out;

  void operator()(const IpAddress& address) const { out.append(address.to_bytes()); }
  void operator()(const Alias& alias) const { out.put_name(alias.target); }
  void operator()(const Location& location) const {
    out.put16(location.priority);
    out.put16(location.weight);
    out.put16(location.port);
    out.append(location.target.wire());  // RFC 2782: never compressed
  }
  void operator()(const Opaque&) const {}
};

uint16_t type_of(const Record& record) {
  if (const auto* address = std::get_if<IpAddress>(&record.data)) {
    return address->is_v4() ? type::kA : type::kAaaa;
  }
  if (std::holds_alternative<Alias>(record.data)) return type::kCname;
  return type::kSrv;
}

// False, with nothing written, where it does not fit.
bool put_record(Writer& out, const Record& record, size_t bytes_max) {
  const size_t begin = out.size();
  out.put_name(record.name);
  out.put16(type_of(record));
  out.put16(kClassIn);
  out.put32(record.ttl_s);
  const size_t length_at = out.size();
  out.put16(0);
  std::visit(DataWriter{out}, record.data);
  if (out.size() > bytes_max) {
    out.cut_to(begin);
    return false;
  }
  out.set16(length_at, static_cast<uint16_t>(out.size() - length_at - 2));
  return true;
}

// How many were written. Stops at the first that does not fit.
uint16_t put_records(Writer& out, const std::vector<Record>& records, size_t bytes_max, bool& cut) {
  uint16_t count = 0;
  for (const Record& record : records) {
    if (std::holds_alternative<Opaque>(record.data)) continue;
    if (!put_record(out, record, bytes_max)) {
      cut = true;
      break;
    }
    ++count;
  }
  return count;
}

// An SOA record; false, with nothing written, where it does not fit. Its zone stands for the server
// and the person in charge, which nobody asks for; the times are for secondary servers, which there
// are none of.
bool put_denial(Writer& out, const Denial& denial, size_t bytes_max) {
  constexpr uint32_t kSerial = 1;
  constexpr uint32_t kRefreshS = 7200;
  constexpr uint32_t kRetryS = 1800;
  constexpr uint32_t kExpireS = 86400;
  const size_t begin = out.size();
  out.put_name(denial.zone);
  out.put16(type::kSoa);
  out.put16(kClassIn);
  out.put32(denial.ttl_s);
  const size_t length_at = out.size();
  out.put16(0);
  out.put_name(denial.zone);
  out.put_name(denial.zone);
  for (const uint32_t field : {kSerial, kRefreshS, kRetryS, kExpireS, denial.ttl_s}) {
    out.put32(field);
  }
  if (out.size() > bytes_max) {
    out.cut_to(begin);
    return false;
  }
  out.set16(length_at, static_cast<uint16_t>(out.size() - length_at - 2));
  return true;
}

void put_opt(Writer& out, const Edns& edns, Rcode rcode) {
  out.put8(0);
  out.put16(type::kOpt);
  out.put16(edns.payload_bytes);
  out.put8(static_cast<uint8_t>(static_cast<uint16_t>(rcode) >> 4U));
  out.put8(edns.version);
  out.put16(edns.dnssec_ok ? 0x8000U : 0);
  out.put16(0);
}

}  // namespace

std::string encode(const Message& message, size_t bytes_max) {
  CHECK(bytes_max >= kUdpBytesMin && bytes_max <= kMessageBytesMax);
  const size_t records_max = bytes_max - (message.edns ? kOptBytes : 0);
  Header header = message.header;
  Writer out;
  out.put16(header.id);
  out.append(std::string(kHeaderBytes - 2, '\0'));
  if (message.question) {
    out.put_name(message.question->name);
    out.put16(message.question->type);
    out.put16(message.question->klass);
  }
  bool cut = false;
  const uint16_t answers = put_records(out, message.answers, records_max, cut);
  header.truncated = header.truncated || cut;
  const bool denied = message.denial && !cut && put_denial(out, *message.denial, records_max);
  uint16_t additional = cut ? uint16_t{0} : put_records(out, message.additional, records_max, cut);
  if (message.edns) {
    put_opt(out, *message.edns, header.rcode);
    ++additional;
  }
  out.set16(2, flags_of(header));
  out.set16(4, message.question ? 1 : 0);
  out.set16(6, answers);
  out.set16(8, denied ? 1 : 0);
  out.set16(10, additional);
  return out.take();
}

}  // namespace weft::dns
