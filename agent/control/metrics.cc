#include "agent/control/metrics.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string_view>

namespace weft::control {
namespace {

std::string number(double value) {
  char text[32];
  return {text, static_cast<size_t>(std::snprintf(text, sizeof text, "%.9g", value))};
}

// Writes one family after the other.
class Text {
 public:
  Text& family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    text_ += "# HELP " + name_ + " " + std::string(help) + "\n# TYPE " + name_ + " " +
             std::string(type) + "\n";
    return *this;
  }
  // `labels`: "a=\"b\"", of texts that need no escapes.
  Text& sample(double value, const std::string& labels = {}, std::string_view suffix = {}) {
    text_ += name_ + std::string(suffix) + (labels.empty() ? "" : "{" + labels + "}") + " " +
             number(value) + "\n";
    return *this;
  }
  std::string take() { return std::move(text_); }

 private:
  std::string name_;
  std::string text_;
};

double count(uint64_t value) { return static_cast<double>(value); }

double resident_bytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t whole = 0;
  uint64_t resident = 0;
  file >> whole >> resident;
  return count(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

void add_cluster(const kube::Cluster::Status& cluster, Text& text) {
  text.family("weft_control_leader", "gauge", "1: this replica writes")
      .sample(cluster.leads ? 1 : 0);
  text.family("weft_control_api_requests_total", "counter", "Requests to the API server")
      .sample(count(cluster.api.answered), "outcome=\"answered\"")
      .sample(count(cluster.api.refused), "outcome=\"refused\"")
      .sample(count(cluster.api.failed), "outcome=\"failed\"");
  text.family("weft_control_api_lists_total", "counter",
              "Resources listed whole: more than once each is a gap that was closed")
      .sample(count(cluster.lists));
  text.family("weft_control_token_reviews_total", "counter", "TokenReviews asked for")
      .sample(count(cluster.tokens.reviews));
  text.family("weft_control_token_review_failures_total", "counter", "TokenReviews unanswered")
      .sample(count(cluster.tokens.failures));
  text.family("citadel_server_authentication_failure_count", "counter",
              "Tokens that the API server refused")
      .sample(count(cluster.tokens.refused));
  text.family("weft_control_statuses_written_total", "counter", "Statuses written")
      .sample(count(cluster.statuses_written));
  text.family("weft_control_roots_written_total", "counter", "ConfigMaps with roots written")
      .sample(count(cluster.roots_written));
  text.family("weft_control_roots_foreign", "gauge", "Namespaces whose roots another CA has put")
      .sample(count(cluster.roots_foreign));
}

}  // namespace

void PushTimes::add(std::chrono::steady_clock::duration time) {
  const double seconds = std::chrono::duration<double>(time).count();
  for (size_t i = 0; i < kBounds.size(); ++i) {
    if (seconds <= kBounds[i]) ++below_[i];
  }
  ++count_;
  sum_seconds_ += seconds;
}

std::string to_prometheus(const Status& status, const PushTimes& pushes) {
  Text text;
  text.family("weft_control_ready", "gauge", "1: synced and serving").sample(status.ready ? 1 : 0);
  text.family("pilot_xds", "gauge", "Nodes that are connected").sample(count(status.nodes.size()));
  text.family("weft_control_resources", "gauge", "What nodes are told, by type");
  for (const auto& [type, size] : status.totals.resources) {
    text.sample(count(size), "type=\"" + type + "\"");
  }
  text.family("pilot_xds_pushes", "counter", "Responses sent").sample(count(status.totals.pushes));
  text.family("weft_control_acks_total", "counter", "Responses that nodes took")
      .sample(count(status.totals.acks));
  text.family("pilot_total_xds_rejects", "counter", "Responses that nodes refused")
      .sample(count(status.totals.nacks));
  size_t queued = 0;
  for (const auto& node : status.nodes) queued = std::max(queued, node.queued);
  text.family("weft_control_queued_max", "gauge", "Resources that the slowest node waits for")
      .sample(count(queued));
  text.family("weft_control_push_seconds", "histogram", "From a change to its pushes");
  for (size_t i = 0; i < PushTimes::kBounds.size(); ++i) {
    text.sample(count(pushes.below()[i]), "le=\"" + number(PushTimes::kBounds[i]) + "\"",
                "_bucket");
  }
  text.sample(count(pushes.count()), "le=\"+Inf\"", "_bucket")
      .sample(pushes.sum_seconds(), "", "_sum")
      .sample(count(pushes.count()), "", "_count");
  text.family("citadel_server_success_cert_issuance_count", "counter", "Certificates issued")
      .sample(count(status.certificates_issued));
  text.family("weft_control_certificates_refused_total", "counter", "Certificates refused")
      .sample(count(status.certificates_refused));
  text.family("citadel_server_root_cert_expiry_timestamp", "gauge", "When the CA ends")
      .sample(std::chrono::duration<double>(status.ca_not_after.time_since_epoch()).count());
  text.family("weft_control_source_errors_total", "counter", "Objects that were not accepted")
      .sample(count(status.source_errors));
  text.family("weft_control_notices", "gauge", "What is accepted and not honoured")
      .sample(count(status.notices.size()));
  text.family("process_resident_memory_bytes", "gauge", "Resident memory").sample(resident_bytes());
  if (status.cluster) add_cluster(*status.cluster, text);
  return text.take();
}

}  // namespace weft::control
