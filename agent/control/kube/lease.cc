#include "agent/control/kube/lease.h"

#include <algorithm>

namespace weft::control::kube {
namespace {

using objects::Tree;

int64_t number_of(const Tree& tree, std::string_view name) {
  const Tree* found = tree.find(name);
  return found != nullptr && found->kind == Tree::Kind::kInteger ? found->integer : 0;
}

// A holder that asks for longer is not waited for: a mistake there would end all writing.
constexpr std::chrono::seconds kDurationMax{3600};

}  // namespace

Result<void> LeaseView::observe(std::string_view json, Time now) {
  const Tree lease = TRY(objects::parse_json(json));
  const Tree* metadata = lease.find("metadata");
  if (metadata == nullptr || metadata->text_of("resourceVersion").empty()) {
    return fail(Code::kInvalid, "the answer is no Lease: it has no metadata.resourceVersion");
  }
  ns_ = metadata->text_of("namespace");
  name_ = metadata->text_of("name");
  resource_version_ = metadata->text_of("resourceVersion");
  const Tree* found = lease.find("spec");
  const Tree spec = found == nullptr ? Tree::map() : *found;
  holder_ = spec.text_of("holderIdentity");
  acquired_ = spec.text_of("acquireTime");
  transitions_ = std::max<int64_t>(0, number_of(spec, "leaseTransitions"));
  duration_ = std::chrono::seconds(
      std::clamp<int64_t>(number_of(spec, "leaseDurationSeconds"), 0, kDurationMax.count()));
  std::string text = objects::write_json(spec);
  if (!changed_at_ || text != spec_) changed_at_ = now;
  spec_ = std::move(text);
  return {};
}

bool LeaseView::may_take(Time now) const {
  if (holder_.empty() || is_ours() || !changed_at_) return true;
  return now >= *changed_at_ + duration_;
}

Tree LeaseView::written(std::string holder, std::chrono::milliseconds duration,
                        const std::string& wall) const {
  Tree metadata = Tree::map();
  metadata.add("name", Tree::of(name_));
  metadata.add("namespace", Tree::of(ns_));
  if (!resource_version_.empty()) metadata.add("resourceVersion", Tree::of(resource_version_));
  Tree spec = Tree::map();
  const bool is_new_holder = !holder.empty() && holder != holder_;
  // The API server takes no empty holder, and whole seconds only.
  if (!holder.empty()) spec.add("holderIdentity", Tree::of(std::move(holder)));
  spec.add("leaseDurationSeconds",
           Tree::of(std::max<int64_t>(
               1, std::chrono::duration_cast<std::chrono::seconds>(duration).count())));
  spec.add("acquireTime", Tree::of(is_new_holder || acquired_.empty() ? wall : acquired_));
  spec.add("renewTime", Tree::of(wall));
  spec.add("leaseTransitions", Tree::of(transitions_ + (is_new_holder ? 1 : 0)));
  Tree lease = Tree::map();
  lease.add("apiVersion", Tree::of(std::string("coordination.k8s.io/v1")));
  lease.add("kind", Tree::of(std::string("Lease")));
  lease.add("metadata", std::move(metadata));
  lease.add("spec", std::move(spec));
  return lease;
}

std::string LeaseView::to_create(const std::string& ns, const std::string& name,
                                 const std::string& wall) const {
  LeaseView fresh(identity_, times_);
  fresh.ns_ = ns;
  fresh.name_ = name;
  fresh.transitions_ = -1;  // the first holder is no transition
  return objects::write_json(fresh.written(identity_, times_.lease, wall));
}

std::string LeaseView::to_take(const std::string& wall) const {
  return objects::write_json(written(identity_, times_.lease, wall));
}

std::string LeaseView::to_release(const std::string& wall) const {
  return objects::write_json(written({}, std::chrono::seconds(1), wall));
}

}  // namespace weft::control::kube
