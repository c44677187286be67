#pragma once

#include "agent/objects/kinds.h"
#include "agent/objects/object.h"
#include "agent/objects/tree.h"

#include <memory>
#include <vector>

// Between a document and an object. Internal to the room.

namespace weft::objects {

// The object as far as it could be read, and every mistake in it.
struct ReadObject {
  std::shared_ptr<const Object> object;
  std::vector<Error> errors;
};
ReadObject read_object(Tree document, const Kind& kind);

}  // namespace weft::objects
