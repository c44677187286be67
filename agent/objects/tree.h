#pragma once

#include "ztunnel/base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::objects {

// A document before it has a type: what YAML and JSON have in common. The one value tree of the
// house; every parser makes it and every writer takes it.
struct Tree {
  enum class Kind : uint8_t { kNull, kBool, kInteger, kNumber, kString, kList, kMap };
  struct Member;

  Kind kind = Kind::kNull;
  bool boolean = false;
  int64_t integer = 0;          // kInteger
  double number = 0;            // kNumber: what is no int64
  int line = 0;                 // where it stood, from 1; 0: not known
  std::string text;             // kString: the value; of a plain YAML scalar: as it was written
  std::vector<Tree> items;      // kList
  std::vector<Member> members;  // kMap: in the order written; a name may stand there twice

  static Tree of(std::string value);
  static Tree of(const char* value);  // not a bool
  static Tree of(bool value);
  static Tree of(int64_t value);
  static Tree of(double value);
  static Tree list();
  static Tree map();

  bool is_null() const { return kind == Kind::kNull; }
  // The first member of that name; null where there is none or this is no map.
  const Tree* find(std::string_view name) const;
  // The text of a member that is a string; empty otherwise.
  std::string_view text_of(std::string_view name) const;
  void add(std::string name, Tree value);
  // "the number 8080", "a list": what an error says was found.
  std::string describe() const;
};

struct Tree::Member {
  std::string name;
  Tree value;
};

// A folder of manifests is read by a process that others depend on, so a file has bounds.
constexpr size_t kTextBytesMax = 8 << 20;  // an API server refuses objects above 1.5 MiB
constexpr size_t kDepthMax = 64;           // the deepest CRD schemas in use stay below 50
constexpr size_t kTreeNodesMax = 400'000;  // with aliases expanded; about 60 MiB

// Errors name the line and what was expected, not the object: that is not known yet.
Result<Tree> parse_json(std::string_view text);
std::string write_json(const Tree& tree);  // one line, no spaces beyond those in strings

// Any number of documents. Plain scalars mean what kubectl takes them for (YAML 1.1 with its yes,
// no, on, off and octal 010); a quoted scalar is a string. Aliases are expanded, merge keys ("<<")
// are merged. `error` says why the text ends to be YAML; the documents before are complete.
struct YamlDocuments {
  std::vector<Tree> documents;  // empty documents are left out
  std::vector<Error> error;     // at most one
};
YamlDocuments parse_yaml(std::string_view text);
std::string write_yaml(const Tree& tree);  // block style, ends with a line break

// What a plain scalar stands for; `text` is kept.
Tree resolve_plain_scalar(std::string text);

}  // namespace weft::objects
