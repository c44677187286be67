#include "ztunnel/telemetry/symbols.h"

#include "ztunnel/base/fd.h"

#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <sstream>

namespace weft::telemetry {
namespace {

// A file in memory for as long as it is read. Its pages go with it.
class FileView {
 public:
  explicit FileView(const std::string& path) {
    const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat facts{};
    if (file.get() < 0 || fstat(file.get(), &facts) != 0 || facts.st_size <= 0) return;
    const auto size = static_cast<size_t>(facts.st_size);
    void* memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (memory != MAP_FAILED) bytes_ = {static_cast<const char*>(memory), size};
  }
  ~FileView() {
    if (!bytes_.empty()) munmap(const_cast<char*>(bytes_.data()), bytes_.size());
  }
  FileView(const FileView&) = delete;
  FileView& operator=(const FileView&) = delete;

  bool has(uint64_t offset, uint64_t size) const {
    return offset <= bytes_.size() && size <= bytes_.size() - offset;
  }
  // `count` of them at `offset`; empty where the file does not have them.
  template <class T>
  std::vector<T> read(uint64_t offset, uint64_t count) const {
    if (count > bytes_.size() / sizeof(T) || !has(offset, count * sizeof(T))) return {};
    std::vector<T> values(count);
    if (count > 0) std::memcpy(values.data(), bytes_.data() + offset, count * sizeof(T));
    return values;
  }
  std::string text(uint64_t offset, uint64_t size) const {
    return has(offset, size) ? std::string(bytes_.data() + offset, size) : std::string();
  }

 private:
  std::span<const char> bytes_;
};

// What of an ELF file is needed here.
struct Elf {
  std::vector<Elf64_Phdr> segments;
  std::vector<Elf64_Sym> symbols;
  std::string names;
};

std::optional<Elf> read_elf(const FileView& file) {
  const auto heads = file.read<Elf64_Ehdr>(0, 1);
  if (heads.empty() || std::memcmp(heads[0].e_ident, ELFMAG, SELFMAG) != 0 ||
      heads[0].e_ident[EI_CLASS] != ELFCLASS64) {
    return std::nullopt;
  }
  Elf elf;
  elf.segments = file.read<Elf64_Phdr>(heads[0].e_phoff, heads[0].e_phnum);
  const auto sections = file.read<Elf64_Shdr>(heads[0].e_shoff, heads[0].e_shnum);
  for (const uint32_t kind : {SHT_SYMTAB, SHT_DYNSYM}) {
    const auto found = std::ranges::find(sections, kind, &Elf64_Shdr::sh_type);
    if (found == sections.end() || found->sh_link >= sections.size()) continue;
    elf.symbols = file.read<Elf64_Sym>(found->sh_offset, found->sh_size / sizeof(Elf64_Sym));
    const Elf64_Shdr& strings = sections[found->sh_link];
    elf.names = file.text(strings.sh_offset, strings.sh_size);
    break;
  }
  return elf;
}

}  // namespace

std::vector<CodeMapping> code_mappings() {
  std::vector<CodeMapping> mappings;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    // "start-end rwxp offset device inode   path"
    std::istringstream words(line);
    CodeMapping mapping;
    std::string rights;
    std::string device;
    std::string inode;
    char dash = 0;
    words >> std::hex >> mapping.start >> dash >> mapping.end >> rights >> mapping.file_offset >>
        device >> inode >> std::ws;
    std::getline(words, mapping.file);
    if (rights.size() < 3 || rights[2] != 'x' || !mapping.file.starts_with('/')) continue;
    mappings.push_back(std::move(mapping));
  }
  return mappings;
}

Result<Symbols> Symbols::of(const CodeMapping& mapping) {
  const FileView file(mapping.file);
  std::optional<Elf> elf = read_elf(file);
  if (!elf) return fail(Code::kUnsupported, mapping.file + ": not a 64-bit ELF file");
  Symbols symbols(std::move(elf->names));
  for (const Elf64_Phdr& segment : elf->segments) {
    const bool holds = segment.p_type == PT_LOAD && segment.p_offset <= mapping.file_offset &&
                       mapping.file_offset < segment.p_offset + segment.p_filesz;
    // A segment need not begin on a page: the kernel maps from the page before.
    const bool begins = segment.p_type == PT_LOAD && (segment.p_flags & PF_X) != 0 &&
                        segment.p_offset - mapping.file_offset < 4096;
    if (!holds && !begins) continue;
    symbols.bias_ = mapping.start - mapping.file_offset - (segment.p_vaddr - segment.p_offset);
    if ((segment.p_flags & PF_X) != 0) break;
  }
  for (const Elf64_Sym& symbol : elf->symbols) {
    if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx == SHN_UNDEF) continue;
    if (symbol.st_name >= symbols.names_.size()) continue;
    symbols.functions_.push_back({symbol.st_value, symbol.st_size, symbol.st_name});
  }
  std::ranges::sort(symbols.functions_, {}, &Function::start);
  return symbols;
}

std::string Symbols::name_of(uint64_t address) const {
  const uint64_t wanted = address - bias_;
  auto after = std::ranges::upper_bound(functions_, wanted, {}, &Function::start);
  if (after == functions_.begin()) return {};
  const Function& function = *--after;
  // Assembly often gives no size.
  if (function.size > 0 && wanted - function.start >= function.size) return {};
  const char* name = names_.c_str() + function.name;
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> plain(
      abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free);
  return status == 0 && plain ? plain.get() : name;
}

}  // namespace weft::telemetry
