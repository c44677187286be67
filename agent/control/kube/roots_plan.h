#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace weft::control::kube {

// Which namespace is to be given the roots next. No I/O; belongs to one thread.
//
// A namespace that refuses (it ends, a quota, another's field) is asked again later and later, or
// not before its ConfigMap changes: control fights with nobody.
class RootsPlan {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kRetryFirst{2};
  static constexpr std::chrono::minutes kRetryMax{5};

  // Empty: not known yet, so nothing is written.
  void set_roots(std::string pem);
  const std::string& roots() const { return roots_; }
  // `wanted`: it exists and is one of the mesh.
  void set_namespace(const std::string& ns, bool wanted);
  // What the namespace has under root-cert.pem; nothing: no such ConfigMap.
  void observe(const std::string& ns, std::optional<std::string> content);

  // The namespace to be written now, if any; and, where there is none, when there will be.
  std::optional<std::string> next(Time now) const;
  std::optional<Time> next_time() const;

  void written(const std::string& ns);
  void failed(const std::string& ns, Time now);
  // Somebody else owns the key: true where that is news.
  bool conflicted(const std::string& ns);
  size_t foreign() const;

 private:
  struct State {
    bool wanted = false;
    std::optional<std::string> content;
    bool is_foreign = false;  // until its content changes
    uint32_t failures = 0;
    Time retry_at{};
  };
  void settle(const std::string& ns);
  void drop_if_void(const std::string& ns);

  std::string roots_;
  std::map<std::string, State> states_;
  std::set<std::string> due_;
};

}  // namespace weft::control::kube
