#pragma once

#include "ztunnel/runtime/pause.h"

#include <functional>
#include <string>

namespace weft::learn {

// Tells when the file of roots that control is trusted by changes: it is the mesh's own bundle
// (Istio's ConfigMap istio-ca-root-cert), so then every certificate is to be asked for again, to
// get the new bundle with it. Looks at the file every kInterval, because a ConfigMap is replaced by
// swapping links above it. Belongs to the learner's thread.
class RootsWatch {
 public:
  static constexpr std::chrono::milliseconds kInterval{1'000};
  // With the roots as Credentials::roots_pem has them; first with those of the start.
  using OnRoots = std::function<void(std::string roots_pem)>;

  RootsWatch(runtime::Loop& loop, std::string file, OnRoots on_roots)
      : file_(std::move(file)), on_roots_(std::move(on_roots)), pause_(loop) {}

  runtime::Task<void> run();  // until stop()
  void stop();
  // A file that cannot be read, or holds no certificates, changes nothing.
  void look();

 private:
  std::string file_;
  OnRoots on_roots_;
  runtime::Pause pause_;
  std::string text_;  // of the file, as last looked at
  bool stopped_ = false;
};

}  // namespace weft::learn
