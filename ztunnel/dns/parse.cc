#include "ztunnel/dns/message.h"

#include <algorithm>

namespace weft::dns {
namespace {

// A name has at most 127 labels, and behind each pointer stands at least one.
constexpr size_t kPointersMax = 127;

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  size_t at() const { return at_; }
  size_t left() const { return bytes_.size() - at_; }
  void skip_to(size_t at) { at_ = at; }

  Result<uint8_t> byte() {
    if (left() < 1) return cut();
    return static_cast<uint8_t>(bytes_[at_++]);
  }
  Result<uint16_t> number16() {
    const unsigned high = TRY(byte());
    return static_cast<uint16_t>(high << 8U | TRY(byte()));
  }
  Result<uint32_t> number32() {
    const uint32_t high = TRY(number16());
    return high << 16U | TRY(number16());
  }
  Result<std::string_view> text(size_t size) {
    if (left() < size) return cut();
    const std::string_view taken = bytes_.substr(at_, size);
    at_ += size;
    return taken;
  }
  // Each pointer must lead in front of the one before it, so that every name ends, and there may
  // only be so many, so that it ends soon.
  Result<Name> name() {
    Name name;
    size_t limit = at_;  // where the next pointer must lead in front of
    size_t pointers = 0;
    std::optional<size_t> end;  // behind the first pointer: where reading goes on
    while (true) {
      const uint8_t length = TRY(byte());
      if (length == 0) break;
      if ((length & 0xc0U) == 0xc0U) {
        const size_t target = (length & 0x3fU) << 8U | TRY(byte());
        if (target >= limit || target < kHeaderBytes || ++pointers > kPointersMax) {
          return wrong("a name's pointer that does not lead back to a name");
        }
        if (!end) end = at_;
        limit = target;
        at_ = target;
        continue;
      }
      if (length > kLabelBytesMax) return wrong("a label of an unknown kind");
      if (!name.append(TRY(text(length)))) return wrong("a name over 255 bytes");
    }
    if (end) at_ = *end;
    return name;
  }
  Fail wrong(std::string_view what) const {
    return fail(Code::kInvalid,
                "DNS message: " + std::string(what) + " at byte " + std::to_string(at_));
  }
  Fail cut() const { return wrong("it ends too early"); }

 private:
  std::string_view bytes_;
  size_t at_ = 0;
};

Header header_from(uint16_t id, uint16_t flags) {
  Header header;
  header.id = id;
  header.response = (flags & 0x8000U) != 0;
  header.opcode = static_cast<uint8_t>(flags >> 11U & 0xfU);
  header.authoritative = (flags & 0x0400U) != 0;
  header.truncated = (flags & 0x0200U) != 0;
  header.recursion_desired = (flags & 0x0100U) != 0;
  header.recursion_available = (flags & 0x0080U) != 0;
  header.authentic_data = (flags & 0x0020U) != 0;
  header.checking_disabled = (flags & 0x0010U) != 0;
  header.rcode = static_cast<Rcode>(flags & 0xfU);
  return header;
}

IpAddress address_of(std::string_view four_or_sixteen) {
  return *IpAddress::from_bytes(four_or_sixteen);
}

// The data of a record of class IN whose type we know. `end`: where it must end.
Result<decltype(Record::data)> known_data(Reader& reader, uint16_t type, size_t end) {
  const size_t size = end - reader.at();
  switch (type) {
    case type::kA:
      if (size != 4) return reader.wrong("an A record that is not 4 bytes");
      return address_of(TRY(reader.text(size)));
    case type::kAaaa: {
      if (size != 16) return reader.wrong("an AAAA record that is not 16 bytes");
      const IpAddress address = address_of(TRY(reader.text(size)));
      // An IPv4 address in IPv6's clothes would come out as an A record.
      if (address.is_v4()) return Opaque{type};
      return address;
    }
    case type::kCname:
      return Alias{TRY(reader.name())};
    case type::kSrv: {
      Location location;
      location.priority = TRY(reader.number16());
      location.weight = TRY(reader.number16());
      location.port = TRY(reader.number16());
      location.target = TRY(reader.name());
      return location;
    }
    default:
      reader.skip_to(end);
      return Opaque{type};
  }
}

// RFC 2308 section 5: the lesser of the record's own time and its last field.
Result<uint32_t> negative_ttl(Reader& reader, uint32_t ttl_s, size_t end) {
  TRY(reader.name());
  TRY(reader.name());
  uint32_t minimum = 0;
  for (int field = 0; field < 5; ++field) minimum = TRY(reader.number32());
  if (reader.at() != end) return reader.wrong("an SOA record of the wrong length");
  return std::min(ttl_s, minimum);
}

enum class Section : uint8_t { kAnswer, kAuthority, kAdditional };

Edns edns_from(uint16_t klass, uint32_t ttl) {
  return {klass, static_cast<uint8_t>(ttl >> 16U), (ttl & 0x8000U) != 0};
}

Result<void> read_record(Reader& reader, Section section, Message& message) {
  Record record;
  record.name = TRY(reader.name());
  const uint16_t type = TRY(reader.number16());
  const uint16_t klass = TRY(reader.number16());
  record.ttl_s = TRY(reader.number32());
  const size_t size = TRY(reader.number16());
  if (reader.left() < size) return reader.cut();
  const size_t end = reader.at() + size;
  if (type == type::kOpt) {
    if (section != Section::kAdditional || message.edns || !record.name.is_root()) {
      return reader.wrong("a second or misplaced OPT record");
    }
    message.edns = edns_from(klass, record.ttl_s);
    const auto upper = static_cast<uint16_t>(record.ttl_s >> 24U);
    message.header.rcode =
        static_cast<Rcode>(static_cast<uint16_t>(message.header.rcode) | upper << 4U);
    reader.skip_to(end);
    return {};
  }
  if (klass != kClassIn) {
    record.data = Opaque{type};
    reader.skip_to(end);
  } else if (section == Section::kAuthority) {
    if (type == type::kSoa) {
      const uint32_t ttl_s = TRY(negative_ttl(reader, record.ttl_s, end));
      message.denial = Denial{std::move(record.name), ttl_s};
    }
    reader.skip_to(end);
    return {};
  } else {
    record.data = TRY(known_data(reader, type, end));
  }
  if (reader.at() != end) return reader.wrong("a record whose data has another length");
  if (section == Section::kAnswer) message.answers.push_back(std::move(record));
  if (section == Section::kAdditional) message.additional.push_back(std::move(record));
  return {};
}

}  // namespace

Result<Message> parse(std::string_view bytes) {
  Reader reader(bytes);
  Message message;
  const uint16_t id = TRY(reader.number16());
  message.header = header_from(id, TRY(reader.number16()));
  const uint16_t questions = TRY(reader.number16());
  const uint16_t answers = TRY(reader.number16());
  const uint16_t authority = TRY(reader.number16());
  const uint16_t additional = TRY(reader.number16());
  if (questions > 1) return reader.wrong("more than one question");
  if (questions == 1) {
    Question question;
    question.name = TRY(reader.name());
    question.type = TRY(reader.number16());
    question.klass = TRY(reader.number16());
    message.question = std::move(question);
  }
  for (uint16_t i = 0; i < answers; ++i) TRY(read_record(reader, Section::kAnswer, message));
  for (uint16_t i = 0; i < authority; ++i) TRY(read_record(reader, Section::kAuthority, message));
  for (uint16_t i = 0; i < additional; ++i) TRY(read_record(reader, Section::kAdditional, message));
  if (reader.left() != 0) return reader.wrong("bytes behind the end");
  return message;
}

}  // namespace weft::dns
