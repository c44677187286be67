#include "ztunnel/learn/xds_client.h"

#include "ztunnel/base/log.h"

namespace weft::learn {
namespace {

using runtime::Task;
using Request = envoy::service::discovery::v3::DeltaDiscoveryRequest;

constexpr std::string_view kPath =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
constexpr std::chrono::milliseconds kBackoffFirst{10};
constexpr std::chrono::milliseconds kBackoffMax{15'000};
constexpr double kJitter = 0.3;
// What of the rejections goes into one NACK: enough to see what is wrong, not a flood.
constexpr size_t kNackBytesMax = 4096;
constexpr int kInvalidArgument = 3;  // google.rpc.Code

std::string describe(const std::vector<StateBuilder::Rejection>& rejections) {
  std::string text;
  for (const auto& [name, error] : rejections) {
    if (text.size() > kNackBytesMax) {
      text.resize(kNackBytesMax);
      return text + ".. (" + std::to_string(rejections.size()) + " resources in all)";
    }
    if (!text.empty()) text += "; ";
    text += name + ": " + error;
  }
  return text;
}

void fill_node(envoy::service::discovery::v3::Node& out, const XdsNode& node) {
  const auto& ns = node.pod_namespace;
  out.set_id(node.role + "~" + node.pod_ip + "~" + node.pod_name + "." + ns + "~" + ns +
             ".svc.cluster.local");
  auto& fields = *out.mutable_metadata()->mutable_fields();
  fields["NAME"].set_string_value(node.pod_name);
  fields["NAMESPACE"].set_string_value(ns);
  fields["INSTANCE_IPS"].set_string_value(node.pod_ip);
  fields["NODE_NAME"].set_string_value(node.name);
  fields["CLUSTER_ID"].set_string_value(node.cluster_id);
  fields["TRUST_DOMAIN"].set_string_value(node.trust_domain);
}

}  // namespace

XdsClient::XdsClient(runtime::Loop& loop, ChannelSource& source, XdsNode node, XdsSink& sink,
                     runtime::Backoff::Random random)
    : source_(source),
      node_(std::move(node)),
      sink_(sink),
      backoff_(kBackoffFirst, kBackoffMax, kJitter, std::move(random)),
      pause_(loop) {}

Task<void> XdsClient::run() {
  while (!stopped_) {
    const Result<void> ended = co_await session();
    if (stopped_) break;
    sink_.control_lost(ended.error());
    co_await pause_.wait(backoff_.next());
  }
}

void XdsClient::stop() {
  stopped_ = true;
  source_.abort();
  if (channel_ != nullptr) channel_->abort();
  pause_.wake();
}

// One connection, from connect to its end; always an error, because a good stream has none.
Task<Result<void>> XdsClient::session() {
  auto metadata = CO_TRY(source_.metadata());
  auto channel = co_await source_.connect();
  if (!channel) co_return Fail(std::move(channel.error()));
  channel_ = channel->get();
  if (stopped_) channel_->abort();
  Result<void> ended = fail(Code::kClosed, "control ended the stream");
  {
    auto stream = co_await channel_->open_stream(std::string(kPath), std::move(metadata));
    if (stream) {
      ended = co_await talk(**stream);
      (*stream)->abort();
    } else {
      ended = Fail(std::move(stream.error()));
    }
  }
  channel_->abort();
  co_await channel_->close();
  channel_ = nullptr;
  co_return ended;
}

std::string XdsClient::subscription(std::string_view type, bool first) const {
  Request request;
  if (first) fill_node(*request.mutable_node(), node_);
  request.set_type_url(std::string(type));
  request.add_resource_names_subscribe("*");
  for (auto& [name, version] : sink_.versions(type)) {
    (*request.mutable_initial_resource_versions())[name] = version;
  }
  return request.SerializeAsString();
}

Task<Result<void>> XdsClient::talk(http::GrpcStream& stream) {
  bool first = true;
  for (const std::string& type : sink_.types()) {
    CO_TRY(co_await stream.send(subscription(type, std::exchange(first, false))));
  }
  bool reached = false;
  while (true) {
    const std::string message = CO_TRY(co_await stream.receive());
    DeltaResponse response;
    if (!response.ParseFromString(message)) {
      co_return fail(Code::kInvalid, "control sent what is not a DeltaDiscoveryResponse");
    }
    if (!std::exchange(reached, true)) {
      backoff_.reset();
      sink_.control_reached();
    }
    const auto rejections = sink_.apply(response);
    Request answer;
    answer.set_type_url(response.type_url());
    answer.set_response_nonce(response.nonce());
    if (!rejections.empty()) {
      answer.mutable_error_detail()->set_code(kInvalidArgument);
      answer.mutable_error_detail()->set_message(describe(rejections));
      log::warn("xds")
          .bare("type", response.type_url())
          .field("rejected", answer.error_detail().message())
          .say("refused resources of control");
    }
    CO_TRY(co_await stream.send(answer.SerializeAsString()));
  }
}

}  // namespace weft::learn
