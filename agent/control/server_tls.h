#pragma once

#include "agent/identity/ca.h"

#include <grpcpp/security/server_credentials.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace weft::control {

// Control's own server certificate, issued by its own authority. gRPC takes what is renewed from a
// file that it watches: one file with key and chain (0600), replaced by rename, so that it never
// sees a key with another's certificate. Belongs to one thread.
class ServerTls {
 public:
  static constexpr std::chrono::hours kLifetime{24};

  // Issues the first certificate. `authority` must outlive this.
  static Result<std::unique_ptr<ServerTls>> create(const identity::Authority& authority,
                                                   std::vector<std::string> names,
                                                   std::string state_folder);
  // Issues another; to be called every renewal_interval().
  Result<void> renew();
  static std::chrono::milliseconds renewal_interval() { return kLifetime / 2; }

  // `refresh`: how often gRPC looks at the file.
  std::shared_ptr<grpc::ServerCredentials> credentials(
      std::chrono::seconds refresh = kRefresh) const;

 private:
  static constexpr std::chrono::seconds kRefresh{10};

  ServerTls(const identity::Authority& authority, std::vector<std::string> names, std::string file)
      : authority_(authority), names_(std::move(names)), file_(std::move(file)) {}

  const identity::Authority& authority_;
  std::vector<std::string> names_;
  std::string file_;
};

// A certificate that somebody else renews: tls.crt and tls.key of a folder, as a mounted Secret of
// type kubernetes.io/tls has them. An error names the file that cannot be read.
Result<std::shared_ptr<grpc::ServerCredentials>> credentials_from(const std::string& folder);

}  // namespace weft::control
