#pragma once

#include "agent/objects/kinds.h"
#include "agent/objects/object.h"
#include "agent/objects/tree.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

// Objects as an API server sends them: pages of a list, and events of a watch.
//
// Two things differ from a manifest. Fields that nothing here reads are passed over before they
// take memory (a pod of 10 KB of JSON becomes 1 KB). And of Kubernetes' own kinds, which the server
// has validated by its own, newer rules, what is not understood is left out instead of refused; a
// mesh's policies are held to the letter, as an unknown field might be what narrows them.

namespace weft::objects {

// How the objects of one resource are to be read.
struct ServedKind {
  const Kind* kind = nullptr;
  std::string api_version;     // that they are asked for in
  bool metadata_only = false;  // only metadata is kept, whatever is sent
  bool keeps_status = false;   // ServedObject::status is filled
};

struct ServedObject {
  Key key;
  std::string uid;
  int64_t generation = 0;
  // Of all that is read; equal to the former one: nothing has changed for us. Differs from process
  // to process.
  uint64_t content = 0;
  std::shared_ptr<const Object> object;  // null: it cannot be read, see `errors`
  std::vector<Error> errors;
  // For a policy that cannot be read: what is to be in force where it never was good (stand_in.h).
  std::shared_ptr<const Object> stand_in;
  Tree status;
};

struct ServedPage {
  std::vector<ServedObject> objects;
  std::string resource_version;
  std::string next;  // the continue token; empty: the last page
};

struct ServedEvent {
  enum class Type : uint8_t { kChanged, kDeleted, kBookmark, kError };
  Type type = Type::kBookmark;
  ServedObject object;           // kChanged, kDeleted
  std::string resource_version;  // but of an error
  int code = 0;                  // kError: an HTTP status
  std::string reason;            // kError, as metav1.Status has it
  std::string message;
};

// kInvalid: not the JSON that was asked for; kLimit: larger than any honest server's.
Result<ServedPage> read_page(std::string_view json, const ServedKind& kind);
// One line of a watch.
Result<ServedEvent> read_event(std::string_view json, const ServedKind& kind);

}  // namespace weft::objects
