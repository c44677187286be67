#include "ztunnel/http/message.h"

#include <strings.h>

#include <algorithm>
#include <cstring>

namespace weft::http {
namespace {

bool is_same_token(std::string_view one, std::string_view other) {
  return one.size() == other.size() && strncasecmp(one.data(), other.data(), one.size()) == 0;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

const FieldList::Field* FieldList::find(std::string_view name) const {
  const auto found = std::ranges::find(fields_, name, &Field::name);
  return found == fields_.end() ? nullptr : &*found;
}

std::string_view FieldList::get(std::string_view name) const {
  const Field* field = find(name);
  return field == nullptr ? std::string_view() : field->value;
}

size_t FieldList::count(std::string_view name) const {
  return static_cast<size_t>(std::ranges::count(fields_, name, &Field::name));
}

bool FieldList::lists(std::string_view name, std::string_view token) const {
  for (const Field& field : fields_) {
    if (field.name != name) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const size_t comma = rest.find(',');
      if (is_same_token(trim(rest.substr(0, comma)), token)) return true;
      rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    }
  }
  return false;
}

std::span<char> FieldList::room(size_t bytes) {
  if (bytes > chunk_left_) {
    chunk_left_ = std::max(bytes, kChunkBytes);
    char* const chunk = static_cast<char*>(runtime::allocate_frame(chunk_left_));
    chunks_.push_back(std::unique_ptr<char, FreeChunk>(chunk, FreeChunk{chunk_left_}));
    chunk_begin_ = chunk;
  }
  char* const place = chunk_begin_;
  chunk_begin_ += bytes;
  chunk_left_ -= bytes;
  return {place, bytes};
}

std::string_view FieldList::keep(std::string_view text) {
  if (text.empty()) return {};
  const std::span<char> place = room(text.size());
  std::memcpy(place.data(), text.data(), text.size());
  return {place.data(), place.size()};
}

void FieldList::adopt(std::vector<Header> headers) {
  clear();
  adopted_ = std::move(headers);
  fields_.reserve(adopted_.size() + 4);  // what a proxy adds
  for (const Header& header : adopted_) {
    if (!header.name.starts_with(':')) fields_.push_back({header.name, header.value});
  }
}

void FieldList::add(std::string_view name, std::string_view value) {
  const std::string_view kept = keep(name);
  fields_.push_back({kept, keep(value)});
}

void FieldList::set(std::string_view name, std::string_view value) {
  const auto first = std::ranges::find(fields_, name, &Field::name);
  if (first == fields_.end()) return add(name, value);
  first->value = keep(value);
  fields_.erase(std::remove_if(std::next(first), fields_.end(),
                               [&](const Field& field) { return field.name == name; }),
                fields_.end());
}

size_t FieldList::remove(std::string_view name) {
  return std::erase_if(fields_, [&](const Field& field) { return field.name == name; });
}

void FieldList::clear() {
  fields_.clear();
  adopted_.clear();
  held_.clear();
  chunks_.clear();
  chunk_begin_ = nullptr;
  chunk_left_ = 0;
}

}  // namespace weft::http
