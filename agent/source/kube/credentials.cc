#include "agent/source/kube/credentials.h"

#include "ztunnel/base/log.h"

#include <array>

namespace weft::source::kube {
namespace {

using runtime::Task;

// Debian's and Alpine's, Red Hat's, SUSE's.
constexpr std::array<const char*, 3> kSystemRoots{"/etc/ssl/certs/ca-certificates.crt",
                                                  "/etc/pki/tls/certs/ca-bundle.crt",
                                                  "/etc/ssl/ca-bundle.pem"};

Result<std::string> system_roots() {
  for (const char* file : kSystemRoots) {
    auto text = Text{.value = {}, .file = file}.read();
    if (text || text.error().code != Code::kNotFound) return text;
  }
  return fail(Code::kNotFound,
              "no certificate authority is given, and the system has no bundle of its own: set "
              "certificate-authority in the kubeconfig");
}

// Headers cannot carry everything that a file can.
Result<std::string> checked(std::string token, const std::string& origin) {
  for (const char c : token) {
    if (c > ' ' && c < 0x7f) continue;
    return fail(Code::kInvalid, origin + ": the token has a character that no token has");
  }
  return token;
}

}  // namespace

Result<std::string> Credentials::token_from_file() {
  const auto now = loop_.now();
  if (read_at_ && now - *read_at_ < kReadAgain) return token_;
  Result<std::string> fresh = config_.token.read();
  if (fresh) fresh = checked(std::move(*fresh), config_.token.file);
  if (!fresh && token_.empty()) return fresh;
  read_at_ = now;
  if (fresh) {
    token_ = std::move(*fresh);
  } else {
    log::warn("kube").field("error", fresh.error().to_string()).say("keeping the former token");
  }
  return token_;
}

Task<Result<std::string>> Credentials::token() {
  if (!config_.token.file.empty()) co_return token_from_file();
  if (!config_.exec) co_return checked(config_.token.value, config_.origin);
  CO_TRY(co_await renew_exec());
  co_return checked(exec_->token, "exec plugin " + config_.exec->command);
}

bool Credentials::reject(const std::string& token) {
  if (!config_.token.file.empty()) {
    if (token == token_) read_at_.reset();
    return true;
  }
  if (!config_.exec) return false;
  if (exec_ && exec_->token == token) exec_.reset();
  return true;
}

Task<Result<void>> Credentials::renew_exec() {
  while (running_) co_await ran_.wait();
  const auto now = std::chrono::system_clock::now();
  if (exec_ && (!exec_->expires || now + kExpiryMargin < *exec_->expires)) {
    co_return Result<void>();
  }
  running_ = true;
  Result<ExecCredential> fresh = co_await run_exec_plugin(loop_, config_);
  running_ = false;
  Result<void> done;
  if (fresh) {
    if (!exec_ || exec_->certificate_pem != fresh->certificate_pem) ++certificate_generation_;
    exec_ = std::move(*fresh);
  } else {
    done = Fail(std::move(fresh.error()));
  }
  ran_.wake();  // who waits finds what came of it
  co_return done;
}

Task<Result<tls::ClientTls>> Credentials::tls() {
  tls::ClientTls tls;
  tls.verify = config_.verify_server;
  if (tls.verify) {
    tls.roots_pem = CO_TRY(config_.roots.is_given() ? config_.roots.read() : system_roots());
  }
  if (config_.exec) {
    CO_TRY(co_await renew_exec());
    tls.chain_pem = exec_->certificate_pem;
    tls.key_pem = tls::Secret(exec_->key_pem);
  } else if (config_.client_certificate.is_given()) {
    tls.chain_pem = CO_TRY(config_.client_certificate.read());
    tls.key_pem = tls::Secret(CO_TRY(config_.client_key.read()));
  }
  co_return tls;
}

}  // namespace weft::source::kube
