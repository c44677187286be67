#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weft::http {

struct Header {
  std::string name;  // lower case
  std::string value;
};

// The value of the first header of that name; empty where there is none.
inline std::string_view find_header(const std::vector<Header>& headers, std::string_view name) {
  for (const Header& header : headers) {
    if (header.name == name) return header.value;
  }
  return {};
}

}  // namespace weft::http
