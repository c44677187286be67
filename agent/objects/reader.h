#pragma once

#include "agent/objects/report.h"
#include "agent/objects/tree.h"

#include <google/protobuf/message.h>

namespace weft::objects {

// Fills `message` from `tree` by the message's descriptor: one reader for every kind. Field names
// are the proto's own (the API writes them so); null means absent. Every mistake is reported and
// the rest is read all the same: unknown and duplicate fields, wrong types, numbers out of range,
// unknown enum values, more than one field of a oneof, and what weft.crd.FieldRules say. Inside
// google.protobuf.Value anything goes but duplicates.
void read_message(const Tree& tree, google::protobuf::Message& message, Report& report);

// The way back: fields that are set, in the order of their numbers; lists and messages that are
// present but empty stay.
Tree write_message(const google::protobuf::Message& message);

}  // namespace weft::objects
