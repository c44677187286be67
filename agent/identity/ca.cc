#include "agent/identity/ca.h"

#include "agent/identity/certificate.h"
#include "agent/identity/key_files.h"
#include "agent/identity/signer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace weft::identity {
namespace {

struct Root {
  KeyPtr key;
  CertificatePtr certificate;
};

// Where a root lives. The `.new` files exist only while one is being made, or after a crash then.
struct RootFiles {
  explicit RootFiles(const std::string& folder)
      : key(folder + "/root-key.pem"), certificate(folder + "/root-cert.pem") {}
  std::string key;
  std::string certificate;
  std::string new_key() const { return key + ".new"; }
  std::string new_certificate() const { return certificate + ".new"; }
};

// A root has to be a CA, to fit its key and to be good now.
Result<void> check_root(const Root& root, const std::string& name, TimePoint now) {
  if (X509_check_private_key(root.certificate.get(), root.key.get()) != 1) {
    return Fail(openssl_error(Code::kInvalid, name + " does not belong to root-key.pem"));
  }
  if (X509_check_ca(root.certificate.get()) != 1 ||
      X509_verify(root.certificate.get(), root.key.get()) != 1) {
    return Fail(openssl_error(Code::kInvalid, name + " is not a self-signed CA certificate"));
  }
  if (TRY(not_after_of(root.certificate.get())) <= now) {
    return fail(Code::kInvalid, name +
                                    " has expired: move root-key.pem and root-cert.pem away to "
                                    "make a new root, which every node must then be given");
  }
  return {};
}

Result<Root> read_root(const std::string& key_file, const std::string& certificate_file,
                       TimePoint now) {
  Root root;
  const std::string key_pem = TRY(read_private_file(key_file));
  auto key = private_key_from_pem(key_pem);
  if (!key) return Fail(std::move(key.error()).in(key_file));
  root.key = std::move(*key);
  const std::string certificate_pem = TRY(read_small_file(certificate_file));
  auto certificate = certificate_from_pem(certificate_pem);
  if (!certificate) return Fail(std::move(certificate.error()).in(certificate_file));
  root.certificate = std::move(*certificate);
  TRY(check_root(root, certificate_file, now));
  return root;
}

Result<void> sync(const Fd& folder) {
  if (::fsync(folder.get()) != 0) return fail_errno(errno, "syncing the state folder");
  return {};
}

Result<Root> make_root(const RootFiles& files, const Fd& folder, const std::string& trust_domain,
                       TimePoint now) {
  Root root;
  root.key = TRY(generate_p256());
  root.certificate = TRY(make_root_certificate(root.key.get(), trust_domain, now));

  TRY(remove_file(files.new_key()));
  TRY(remove_file(files.new_certificate()));
  const std::string key_pem = TRY(private_key_to_pem(root.key.get()));
  const std::string certificate_pem = TRY(certificate_to_pem(root.certificate.get()));
  TRY(write_new_file(files.new_key(), key_pem, 0600, Durable::kYes));
  TRY(write_new_file(files.new_certificate(), certificate_pem, 0644, Durable::kYes));
  TRY(sync(folder));
  TRY(rename_file(files.new_key(), files.key));
  TRY(rename_file(files.new_certificate(), files.certificate));
  TRY(sync(folder));
  return root;
}

Result<Root> load_or_make_root(const RootFiles& files, const Fd& folder,
                               const std::string& trust_domain, TimePoint now) {
  const bool has_key = file_exists(files.key);
  const bool has_certificate = file_exists(files.certificate);
  if (has_key && has_certificate) return read_root(files.key, files.certificate, now);
  if (has_certificate) {
    return fail(Code::kInvalid, files.certificate +
                                    " is there without its root-key.pem: restore the key, or move "
                                    "the certificate away to make a new root");
  }
  if (!has_key) return make_root(files, folder, trust_domain, now);
  if (!file_exists(files.new_certificate())) {
    return fail(Code::kInvalid, files.key +
                                    " is there without its root-cert.pem: restore the certificate, "
                                    "or move the key away to make a new root");
  }
  Root root = TRY(read_root(files.key, files.new_certificate(), now));
  TRY(rename_file(files.new_certificate(), files.certificate));
  TRY(sync(folder));
  return root;
}

// Thread-safe because nothing changes after open().
class FileAuthority final : public Authority {
 public:
  explicit FileAuthority(Signer signer) : signer_(std::move(signer)) {}

  Result<std::vector<std::string>> sign(const std::string& csr_pem, const SpiffeId& identity,
                                        std::chrono::seconds lifetime) const override {
    return signer_.sign(csr_pem, identity, lifetime);
  }
  Result<ServerCertificate> issue_server(const std::vector<std::string>& names,
                                         std::chrono::seconds lifetime) const override {
    return signer_.issue_server(names, lifetime);
  }
  std::string roots_pem() const override { return signer_.issuer().roots_pem; }
  const std::string& trust_domain() const override { return signer_.trust_domain(); }
  TimePoint not_after() const override { return signer_.issuer().not_after; }

 private:
  Signer signer_;
};

}  // namespace

Result<std::unique_ptr<Authority>> Authority::open(const std::string& folder,
                                                   std::string trust_domain, Clock clock) {
  const Fd handle = TRY(open_locked_folder(folder));
  const RootFiles files(folder);
  Root root = TRY(load_or_make_root(files, handle, trust_domain, clock()));
  TRY(remove_file(files.new_key()));
  TRY(remove_file(files.new_certificate()));
  Issuer issuer;
  issuer.roots_pem = TRY(certificate_to_pem(root.certificate.get()));
  issuer.not_after = TRY(not_after_of(root.certificate.get()));
  issuer.key = std::move(root.key);
  issuer.certificate = std::move(root.certificate);
  return std::make_unique<FileAuthority>(
      Signer(std::move(issuer), std::move(trust_domain), std::move(clock)));
}

}  // namespace weft::identity
