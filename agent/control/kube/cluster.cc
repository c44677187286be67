#include "agent/control/kube/cluster.h"

#include "agent/source/kube/random.h"

#include <algorithm>

namespace weft::control::kube {

using runtime::Task;

namespace {

constexpr const char* kLease = "weft-control";

// What the compiler reads, with the mesh's ConfigMap where this control's is.
std::vector<source::kube::Resource> resources(const compile::MeshConfig& mesh) {
  const objects::Key key = mesh.config_key();
  auto all = source::kube::control_resources(mesh.root_namespace);
  for (auto& resource : all) {
    if (resource.kind != "ConfigMap") continue;
    resource.ns = key.ns;
    resource.field_selector = "metadata.name=" + key.name;
  }
  return all;
}

}  // namespace

Result<std::unique_ptr<Cluster>> Cluster::open(runtime::Loop& loop, const ClusterOptions& options,
                                               Events events) {
  auto config = TRY(source::kube::load_config(options.api_server));
  auto client =
      std::make_unique<CountingClient>(source::kube::ApiClient::make(loop, std::move(config)));
  return std::unique_ptr<Cluster>(new Cluster(std::move(client), options, std::move(events)));
}

Cluster::Cluster(std::unique_ptr<CountingClient> client, const ClusterOptions& options,
                 Events events)
    : keeps_root_(options.keeps_root),
      client_(std::move(client)),
      source_(source::kube::make_kube_source(*client_, resources(options.mesh))),
      statuses_(source::kube::make_kube_status_writer(*client_, *source_)),
      reviewer_(std::make_shared<TokenReviewer>(*client_, options.node_proxies)),
      election_(
          *client_, {options.ns, kLease, options.replica}, [this](bool leads) { lead(leads); },
          source::kube::random_part),
      root_(*client_,
            {.ns = options.ns,
             .brought = options.ca_secret,
             .trust_domain = options.mesh.trust_domain},
            {.on_authority = std::move(events.on_authority),
             .on_change = std::move(events.on_authority_change),
             .on_error = events.on_error,
             .leads = [this] { return election_.leads(); }}),
      roots_(*client_, events.on_error),
      makes_waypoints_(!options.waypoints.program.image.empty()),
      waypoints_(*client_, options.waypoints, events.on_error) {
  statuses_->set_active(false);
}

void Cluster::lead(bool leads) {
  statuses_->set_active(leads);
  roots_.set_active(leads);
  waypoints_.set_active(leads);
  if (leads) root_.look_now();
}

Task<void> Cluster::run() {
  election_task_.spawn(election_.run());
  tasks_.spawn(statuses_->run());
  tasks_.spawn(roots_.run());
  if (makes_waypoints_) tasks_.spawn(waypoints_.run());
  if (keeps_root_) tasks_.spawn(root_.run());
  co_await tasks_.join();
  co_await election_task_.join();
}

Task<void> Cluster::step_down() {
  election_.stop();
  co_await election_task_.join();
}

void Cluster::stop() {
  election_.stop();
  source_->stop();
  statuses_->stop();
  root_.stop();
  roots_.stop();
  waypoints_.stop();
  tasks_.spawn(client_->stop());
  tasks_.spawn(reviewer_->stop());
}

Cluster::Status Cluster::status() const {
  Status status;
  status.leads = election_.leads();
  status.leader = election_.holder();
  status.api = client_->counts();
  status.tokens = reviewer_->counts();
  status.statuses_written = statuses_->written();
  status.roots_written = roots_.written();
  status.roots_foreign = roots_.foreign();
  for (const auto& [plural, count] : source_->lists()) status.lists += count;
  return status;
}

}  // namespace weft::control::kube
