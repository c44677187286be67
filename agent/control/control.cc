#include "agent/control/control.h"

#include "agent/compile/notices.h"
#include "agent/control/parts.h"
#include "ztunnel/base/log.h"

#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <sys/signalfd.h>

#include <csignal>
#include <cstdio>

namespace weft::control {
namespace {

using runtime::Task;

// How long a shutdown waits for calls that are being answered.
constexpr std::chrono::seconds kGrace{1};
// On a cluster: until every node's kube-proxy knows that this replica ends, so that the nodes that
// it then sends away reach another one at once.
constexpr std::chrono::seconds kHandOver{2};
// After a failed renewal of the server certificate, which is good for hours yet.
constexpr std::chrono::minutes kRenewalRetry{1};
// How long a stream may outlive its token, and a change of the CA's files go unseen. Both looks
// take well under a millisecond.
constexpr std::chrono::seconds kLookInterval{1};

}  // namespace

Control::Control(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Control::~Control() = default;

void Control::take_authority(std::unique_ptr<identity::Authority> authority) {
  parts_->authority = std::move(authority);
  const auto opened = open_service();
  if (!opened) give_up(opened.error());
}

// First control's own certificate, then what nodes trust it by: a node that sees new roots asks for
// new certificates at once.
void Control::authority_changed(const std::string& where) {
  Result<void> done = parts_->tls->renew();
  if (done) done = publish_roots();
  if (done) {
    log::info("control").field("from", where).say("the CA has changed and is in force");
  } else {
    log::error("control")
        .field("from", where)
        .field("error", done.error().to_string())
        .say("the CA has changed and is not in force");
  }
}

void Control::give_up(const Error& error) {
  log::error("control").field("error", error.to_string()).say("control cannot go on");
  parts_->has_failed = true;
  parts_->loop->cancel(parts_->signals.get());
}

bool Control::run() {
  parts_->loop->spawn(serve());
  parts_->loop->run();
  parts_->xds->shutdown();
  parts_->grpc.shutdown(kGrace);
  log::info("control").say("control has ended");
  return !parts_->has_failed;
}

Task<void> Control::serve() {
  Parts& parts = *parts_;
  look_around_later();
  for (const auto& endpoint : parts.endpoints) tasks_.spawn(endpoint->run());
  if (parts.cluster) tasks_.spawn(parts.cluster->run());
  tasks_.spawn(parts.source->watch(
      [this](std::vector<source::Change> changes) { apply(std::move(changes)); },
      [this](const Error& error) { parts_->source_errors.add(error); }));
  if (!parts.has_failed) co_await wait_for_end();
  parts.is_ending = true;
  if (parts.cluster && parts.is_serving) co_await hand_over();
  parts.loop->unschedule(renewal_);
  parts.loop->unschedule(look_);
  if (parts.cluster) {
    parts.cluster->stop();
  } else {
    parts.source->stop();
  }
  for (const auto& endpoint : parts.endpoints) endpoint->stop();
  co_await tasks_.join();
  parts.loop->stop();
}

Task<void> Control::wait_for_end() {
  co_await parts_->loop->poll(parts_->signals.get(), POLLIN);
  signalfd_siginfo signal{};
  if (::read(parts_->signals.get(), &signal, sizeof signal) == sizeof signal) {
    log::info("control").field("signal", static_cast<int64_t>(signal.ssi_signo)).say("ending");
  }
}

// Another replica leads, and new connections come to others, before this one sends its nodes away.
// A second signal ends the waiting.
Task<void> Control::hand_over() {
  tasks_.spawn(parts_->cluster->step_down());
  const runtime::Deadline limit(*parts_->loop, kHandOver,
                                [this] { parts_->loop->cancel(parts_->signals.get()); });
  co_await parts_->loop->poll(parts_->signals.get(), POLLIN);
}

void Control::apply(std::vector<source::Change> changes) {
  const auto began = std::chrono::steady_clock::now();
  const bool is_first = !parts_->mesh.is_known();
  changes = parts_->scope.filter(std::move(changes));
  if (parts_->cluster) tell_namespaces();
  if (parts_->cluster) parts_->cluster->observe(changes);
  if (changes.empty() && !is_first) return;
  parts_->xds->update(parts_->mesh.apply(changes));
  parts_->pushes.add(std::chrono::steady_clock::now() - began);
  write_statuses(changes);
  if (!is_first) return;
  parts_->xds->set_ready();
  log::info("control").field("objects", static_cast<int64_t>(changes.size())).say("ready");
}

void Control::tell_namespaces() {
  for (const std::string& ns : parts_->scope.touched_namespaces()) {
    parts_->cluster->set_namespace(ns, parts_->scope.wants_roots(ns));
  }
}

// Behind the push: nobody is protected by a status.
void Control::write_statuses(const std::vector<source::Change>& changes) {
  for (const source::Change& change : changes) {
    const bool has_one =
        change.key.kind == "AuthorizationPolicy" || change.key.kind == "PeerAuthentication";
    if (!has_one) continue;
    std::vector<source::Condition> conditions;
    if (change.object) conditions = compile::conditions_of(*change.object, parts_->options.mesh);
    const auto written = parts_->statuses->write(change.key, conditions);
    if (written) continue;
    log::warn("control")
        .field("object", change.key.to_string())
        .field("error", written.error().to_string())
        .say("a status was not written");
  }
}

void Control::renew_later() {
  renewal_ = parts_->loop->schedule(ServerTls::renewal_interval(), [this] {
    const auto renewed = parts_->tls->renew();
    if (renewed) return renew_later();
    log::error("control")
        .field("error", renewed.error().to_string())
        .say("control's own certificate was not renewed");
    renewal_ = parts_->loop->schedule(kRenewalRetry, [this] { renew_later(); });
  });
}

void Control::look_around_later() {
  look_ = parts_->loop->schedule(kLookInterval, [this] {
    parts_->xds->end_expired(std::chrono::system_clock::now());
    if (parts_->plugged != nullptr) look_at_ca_files();
    look_around_later();
  });
}

void Control::look_at_ca_files() {
  const auto changed = parts_->plugged->refresh();
  if (changed && *changed) return authority_changed(parts_->options.ca_certs_folder);
  if (changed) return;
  log::error("control")
      .field("error", changed.error().to_string())
      .say("the CA's files have changed and are not in force");
}

int run_control(const std::vector<std::string>& args) {
  constexpr const char* kCommand = "weft-agent control";
  const auto complain = [](const Error& error) {
    std::fprintf(stderr, "%s: %s\n", kCommand, error.to_string().c_str());
    return 1;
  };
  const auto flags = Flags::parse(args, Options::known_flags());
  if (!flags) return complain(flags.error());
  if (flags->help()) {
    std::fputs(Flags::help_text(kCommand, Options::known_flags()).c_str(), stdout);
    return 0;
  }
  const auto options = Options::from(*flags);
  if (!options) return complain(options.error());
  const sigset_t signals = end_signals();
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  auto control = Control::create(*options);
  if (!control) return complain(control.error());
  return (*control)->run() ? 0 : 1;
}

}  // namespace weft::control
