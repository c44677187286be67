#include "ztunnel/learn/learner.h"

#include "ztunnel/base/log.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <random>

namespace weft::learn {
namespace {

using runtime::Task;

// Certificates come in bursts when a node starts: parked together.
constexpr std::chrono::milliseconds kParkDelay{20};
constexpr std::chrono::milliseconds kForever{3'600'000};

// The address that packets to control would carry; nothing is sent.
std::string address_towards(const std::string& control) {
  const auto to = SocketAddress::parse(control);
  if (!to) return "";
  sockaddr_storage address{};
  const socklen_t length = to->to_sockaddr(address);
  const Fd probe(socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!probe || connect(probe.get(), reinterpret_cast<sockaddr*>(&address), length) != 0) return "";
  sockaddr_storage own{};
  socklen_t own_length = sizeof own;
  if (getsockname(probe.get(), reinterpret_cast<sockaddr*>(&own), &own_length) != 0) return "";
  return SocketAddress::from_sockaddr(own).ip.to_string();
}

std::string first_of(const std::string& configured, const char* variable, std::string fallback) {
  if (!configured.empty()) return configured;
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0' ? value : std::move(fallback);
}

// The bundle of who signs certificates: a change of it means new certificates.
const std::string& mesh_roots_file(const LearnerConfig& config) {
  return config.ca_roots_file.empty() ? config.control_roots_file : config.ca_roots_file;
}

XdsNode node_of(const LearnerConfig& config) {
  XdsNode node;
  node.role = config.role;
  node.name = config.node_name;
  node.cluster_id = config.cluster_id;
  node.trust_domain = config.trust_domain;
  node.pod_name = first_of(config.pod_name, "POD_NAME", "ztunnel-" + config.node_name);
  node.pod_namespace = first_of(config.pod_namespace, "POD_NAMESPACE", "istio-system");
  node.pod_ip = first_of(config.pod_ip, "INSTANCE_IP", address_towards(config.control_address));
  return node;
}

}  // namespace

Result<std::unique_ptr<Learner>> Learner::make(runtime::Loop& loop, LearnerConfig config,
                                               MoreResources* more) {
  if (config.node_name.empty() && !config.own_identity)
    return fail(Code::kInvalid, "the node's name is empty");
  if (const auto address = SocketAddress::parse(config.control_address); !address) {
    return Fail(Error(address.error()).in("control's address"));
  }
  const ControlTarget target{.address = config.control_address,
                             .server_name = config.control_server_name,
                             .roots_file = config.control_roots_file,
                             .token_file = config.token_file,
                             .cluster_id = config.cluster_id};
  ControlTarget ca = target;
  if (!config.ca_address.empty()) {
    if (const auto address = SocketAddress::parse(config.ca_address); !address) {
      return Fail(Error(address.error()).in("the CA's address"));
    }
    ca.address = config.ca_address;
    if (!config.ca_server_name.empty()) ca.server_name = config.ca_server_name;
    ca.roots_file = mesh_roots_file(config);
  }
  LearnerOutside outside;
  outside.clock = [] { return std::chrono::system_clock::now(); };
  outside.random = [random = std::mt19937_64(std::random_device{}())]() mutable {
    return std::uniform_real_distribution<double>(0.0, 1.0)(random);
  };
  outside.xds_channels = make_control_link(loop, target);
  outside.ca_channels = make_control_link(loop, ca);
  auto learner = std::make_unique<LearnerImpl>(loop, std::move(config), std::move(outside), more);
  if (auto loaded = learner->load_crls(); !loaded)
    return Fail(std::move(loaded.error()).in("--crl"));
  return learner;
}

LearnerImpl::LearnerImpl(runtime::Loop& loop, LearnerConfig config, LearnerOutside outside,
                         MoreResources* more)
    : loop_(loop),
      config_(std::move(config)),
      outside_(std::move(outside)),
      more_(more),
      hub_(config_.node_name, config_.cluster_id),
      builder_(config_.cluster_id, config_.network),
      publisher_(loop, [this] { publish(); }),
      state_(std::make_shared<const State>(std::make_shared<const State::Data>())),
      authority_(loop, *outside_.ca_channels),
      identities_(loop, authority_, *this,
                  {.lifetime = config_.certificate_ttl,
                   .clock = outside_.clock,
                   .random = outside_.random}),
      roots_(loop, mesh_roots_file(config_),
             [this](std::string roots) { identities_.roots_changed(std::move(roots)); }),
      crls_(loop, config_.crl_file,
            [this](CrlWatch::List revoked) { publish_trust(std::move(revoked)); }),
      pods_(*this),
      xds_(loop, *outside_.xds_channels, node_of(config_), *this, outside_.random),
      zds_(loop, config_.zds_socket, pods_, *this, outside_.random),
      snapshot_(
          loop, config_.snapshot_file,
          [this] {
            return SnapshotContent{builder_.resources(kAuthorizationType),
                                   builder_.resources(kAddressType)};
          },
          outside_.random),
      park_pause_(loop) {
  publish_trust(nullptr);
}

LearnerImpl::~LearnerImpl() = default;

std::unique_ptr<View> LearnerImpl::make_view(runtime::Loop& worker) {
  return hub_.make_view(worker);
}

Task<void> LearnerImpl::run() {
  if (restore_snapshot()) co_await snapshot_.write_first();
  tasks_.spawn(snapshot_.run());
  tasks_.spawn(identities_.run());
  tasks_.spawn(roots_.run());
  tasks_.spawn(crls_.run());
  tasks_.spawn(xds_.run());
  if (has_agent()) {
    tasks_.spawn(keep_parked());
    tasks_.spawn(zds_.run());
  } else {
    identities_.want(*config_.own_identity);
  }
  co_await tasks_.join();
}

void LearnerImpl::stop() {
  if (std::exchange(stopped_, true)) return;
  xds_.stop();
  zds_.stop();
  identities_.stop();
  roots_.stop();
  crls_.stop();
  snapshot_.stop();
  park_pause_.wake();
}

LearnerStatus LearnerImpl::status() const {
  const State::Data& data = builder_.data();
  LearnerStatus status;
  status.control_connected = control_connected_;
  status.agent_connected = agent_connected_;
  status.has_agent = has_agent();
  status.configuration_complete = data.complete() && (more_ == nullptr || more_->is_complete());
  status.from_snapshot = addresses_from_snapshot_ || policies_from_snapshot_;
  status.pods = pods_.size();
  status.workloads = data.workloads.size();
  status.services = data.services.size();
  status.policies = data.authorization.policies.size();
  status.last_error = last_error_;
  status.snapshot_error = snapshot_.failure();
  status.certificates = identities_.status();
  return status;
}

// What was refused when it was written is refused again, so a policy that cannot be read denies.
bool LearnerImpl::restore_snapshot() {
  if (config_.snapshot_file.empty()) return false;
  const auto responses = read_snapshot(config_.snapshot_file);
  if (!responses) {
    if (responses.error().code == Code::kNotFound) return false;
    log::warn("snapshot")
        .field("file", config_.snapshot_file)
        .field("error", responses.error().to_string())
        .say("the kept configuration is of no use; waiting for control");
    return false;
  }
  for (const DeltaResponse& response : *responses) builder_.apply(response);
  addresses_from_snapshot_ = policies_from_snapshot_ = true;
  publisher_.publish_now();
  log::info("snapshot")
      .field("workloads", static_cast<int64_t>(builder_.data().workloads.size()))
      .field("policies", static_cast<int64_t>(builder_.data().authorization.policies.size()))
      .say("configuration of an earlier run restored");
  return true;
}

void LearnerImpl::publish_trust(std::shared_ptr<const tls::RevocationList> revoked) {
  hub_.publish_trust(std::make_shared<const tls::Trust>(tls::Trust{
      .trust_domain_aliases = config_.trust_domain_aliases, .revoked = std::move(revoked)}));
}

void LearnerImpl::publish() {
  state_ = builder_.publish();
  hub_.publish_state(state_);
}

std::vector<std::string> LearnerImpl::types() const {
  // Policies first: what they guard comes after them.
  std::vector<std::string> types{std::string(kAuthorizationType), std::string(kAddressType)};
  if (more_ != nullptr) {
    for (std::string& type : more_->types()) types.push_back(std::move(type));
  }
  return types;
}

std::vector<StateBuilder::Rejection> LearnerImpl::apply(const DeltaResponse& response) {
  if (is_of_more(response.type_url())) return more_->apply(response);
  const bool is_known =
      response.type_url() == kAddressType || response.type_url() == kAuthorizationType;
  if (is_known) snapshot_.append(response);  // first: what is in force is on disk
  auto rejections = builder_.apply(response);
  if (response.type_url() == kAddressType) addresses_from_snapshot_ = false;
  if (response.type_url() == kAuthorizationType) policies_from_snapshot_ = false;
  publisher_.changed(builder_.is_urgent());
  if (builder_.data().complete()) snapshot_.start();
  return rejections;
}

std::map<std::string, std::string> LearnerImpl::versions(std::string_view type) const {
  if (is_of_more(type)) return more_->versions(type);
  return builder_.versions(type);
}

bool LearnerImpl::is_of_more(std::string_view type) const {
  return more_ != nullptr && std::ranges::count(more_->types(), type) > 0;
}

void LearnerImpl::control_reached() {
  control_connected_ = true;
  log::info("xds").bare("control", config_.control_address).say("control reached");
  identities_.retry_now();
}

void LearnerImpl::control_lost(const Error& error) {
  control_connected_ = false;
  std::string text = "control: " + error.to_string();
  if (text != last_error_) {  // the same reason every few seconds is one line
    log::warn("xds")
        .bare("control", config_.control_address)
        .field("error", error.to_string())
        .say("control cannot be reached; the last configuration stays in force");
  }
  last_error_ = std::move(text);
}

SpiffeId LearnerImpl::identity_of(const Pod& pod) const {
  return {config_.trust_domain, pod.ns, pod.service_account};
}

void LearnerImpl::pod_added(std::shared_ptr<const Pod> pod) {
  if (!draining_) identities_.want(identity_of(*pod));
  hub_.pod_added(std::move(pod));
}

void LearnerImpl::pod_removed(std::shared_ptr<const Pod> pod) {
  hub_.pod_removed(pod->uid);
  if (!draining_) identities_.unwant(identity_of(*pod));
}

void LearnerImpl::unparked(Fd memfd) {
  auto credentials = unpark(memfd.get(), outside_.clock());
  if (!credentials) {
    log::warn("identity")
        .field("error", credentials.error().to_string())
        .say("what an earlier ztunnel parked is of no use; the CA is asked");
    return;
  }
  log::info("identity")
      .field("identities", static_cast<int64_t>(credentials->size()))
      .say("parked identities restored");
  identities_.restore(std::move(*credentials));
}

void LearnerImpl::agent_synced() {
  agent_connected_ = true;
  identities_.drop_unclaimed();
  park_soon();
}

void LearnerImpl::agent_lost(const Error& error) {
  agent_connected_ = false;
  std::string text = "agent: " + error.to_string();
  if (text != last_error_) {
    log::warn("zds")
        .field("error", error.to_string())
        .say("the node agent cannot be reached; its pods are served on");
  }
  last_error_ = std::move(text);
}

void LearnerImpl::identity_issued(std::shared_ptr<const tls::Credentials> credentials) {
  hub_.identity_issued(std::move(credentials));
  park_soon();
}

void LearnerImpl::identity_failed(const SpiffeId& identity, const Error& error) {
  hub_.identity_failed(identity, error);
}

void LearnerImpl::identity_gone(const SpiffeId& identity) {
  hub_.identity_gone(identity);
  park_soon();
}

void LearnerImpl::park_soon() {
  park_dirty_ = true;
  park_pause_.wake();
}

Task<void> LearnerImpl::keep_parked() {
  while (!stopped_) {
    if (!park_dirty_) {
      co_await park_pause_.wait(kForever);
      continue;
    }
    co_await loop_.sleep(kParkDelay);
    park_dirty_ = false;
    // While the snapshot of pods is under way the agent still holds more than we claimed.
    if (stopped_ || draining_ || !agent_connected_) continue;
    auto memfd = park(identities_.issued());
    if (memfd) {
      zds_.park(std::move(*memfd));
    } else {
      log::warn("identity")
          .field("error", memfd.error().to_string())
          .say("identities cannot be parked; a restarted ztunnel has to ask the CA");
    }
  }
}

}  // namespace weft::learn
