#pragma once

#include "agent/sandbox/environment.h"
#include "agent/sandbox/families.h"
#include "agent/sandbox/store.h"

#include <string>
#include <vector>

namespace weft::sandbox {

// What an API server does between receiving an object and storing it: defaults that others rely on
// (namespace, uid, creation time, cluster IP), checks against the objects that are there, and, of
// an object that exists, keeping what its owner does not write. Pure.
struct Admitted {
  enum class Outcome { kCreated, kConfigured, kUnchanged };
  Outcome outcome = Outcome::kCreated;
  ObjectPtr object;
};
struct Admission {
  std::vector<Admitted> admitted;  // in the order given
  std::vector<Error> errors;       // "Kind/ns/name: field: what was expected"
};

// `present`: everything stored. `fallback_namespace`: for objects that name none.
Admission admit(const std::vector<ObjectPtr>& wanted, const std::vector<ObjectPtr>& present,
                const Images& images, const std::string& images_origin,
                const std::string& fallback_namespace, Families families);

// A copy with changed metadata.
ObjectPtr with_metadata(const objects::Object& object,
                        const std::function<void(crd::core::ObjectMeta&)>& change);

}  // namespace weft::sandbox
