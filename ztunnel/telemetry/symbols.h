#pragma once

#include "ztunnel/base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft::telemetry {

// A piece of this process's memory that holds code of a file.
struct CodeMapping {
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t file_offset = 0;
  std::string file;
  bool contains(uint64_t address) const { return start <= address && address < end; }
};

// From /proc/self/maps.
std::vector<CodeMapping> code_mappings();

// The functions of a mapping's file: from its symbol table, or of a stripped one from what it
// exports. Holds names only while it lives.
class Symbols {
 public:
  // kUnsupported: the file cannot be read as a 64-bit ELF file.
  static Result<Symbols> of(const CodeMapping& mapping);

  // The function that an address of the mapping lies in, as C++ writes it; empty: none is known.
  std::string name_of(uint64_t address) const;

 private:
  struct Function {
    uint64_t start;
    uint64_t size;
    size_t name;  // in names_
  };
  explicit Symbols(std::string names) : names_(std::move(names)) {}
  uint64_t bias_ = 0;  // address in memory - address in the file's own terms
  std::string names_;
  std::vector<Function> functions_;  // by start
};

}  // namespace weft::telemetry
