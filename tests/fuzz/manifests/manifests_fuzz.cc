// Manifests, as YAML and as JSON: whatever the text, the reader gives objects or mistakes, each on
// one line; what it gives survives being written and read again; and the compiler takes all of it.
#include "agent/compile/compiler.h"
#include "agent/compile/print.h"
#include "agent/objects/object.h"
#include "agent/objects/stand_in.h"
#include "ztunnel/base/check.h"

#include <cstdint>

namespace {

using weft::objects::Object;
using weft::objects::parse_manifests;

void check_round_trip(const Object& object) {
  const std::string json = weft::objects::to_json(object);
  for (const auto& [text, origin] :
       {std::pair(json, "x.json"), std::pair(weft::objects::to_yaml(object), "x.yaml")}) {
    const auto again = parse_manifests(text, origin);
    CHECK(again.errors.empty());
    CHECK(again.objects.size() == 1);
    CHECK(weft::objects::to_json(*again.objects[0]) == json);
  }
}

void check_text(std::string_view text, std::string_view origin) {
  const auto parsed = parse_manifests(text, origin);
  for (const weft::Error& error : parsed.errors) {
    CHECK(!error.message.empty() && !error.message.contains('\n'));
  }
  for (const auto& object : weft::objects::security_of(text, origin)) check_round_trip(*object);
  weft::compile::Compiler compiler({});
  for (const auto& object : parsed.objects) {
    check_round_trip(*object);
    for (const auto& resource : compiler.apply({{object->key(), object}})) {
      CHECK(resource.removed || weft::compile::to_json_line(resource));
    }
    compiler.notices();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_text(text, "x.yaml");
  check_text(text, "x.json");
  return 0;
}
