#include "agent/identity/ca.h"

#include "agent/identity/certificate.h"
#include "agent/identity/csr.h"
#include "agent/identity/key_files.h"
#include "ztunnel/base/ip.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace weft::identity {
namespace {

constexpr size_t kDnsNameBytesMax = 253;  // RFC 1035, section 2.3.4, as text

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

bool is_dns_name(std::string_view name) {
  if (name.empty() || name.size() > kDnsNameBytesMax || name.front() == '.') return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.';
  });
}

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
  CertificateSpec spec;
  spec.organization = trust_domain;
  spec.common_name = "Weft root CA";
  spec.is_authority = true;
  spec.not_before = now - Authority::kClockSkew;
  spec.not_after = now + Authority::kRootLifetime;
  root.certificate = TRY(make_certificate(spec, root.key.get(), nullptr, root.key.get()));

  TRY(remove_if_there(files.new_key()));
  TRY(remove_if_there(files.new_certificate()));
  const std::string key_pem = TRY(private_key_to_pem(root.key.get()));
  const std::string certificate_pem = TRY(certificate_to_pem(root.certificate.get()));
  TRY(write_new_file(files.new_key(), key_pem, 0600));
  TRY(write_new_file(files.new_certificate(), certificate_pem, 0644));
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

// Thread-safe because nothing changes after open() and OpenSSL 3 signs with a shared key.
class FileAuthority final : public Authority {
 public:
  FileAuthority(Root root, std::string root_pem, TimePoint root_not_after, std::string trust_domain,
                Clock clock)
      : root_(std::move(root)),
        root_pem_(std::move(root_pem)),
        root_not_after_(root_not_after),
        trust_domain_(std::move(trust_domain)),
        clock_(std::move(clock)) {}

  Result<std::vector<std::string>> sign(const std::string& csr_pem, const SpiffeId& identity,
                                        std::chrono::seconds lifetime) const override {
    if (identity.trust_domain != trust_domain_) {
      return fail(Code::kInvalid, identity.to_string() + " is not of the trust domain " +
                                      trust_domain_ + " that this CA signs for");
    }
    const Csr csr = TRY(parse_csr(csr_pem));
    if (csr.identity != identity) {
      return fail(Code::kInvalid, "the request is for " + csr.identity.to_string() + ", not for " +
                                      identity.to_string());
    }
    CertificateSpec spec = TRY(leaf_spec(lifetime));
    spec.uris.push_back(identity.to_string());
    std::vector<std::string> chain;
    chain.push_back(TRY(issue(spec, csr.key.get())));
    chain.push_back(root_pem_);
    return chain;
  }

  Result<ServerCertificate> issue_server(const std::vector<std::string>& names,
                                         std::chrono::seconds lifetime) const override {
    CertificateSpec spec = TRY(leaf_spec(lifetime));
    spec.server_only = true;
    for (const auto& name : names) {
      if (IpAddress::parse(name)) {
        spec.addresses.push_back(name);
      } else if (is_dns_name(name)) {
        spec.dns_names.push_back(name);
      } else {
        return fail(Code::kInvalid, "expected a DNS name or an IP address, got \"" + name + "\"");
      }
    }
    if (names.empty()) return fail(Code::kInvalid, "a server certificate needs a name");
    const KeyPtr key = TRY(generate_p256());
    ServerCertificate server;
    server.chain_pem = TRY(issue(spec, key.get())) + root_pem_;
    server.key_pem = TRY(private_key_to_pem(key.get()));
    return server;
  }

  const std::string& root_pem() const override { return root_pem_; }
  const std::string& trust_domain() const override { return trust_domain_; }
  TimePoint root_not_after() const override { return root_not_after_; }

 private:
  Result<CertificateSpec> leaf_spec(std::chrono::seconds lifetime) const {
    if (lifetime <= std::chrono::seconds::zero()) {
      return fail(Code::kInvalid, "expected a lifetime of at least one second");
    }
    const TimePoint now = clock_();
    if (now >= root_not_after_) {
      return fail(Code::kUnavailable, "the root certificate has expired: nothing can be signed");
    }
    CertificateSpec spec;
    spec.not_before = now - kClockSkew;
    spec.not_after =
        std::min(now + std::min<std::chrono::seconds>(lifetime, kLeafLifetimeMax), root_not_after_);
    return spec;
  }

  Result<std::string> issue(const CertificateSpec& spec, EVP_PKEY* key) const {
    const CertificatePtr leaf =
        TRY(make_certificate(spec, key, root_.certificate.get(), root_.key.get()));
    return certificate_to_pem(leaf.get());
  }

  Root root_;
  std::string root_pem_;
  TimePoint root_not_after_;
  std::string trust_domain_;
  Clock clock_;
};

}  // namespace

Result<std::unique_ptr<Authority>> Authority::open(const std::string& folder,
                                                   std::string trust_domain, Clock clock) {
  const Fd handle = TRY(open_locked_folder(folder));
  const RootFiles files(folder);
  Root root = TRY(load_or_make_root(files, handle, trust_domain, clock()));
  TRY(remove_if_there(files.new_key()));
  TRY(remove_if_there(files.new_certificate()));
  std::string root_pem = TRY(certificate_to_pem(root.certificate.get()));
  const TimePoint not_after = TRY(not_after_of(root.certificate.get()));
  return std::make_unique<FileAuthority>(std::move(root), std::move(root_pem), not_after,
                                         std::move(trust_domain), std::move(clock));
}

}  // namespace weft::identity
