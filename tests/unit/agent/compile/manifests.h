#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/print.h"
#include "agent/objects/object.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

// Manifests written in tests, and resources as tests read them.
namespace weft::compile {

inline std::vector<source::Change> changes_of(std::string_view yaml) {
  objects::Parsed parsed = objects::parse_manifests(yaml, "test.yaml");
  for (const Error& error : parsed.errors) ADD_FAILURE() << error.to_string();
  std::vector<source::Change> changes;
  for (auto& object : parsed.objects) changes.push_back({object->key(), object});
  return changes;
}

inline source::Change removal(std::string kind, std::string ns, std::string name) {
  return {{std::move(kind), std::move(ns), std::move(name)}, nullptr};
}

// "+name" for what is set, "-name" for what is removed, in order.
inline std::vector<std::string> steps(const std::vector<Resource>& resources) {
  std::vector<std::string> result;
  for (const Resource& resource : resources) {
    result.push_back((resource.removed ? "-" : "+") + resource.name);
  }
  return result;
}

// {"type":..,"name":..,"resource":..} of the resource with that name; empty where there is none.
inline std::string json_of(const Compiler& compiler, std::string_view name) {
  for (const Resource& resource : compiler.all()) {
    if (resource.name == name) {
      const auto line = to_json_line(resource);
      return line ? line->substr(0, line->size() - 1) : line.error().to_string();
    }
  }
  return {};
}

// Only what stands in "resource".
inline std::string body_of(const Compiler& compiler, std::string_view name) {
  const std::string line = json_of(compiler, name);
  const size_t at = line.find("\"resource\":");
  return at == std::string::npos ? line : line.substr(at + 11, line.size() - at - 12);
}

inline std::vector<std::string> warnings(const Compiler& compiler) {
  std::vector<std::string> result;
  for (const Notice& notice : compiler.notices()) {
    result.push_back(notice.object.to_string() + ": " + notice.message);
  }
  return result;
}

inline std::string pod(const std::string& ns, const std::string& name, const std::string& labels,
                       const std::string& ip, const std::string& more_spec = "") {
  return "---\napiVersion: v1\nkind: Pod\nmetadata: {namespace: " + ns + ", name: " + name +
         ", uid: " + name + "-uid, labels: {" + labels + "}}\nspec: {nodeName: node-1, " +
         more_spec + "containers: [{name: c}]}\nstatus: {phase: Running, podIP: " + ip + "}\n";
}

inline std::string policy(const std::string& ns, const std::string& name, const std::string& spec) {
  return "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: "
         "{namespace: " +
         ns + ", name: " + name + "}\nspec: " + spec + "\n";
}

// `age`: the year of its creation.
inline std::string peer(const std::string& ns, const std::string& name, const std::string& spec,
                        int age = 2026) {
  return "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {namespace: " +
         ns + ", name: " + name + ", creationTimestamp: \"" + std::to_string(age) +
         "-01-01T00:00:00Z\"}\nspec: " + spec + "\n";
}

}  // namespace weft::compile
