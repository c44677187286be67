#pragma once

#include "ztunnel/base/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace weft::objects {

// Collects the mistakes of one object, each as "Kind/ns/name: spec.ports[0].port: what was
// expected". Whoever looks at a field says so first:
//   const auto here = report.at("spec");
//   report.add("expected a map");
class Report {
 public:
  // A document with more mistakes than this is not a manifest; the rest is only counted.
  static constexpr size_t kErrorsMax = 64;

  explicit Report(std::string subject) : subject_(std::move(subject)) {}

  // Keeps a step of the path for as long as it lives.
  class Step {
   public:
    Step(Report& report, std::string_view step);
    ~Step();
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    Report& report_;
    size_t length_before_;
  };
  Step at(std::string_view field);    // "spec" -> ".spec"
  Step at(size_t index);              // "[0]"
  Step at_key(std::string_view key);  // "[app.kubernetes.io/name]": of a map with free keys

  // A mistake at the present path. Left out where one is known already below it, above it or at it:
  // what was read wrongly would only be judged a second time.
  void add(std::string_view message);
  bool empty() const { return errors_.empty(); }
  size_t size() const { return errors_.size() + left_out_; }
  std::vector<Error> take();

 private:
  std::string subject_;
  std::string path_;
  std::vector<std::string> paths_;  // of errors_, one for one
  std::vector<Error> errors_;
  size_t left_out_ = 0;
};

// Without control characters: names and keys are whatever somebody wrote, and must not begin a line
// of their own in a log.
std::string one_line(std::string text);

// The candidate that is most like `name`; empty where none is like it.
std::string_view nearest(std::string_view name, const std::vector<std::string_view>& candidates);

}  // namespace weft::objects
