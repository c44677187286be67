#pragma once

#include "agent/source/source.h"
#include "ztunnel/runtime/sync.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weft::enrol::testing {

// Objects by hand. Belongs to the loop's thread.
class FakeSource final : public source::Source {
 public:
  using Annotated = std::function<Result<void>(const std::string& uid, const std::string& value)>;
  FakeSource(std::vector<source::Change> first, Annotated annotated)
      : first_(std::move(first)), annotated_(std::move(annotated)) {}

  runtime::Task<void> watch(OnChange on_change, OnError) override {
    on_change_ = std::move(on_change);
    on_change_(std::move(first_));
    while (!stopped_) co_await changed_.wait();
  }
  void stop() override {
    stopped_ = true;
    changed_.wake();
  }
  runtime::Task<Result<void>> annotate_pod(std::string, std::string, std::string uid, std::string,
                                           std::string value) override {
    co_return annotated_(uid, value);
  }

  void push(source::Change change) { on_change_({std::move(change)}); }

 private:
  std::vector<source::Change> first_;
  Annotated annotated_;
  OnChange on_change_;
  bool stopped_ = false;
  runtime::Event changed_;
};

struct PodSpec {
  std::string name = "users-0";
  std::string uid = "u-1";
  std::string node = "node-1";
  std::string address = "10.99.0.2";
  std::string phase = "Running";
  std::string service_account = {};
  bool labelled = true;
  bool annotated = false;
  std::string dns_capture = {};             // the annotation, where it is not empty
  std::vector<std::string> addresses = {};  // status.podIPs
};

inline source::Change pod_change(const PodSpec& spec) {
  auto pod = std::make_shared<weft::crd::core::Pod>();
  auto& metadata = *pod->mutable_metadata();
  metadata.set_name(spec.name);
  metadata.set_namespace_("shop");
  metadata.set_uid(spec.uid);
  if (spec.labelled) (*metadata.mutable_labels())["istio.io/dataplane-mode"] = "ambient";
  if (spec.annotated) {
    (*metadata.mutable_annotations())["ambient.istio.io/redirection"] = "enabled";
  }
  if (!spec.dns_capture.empty()) {
    (*metadata.mutable_annotations())["ambient.istio.io/dns-capture"] = spec.dns_capture;
  }
  for (const std::string& address : spec.addresses) {
    pod->mutable_status()->add_podips()->set_ip(address);
  }
  pod->mutable_spec()->set_nodename(spec.node);
  pod->mutable_spec()->set_serviceaccountname(spec.service_account);
  pod->mutable_status()->set_podip(spec.address);
  pod->mutable_status()->set_phase(spec.phase);
  return {.key = {.kind = "Pod", .ns = "shop", .name = spec.name},
          .object = std::make_shared<objects::Object>("v1", "Pod", pod)};
}

inline source::Change pod_gone(const std::string& name) {
  return {.key = {.kind = "Pod", .ns = "shop", .name = name}, .object = nullptr};
}

// The label on the pod alone; the real decision is compile::is_to_be_enrolled.
inline bool is_labelled(const weft::crd::core::Pod& pod, const weft::crd::core::Namespace*) {
  const auto label = pod.metadata().labels().find("istio.io/dataplane-mode");
  return label != pod.metadata().labels().end() && label->second == "ambient";
}

}  // namespace weft::enrol::testing
