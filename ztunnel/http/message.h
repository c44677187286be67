#pragma once

#include "ztunnel/http/header.h"
#include "ztunnel/runtime/buffer.h"
#include "ztunnel/runtime/pooled.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

// What the data path's engine calls a request and a response, whatever version of HTTP carries it.

namespace weft::http {

// Header fields in the order in which they came; names in lower case, without pseudo-headers. Names
// and values are views of bytes that the list owns, or of buffers that it holds; they are good as
// long as the list is. Moves, never copies: a head is made once.
class FieldList {
 public:
  struct Field {
    std::string_view name;
    std::string_view value;
  };

  FieldList() = default;
  FieldList(FieldList&&) noexcept = default;
  FieldList& operator=(FieldList&&) noexcept = default;

  std::span<const Field> all() const { return fields_; }
  bool empty() const { return fields_.empty(); }
  const Field* find(std::string_view name) const;     // the first; null: none
  std::string_view get(std::string_view name) const;  // of the first; empty: none
  size_t count(std::string_view name) const;
  // Whether a comma-separated list, such as Connection, has the token (in any case).
  bool lists(std::string_view name, std::string_view token) const;

  void add(std::string_view name, std::string_view value);  // copies both
  // Instead of all of that name; neither may be a view of a field that goes by it.
  void set(std::string_view name, std::string_view value);
  size_t remove(std::string_view name);  // how many there were
  // A field whose bytes the caller keeps alive, or has given to hold().
  void add_view(std::string_view name, std::string_view value) { fields_.push_back({name, value}); }
  // Becomes these, whose names are in lower case; pseudo-headers are kept but are no fields.
  void adopt(std::vector<Header> headers);
  std::span<const Header> adopted() const { return adopted_; }
  void hold(runtime::Buffer bytes) { held_.push_back(std::move(bytes)); }
  std::string_view keep(std::string_view text);  // a copy that lives as long as the list
  std::span<char> room(size_t bytes);            // to be written to; lives as long as the list
  void reserve(size_t fields) { fields_.reserve(fields); }
  void clear();

 private:
  static constexpr size_t kChunkBytes = 1024;
  // Of the coroutines' pool: a head for each request costs the heap nothing.
  struct FreeChunk {
    size_t bytes = 0;
    void operator()(char* chunk) const noexcept { runtime::free_frame(chunk, bytes); }
  };
  std::vector<Field, runtime::PooledAllocator<Field>> fields_;
  std::vector<Header> adopted_;
  std::vector<runtime::Buffer> held_;
  std::vector<std::unique_ptr<char, FreeChunk>> chunks_;
  char* chunk_begin_ = nullptr;  // what is left of the last one
  size_t chunk_left_ = 0;
};

enum class Version : uint8_t { kHttp10, kHttp11, kHttp2 };

// All views are of bytes that `fields` keeps; change one by `head.path = head.fields.keep(..)`.
struct RequestHead {
  Version version = Version::kHttp11;
  std::string_view method;
  std::string_view scheme;     // "http" where the client did not say
  std::string_view authority;  // :authority or Host, which is not among the fields
  std::string_view path;       // with the query; "*" of OPTIONS
  std::string_view protocol;   // of an extended CONNECT or an Upgrade: "websocket"; else empty
  FieldList fields;
};

struct ResponseHead {
  int status = 200;
  FieldList fields;
};

}  // namespace weft::http
