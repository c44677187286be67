#pragma once

#include "agent/sandbox/layout.h"
#include "ztunnel/base/result.h"

#include <string>
#include <vector>

namespace weft::sandbox {

// `kubectl apply -f` for a file or folder: all of it or, on any mistake, nothing. `report` gets a
// line for each object. The errors are whole lines.
struct Applied {
  std::vector<std::string> report;  // "deployment/users created"
  std::vector<Error> errors;
};
Applied apply_manifests(const Layout& layout, const std::string& manifests,
                        const std::string& fallback_namespace);

// Deletes objects; a Namespace takes everything in it along, pods leave in good order. kNotFound
// where one does not exist (the others are deleted).
Applied delete_manifests(const Layout& layout, const std::string& manifests,
                         const std::string& fallback_namespace);
Applied delete_named(const Layout& layout, const std::string& kind, const std::string& ns,
                     const std::vector<std::string>& names);

// The kind that "po", "pods", "deploy", "Pod" or "pods.v1" means.
Result<std::string> kind_of(const std::string& word);
bool is_namespaced_kind(const std::string& kind);

}  // namespace weft::sandbox
