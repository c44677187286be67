#include "agent/control/kube/root_secret.h"

#include "agent/control/kube/ca_secret.h"
#include "agent/control/kube/writes.h"
#include "ztunnel/base/log.h"

namespace weft::control::kube {

using runtime::Task;
using source::kube::Request;

namespace {

constexpr std::chrono::milliseconds kRequestMax{10'000};
// Nothing works without a CA, so a replica that has none looks often.
constexpr std::chrono::milliseconds kWithoutEvery{500};

}  // namespace

RootSecret::RootSecret(source::kube::ApiClient& client, Names names, Events events,
                       std::chrono::milliseconds look_every)
    : client_(client),
      names_(std::move(names)),
      events_(std::move(events)),
      look_every_(look_every),
      pause_(client.loop()) {}

Task<void> RootSecret::run() {
  while (!stopped_) {
    if (authority_ == nullptr) {
      co_await open();
    } else {
      co_await follow();
    }
    if (!stopped_) {
      co_await pause_.wait(authority_ == nullptr ? std::min(look_every_, kWithoutEvery)
                                                 : look_every_);
    }
  }
}

void RootSecret::stop() {
  stopped_ = true;
  pause_.wake();
}

std::string RootSecret::path_of(const std::string& name) const {
  return "/api/v1/namespaces/" + source::kube::escape(names_.ns) + "/secrets" +
         (name.empty() ? "" : "/" + source::kube::escape(name));
}

void RootSecret::report(Error error) {
  std::string text = error.to_string();
  if (text == reported_) return;
  reported_ = std::move(text);
  log::error("ca").field("error", reported_).say("the CA's Secret");
  events_.on_error(error);
}

Task<RootSecret::Look> RootSecret::look(std::string name) {
  Request request;
  request.path = path_of(name);
  request.timeout = kRequestMax;
  const auto answer = co_await client_.request(std::move(request));
  Look look;
  if (!answer) co_return look;  // the client's back-off and metrics tell of it
  if (answer->status == 404) {
    look.found = Found::kGone;
    co_return look;
  }
  if (!answer->is_good()) {
    report(source::kube::refusal_of(*answer).to_error().in("Secret " + names_.ns + "/" + name));
    co_return look;
  }
  auto files = read_ca_secret(answer->body);
  if (!files) {
    report(std::move(files.error()).in("Secret " + names_.ns + "/" + name));
    co_return look;
  }
  look.found = Found::kThere;
  look.files = std::move(*files);
  co_return look;
}

Task<void> RootSecret::open() {
  if (!names_.brought.empty()) {
    const Look brought = co_await look(names_.brought);
    if (brought.found == Found::kThere) co_return take(names_.brought, brought);
    // Whether it is there is not known: a root of our own could be a second one.
    if (brought.found == Found::kNothing) co_return;
  }
  const Look own = co_await look(names_.own);
  if (own.found == Found::kThere) co_return take(names_.own, own);
  if (own.found == Found::kGone && events_.leads()) co_await make();
}

void RootSecret::take(const std::string& name, const Look& look) {
  auto authority = identity::SuppliedAuthority::make(look.files, names_.trust_domain);
  if (!authority) {
    return report(std::move(authority.error()).in("Secret " + names_.ns + "/" + name));
  }
  log::info("ca").field("secret", names_.ns + "/" + name).say("the CA is from this Secret");
  reported_.clear();
  in_use_ = name;
  seen_ = look.files;
  authority_ = authority->get();
  events_.on_authority(std::move(*authority));
}

// Only what is not there is made: who else makes one at the same time wins or loses as a whole.
Task<void> RootSecret::make() {
  if (co_await had_a_root()) co_return;
  const auto files =
      identity::make_root_files(names_.trust_domain, std::chrono::system_clock::now());
  if (!files) co_return report(files.error());
  Request request;
  request.method = "POST";
  request.path = path_of("") + "?fieldManager=" + kFieldManager;
  request.body = new_ca_secret(names_.ns, names_.own, *files);
  request.timeout = kRequestMax;
  const auto answer = co_await client_.request(std::move(request));
  if (!answer || answer->status == 409) co_return;  // looked at again
  if (!answer->is_good()) {
    co_return report(
        source::kube::refusal_of(*answer).to_error().in("creating Secret " + names_.own));
  }
  log::info("ca").field("secret", names_.ns + "/" + names_.own).say("a new root CA was made");
  Look made;
  made.found = Found::kThere;
  made.files = *files;
  take(names_.own, made);
}

// The roots that control puts into its own namespace outlive a Secret that is deleted.
Task<bool> RootSecret::had_a_root() {
  Request request;
  request.path =
      "/api/v1/namespaces/" + source::kube::escape(names_.ns) + "/configmaps/" + kRootConfigMap;
  request.timeout = kRequestMax;
  const auto answer = co_await client_.request(std::move(request));
  if (!answer) co_return true;  // not known
  if (answer->status == 404) co_return false;
  if (!answer->is_good()) {
    report(source::kube::refusal_of(*answer).to_error().in(std::string("reading ConfigMap ") +
                                                           kRootConfigMap));
    co_return true;
  }
  if (!was_written_by(answer->body, kFieldManager)) co_return false;
  report(Error(Code::kNotFound,
               "Secret " + names_.ns + "/" + names_.own +
                   " is gone, and the mesh trusts its root: "
                   "restore it from a backup; or, to begin with a new root and new certificates "
                   "for everybody, delete ConfigMap " +
                   kRootConfigMap + " of that namespace"));
  co_return true;
}

Task<void> RootSecret::follow() {
  const Look now = co_await look(in_use_);
  if (now.found == Found::kGone) {
    report(Error(Code::kNotFound, "Secret " + names_.ns + "/" + in_use_ +
                                      " is gone: control goes on with what it has in memory, and a "
                                      "replica that starts now has no CA: restore it"));
    seen_ = {};
    co_return;
  }
  if (now.found != Found::kThere) co_return;
  if (now.files != seen_) {
    take_change(now.files);
    co_return;
  }
  if (names_.brought.empty() || in_use_ == names_.brought) co_return;
  const Look brought = co_await look(names_.brought);
  if (brought.found != Found::kThere) co_return;
  report(Error(Code::kInvalid,
               "Secret " + names_.ns + "/" + names_.brought + " is there, and " + in_use_ +
                   " is in force: it counts once control is started again; to cut nobody off, "
                   "each should have both roots in root-cert.pem for a day before that"));
}

void RootSecret::take_change(const identity::CaFiles& files) {
  seen_ = files;
  const std::string what = "Secret " + names_.ns + "/" + in_use_ + " has changed";
  const auto is_shared = identity::share_a_root(files.roots, authority_->roots_pem());
  if (!is_shared) return report(Error(is_shared.error()).in(what + " and is not in force"));
  if (!*is_shared) {
    return report(Error(Code::kInvalid,
                        what + " and is not in force: none of its roots is one that the mesh "
                               "trusts now. Put the old root into its root-cert.pem, too; or start "
                               "control again, and all connections of the mesh break meanwhile"));
  }
  auto replaced = authority_->replace(files);
  if (!replaced) return report(std::move(replaced.error()).in(what + " and is not in force"));
  reported_.clear();
  log::info("ca").field("secret", names_.ns + "/" + in_use_).say("the CA has changed");
  events_.on_change();
}

}  // namespace weft::control::kube
