#pragma once

#include "agent/identity/supplied_ca.h"
#include "agent/source/kube/api_client.h"
#include "ztunnel/runtime/pause.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace weft::control::kube {

// The CA's key and certificates, in a Secret of control's own namespace: the one that an operator
// brings (cacerts) or else one that control makes (weft-ca). Belongs to the client's loop.
//
// The replica that leads makes it, the others wait for it. A root that was lost is never replaced
// by another on its own: whoever trusts the old one would be cut off. So a Secret that goes is only
// reported, and none is made where the mesh was told of a root of ours before. A Secret that
// changes is put in force if its roots and those before have one in common, which is how roots are
// rotated: first root-cert.pem gets both, then the key and certificate become the new one's, then
// the old root goes, each a certificate's lifetime after the other.
class RootSecret {
 public:
  struct Names {
    std::string ns;
    std::string own = "weft-ca";
    std::string brought;  // empty: nobody brings one
    std::string trust_domain;
  };
  struct Events {
    // Once: there is a CA. It is given away; what changes in it is told by on_change.
    std::function<void(std::unique_ptr<identity::SuppliedAuthority>)> on_authority;
    std::function<void()> on_change;
    std::function<void(const Error&)> on_error;  // what somebody has to do something about
    std::function<bool()> leads;
  };

  RootSecret(source::kube::ApiClient& client, Names names, Events events,
             std::chrono::milliseconds look_every = kLookEvery);

  runtime::Task<void> run();  // until stop()
  void stop();
  void look_now() { pause_.wake(); }  // the replica leads now

 private:
  static constexpr std::chrono::milliseconds kLookEvery{5'000};

  enum class Found { kNothing, kGone, kThere };
  struct Look {
    Found found = Found::kNothing;  // kNothing: it could not be asked for
    identity::CaFiles files;
  };
  runtime::Task<Look> look(std::string name);
  runtime::Task<void> open();
  runtime::Task<void> make();
  runtime::Task<bool> had_a_root();
  runtime::Task<void> follow();
  void take(const std::string& name, const Look& look);
  void take_change(const identity::CaFiles& files);
  void report(Error error);
  std::string path_of(const std::string& name) const;

  source::kube::ApiClient& client_;
  const Names names_;
  const Events events_;
  const std::chrono::milliseconds look_every_;
  runtime::Pause pause_;
  identity::SuppliedAuthority* authority_ = nullptr;  // once there is one; others own it
  std::string in_use_;                                // the name of the Secret it is from
  identity::CaFiles seen_;                            // as last looked at, good or not
  std::string reported_;                              // each mistake once
  bool stopped_ = false;
};

}  // namespace weft::control::kube
