#include "agent/control/server_tls.h"

#include "agent/identity/key_files.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

namespace weft::control {

namespace {

std::shared_ptr<grpc::ServerCredentials> watching(const std::string& key,
                                                  const std::string& certificate,
                                                  std::chrono::seconds refresh) {
  auto provider = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      key, certificate, static_cast<unsigned>(refresh.count()));
  grpc::experimental::TlsServerCredentialsOptions options(std::move(provider));
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  return grpc::experimental::TlsServerCredentials(options);
}

}  // namespace

Result<std::unique_ptr<ServerTls>> ServerTls::create(const identity::Authority& authority,
                                                     std::vector<std::string> names,
                                                     std::string state_folder) {
  std::unique_ptr<ServerTls> tls(
      new ServerTls(authority, std::move(names), std::move(state_folder) + "/server.pem"));
  TRY(tls->renew());
  return tls;
}

Result<void> ServerTls::renew() {
  const auto issued = TRY(authority_.issue_server(names_, kLifetime));
  return replace_file(file_, issued.key_pem + issued.chain_pem, 0600, Durable::kYes);
}

std::shared_ptr<grpc::ServerCredentials> ServerTls::credentials(
    std::chrono::seconds refresh) const {
  return watching(file_, file_, refresh);
}

Result<std::shared_ptr<grpc::ServerCredentials>> credentials_from(const std::string& folder) {
  const std::string key = folder + "/tls.key";
  const std::string certificate = folder + "/tls.crt";
  TRY(identity::read_mounted_file(key));
  TRY(identity::read_mounted_file(certificate));
  return watching(key, certificate, std::chrono::seconds(10));
}

}  // namespace weft::control
