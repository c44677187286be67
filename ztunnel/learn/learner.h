#pragma once

#include "ztunnel/learn/ca_client.h"
#include "ztunnel/learn/control_link.h"
#include "ztunnel/learn/crl_watch.h"
#include "ztunnel/learn/identities.h"
#include "ztunnel/learn/more_resources.h"
#include "ztunnel/learn/pods.h"
#include "ztunnel/learn/publisher.h"
#include "ztunnel/learn/roots_watch.h"
#include "ztunnel/learn/snapshot.h"
#include "ztunnel/learn/state_builder.h"
#include "ztunnel/learn/view_hub.h"
#include "ztunnel/learn/xds_client.h"
#include "ztunnel/learn/zds_client.h"

#include <memory>
#include <string>

namespace weft::learn {

// What the learner takes from outside; tests give their own.
struct LearnerOutside {
  Identities::Clock clock;
  runtime::Backoff::Random random;
  std::unique_ptr<ChannelSource> xds_channels;
  std::unique_ptr<ChannelSource> ca_channels;
};

// Joins the parts: control's resources go through the StateBuilder to the views and the snapshot,
// the agent's pods to the views and to the identities, certificates to the views and to the agent's
// memory.
class LearnerImpl final : public Learner,
                          private XdsSink,
                          private PodSink,
                          private ZdsSink,
                          private IdentitySink {
 public:
  LearnerImpl(runtime::Loop& loop, LearnerConfig config, LearnerOutside outside,
              MoreResources* more = nullptr);
  ~LearnerImpl() override;
  // To be called first, where CRLs are kept; without them nothing may be served.
  Result<void> load_crls() { return crls_.load(); }

  std::unique_ptr<View> make_view(runtime::Loop& worker) override;
  runtime::Task<void> run() override;
  void stop() override;
  void drain() override { draining_ = true; }
  LearnerStatus status() const override;
  std::shared_ptr<const State> state() const override { return state_; }
  std::vector<std::shared_ptr<const Pod>> pods() const override { return pods_.all(); }
  CredentialsList credentials() const override { return identities_.issued(); }

 private:
  std::vector<StateBuilder::Rejection> apply(const DeltaResponse& response) override;
  std::map<std::string, std::string> versions(std::string_view type) const override;
  std::vector<std::string> types() const override;
  void control_reached() override;
  void control_lost(const Error& error) override;

  void pod_added(std::shared_ptr<const Pod> pod) override;
  void pod_removed(std::shared_ptr<const Pod> pod) override;

  void unparked(Fd memfd) override;
  void parking_offered() override { park_soon(); }
  void agent_synced() override;
  void agent_lost(const Error& error) override;

  void identity_issued(std::shared_ptr<const tls::Credentials> credentials) override;
  void identity_failed(const SpiffeId& identity, const Error& error) override;
  void identity_gone(const SpiffeId& identity) override;

  bool has_agent() const { return !config_.own_identity.has_value(); }
  bool is_of_more(std::string_view type) const;
  bool restore_snapshot();
  void publish_trust(std::shared_ptr<const tls::RevocationList> revoked);
  void publish();
  SpiffeId identity_of(const Pod& pod) const;
  void park_soon();
  runtime::Task<void> keep_parked();

  runtime::Loop& loop_;
  LearnerConfig config_;
  LearnerOutside outside_;
  MoreResources* more_;
  ViewHub hub_;
  StateBuilder builder_;
  Publisher publisher_;
  std::shared_ptr<const State> state_;  // as last published
  CaClient authority_;
  Identities identities_;
  RootsWatch roots_;
  CrlWatch crls_;
  PodTable pods_;
  XdsClient xds_;
  ZdsClient zds_;
  SnapshotKeeper snapshot_;

  runtime::Pause park_pause_;
  bool park_dirty_ = false;
  bool stopped_ = false;
  bool draining_ = false;
  bool control_connected_ = false;
  bool agent_connected_ = false;
  // Whose first response of this run is still out: what we have of them is the snapshot's.
  bool addresses_from_snapshot_ = false;
  bool policies_from_snapshot_ = false;
  std::string last_error_;
  runtime::TaskScope tasks_;
};

}  // namespace weft::learn
