#include "agent/identity/plugged_ca.h"

#include "agent/identity/key_files.h"
#include "agent/identity/supplied_ca.h"

namespace weft::identity {
namespace {

Result<CaFiles> read_files(const std::string& folder) {
  CaFiles files;
  files.key = TRY(read_mounted_file(folder + "/ca-key.pem"));
  files.certificate = TRY(read_mounted_file(folder + "/ca-cert.pem"));
  files.roots = TRY(read_mounted_file(folder + "/root-cert.pem"));
  auto chain = read_mounted_file(folder + "/cert-chain.pem");
  if (chain) {
    files.chain = std::move(*chain);
  } else if (chain.error().code != Code::kNotFound) {
    return Fail(std::move(chain.error()));
  }
  return files;
}

class FolderAuthority final : public PluggedAuthority {
 public:
  FolderAuthority(std::string folder, CaFiles files, std::unique_ptr<SuppliedAuthority> authority)
      : folder_(std::move(folder)),
        seen_(files),
        in_force_(std::move(files)),
        authority_(std::move(authority)) {}

  Result<bool> refresh() override {
    auto files = read_files(folder_);
    if (!files) {
      std::string text = files.error().to_string();
      if (text == unreadable_) return false;
      unreadable_ = std::move(text);
      seen_ = {};
      return Fail(std::move(files.error()));
    }
    unreadable_.clear();
    if (*files == seen_) return false;
    seen_ = std::move(*files);
    if (seen_ == in_force_) return false;  // put back after a mistake
    auto replaced = authority_->replace(seen_);
    if (!replaced) return Fail(std::move(replaced.error()).in(folder_));
    in_force_ = seen_;
    return true;
  }

  Result<std::vector<std::string>> sign(const std::string& csr_pem, const SpiffeId& identity,
                                        std::chrono::seconds lifetime) const override {
    return authority_->sign(csr_pem, identity, lifetime);
  }
  Result<ServerCertificate> issue_server(const std::vector<std::string>& names,
                                         std::chrono::seconds lifetime) const override {
    return authority_->issue_server(names, lifetime);
  }
  std::string roots_pem() const override { return authority_->roots_pem(); }
  const std::string& trust_domain() const override { return authority_->trust_domain(); }
  std::chrono::system_clock::time_point not_after() const override {
    return authority_->not_after();
  }

 private:
  const std::string folder_;
  CaFiles seen_;            // as last looked at, good or not
  CaFiles in_force_;        // what authority_ was made of
  std::string unreadable_;  // why they could not be read, as last told
  const std::unique_ptr<SuppliedAuthority> authority_;
};

}  // namespace

Result<std::unique_ptr<PluggedAuthority>> PluggedAuthority::open(const std::string& folder,
                                                                 std::string trust_domain,
                                                                 Clock clock) {
  CaFiles files = TRY(read_files(folder));
  auto authority = SuppliedAuthority::make(files, std::move(trust_domain), std::move(clock));
  if (!authority) return Fail(std::move(authority.error()).in(folder));
  return std::make_unique<FolderAuthority>(folder, std::move(files), std::move(*authority));
}

}  // namespace weft::identity
