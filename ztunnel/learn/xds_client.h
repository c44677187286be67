#pragma once

#include "ztunnel/learn/control_link.h"
#include "ztunnel/learn/state_builder.h"
#include "ztunnel/runtime/pause.h"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weft::learn {

// What the xDS client needs of the one who keeps the state.
class XdsSink {
 public:
  virtual ~XdsSink() = default;
  virtual std::vector<StateBuilder::Rejection> apply(const DeltaResponse& response) = 0;
  virtual std::map<std::string, std::string> versions(std::string_view type) const = 0;
  // What to subscribe to, in the order in which it is to come.
  virtual std::vector<std::string> types() const = 0;
  // The first response of a stream has come; or the stream, or the way to it, failed.
  virtual void control_reached() = 0;
  virtual void control_lost(const Error& error) = 0;
};

// Who asks, as control's log and istiod's push filters see it.
struct XdsNode {
  std::string role = "ztunnel";  // "ztunnel", "waypoint"
  std::string name;              // of the node
  std::string cluster_id;
  std::string pod_name;  // of the ztunnel
  std::string pod_namespace;
  std::string pod_ip;
  std::string trust_domain;
};

// Keeps one delta ADS stream to control open, subscribed to everything of the types. Each response
// is applied and acknowledged; where a resource in it was wrong, refused by name. After a failure
// it connects again, waiting 10 ms at first and 15 s at most, and tells what it has, so that
// control sends only what changed and names what is gone. Belongs to the learner's thread.
class XdsClient {
 public:
  XdsClient(runtime::Loop& loop, ChannelSource& source, XdsNode node, XdsSink& sink,
            runtime::Backoff::Random random);

  runtime::Task<void> run();  // until stop()
  void stop();

 private:
  runtime::Task<Result<void>> session();
  runtime::Task<Result<void>> talk(http::GrpcStream& stream);
  std::string subscription(std::string_view type, bool first) const;

  ChannelSource& source_;
  XdsNode node_;
  XdsSink& sink_;
  runtime::Backoff backoff_;
  runtime::Pause pause_;
  http::GrpcChannel* channel_ = nullptr;
  bool stopped_ = false;
};

}  // namespace weft::learn
