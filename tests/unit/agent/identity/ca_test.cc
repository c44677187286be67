#include "agent/identity/ca.h"

#include "agent/identity/certificate.h"
#include "tests/unit/agent/identity/csr_maker.h"
#include "tests/unit/agent/identity/temp_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

namespace weft::identity {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using testing::HasSubstr;

const SpiffeId kAlice{"cluster.local", "shop", "alice"};
const TimePoint kNow{seconds(1'800'000'000)};

Clock fixed(TimePoint now) {
  return [now] { return now; };
}

std::unique_ptr<Authority> open_at(const TempFolder& folder, TimePoint now = kNow) {
  auto authority = Authority::open(folder.path(), "cluster.local", fixed(now));
  EXPECT_TRUE(authority) << authority.error().to_string();
  return authority ? std::move(*authority) : nullptr;
}

std::string open_error(const TempFolder& folder, TimePoint now = kNow) {
  const auto authority = Authority::open(folder.path(), "cluster.local", fixed(now));
  return authority ? "no error" : authority.error().to_string();
}

CertificatePtr parse(const std::string& pem) {
  auto certificate = certificate_from_pem(pem);
  EXPECT_TRUE(certificate) << certificate.error().to_string();
  return std::move(*certificate);
}

bool chains(X509* leaf, X509* root, TimePoint at, int purpose) {
  const std::unique_ptr<X509_STORE, Freed<X509_STORE_free>> store(X509_STORE_new());
  const std::unique_ptr<X509_STORE_CTX, Freed<X509_STORE_CTX_free>> context(X509_STORE_CTX_new());
  X509_STORE_add_cert(store.get(), root);
  X509_STORE_CTX_init(context.get(), store.get(), leaf, nullptr);
  X509_STORE_CTX_set_purpose(context.get(), purpose);
  X509_STORE_CTX_set_time(context.get(), 0, std::chrono::system_clock::to_time_t(at));
  return X509_verify_cert(context.get()) == 1;
}

std::filesystem::perms mode_of(const std::string& file) {
  return std::filesystem::status(file).permissions();
}

TEST(AuthorityFolder, MakesARootOnceAndKeepsIt) {
  const TempFolder folder;
  const std::string root = open_at(folder)->roots_pem();
  EXPECT_EQ(static_cast<int>(mode_of(folder.file("root-key.pem"))), 0600);
  EXPECT_EQ(static_cast<int>(mode_of(folder.file("root-cert.pem"))), 0644);
  EXPECT_EQ(folder.read("root-cert.pem"), root);
  const auto again = open_at(folder, kNow + hours(24 * 365));
  EXPECT_EQ(again->roots_pem(), root);
  EXPECT_EQ(again->not_after(), kNow + Authority::kRootLifetime);
  const auto certificate = parse(root);
  EXPECT_EQ(X509_check_ca(certificate.get()), 1);
  EXPECT_EQ(X509_get_key_usage(certificate.get()), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
}

TEST(AuthorityFolder, FinishesWhatACrashLeft) {
  const TempFolder folder;
  const std::string root = open_at(folder)->roots_pem();
  // Between the two renames.
  std::filesystem::rename(folder.file("root-cert.pem"), folder.file("root-cert.pem.new"));
  EXPECT_EQ(open_at(folder)->roots_pem(), root);
  EXPECT_TRUE(folder.has("root-cert.pem"));
  EXPECT_FALSE(folder.has("root-cert.pem.new"));
  // Before the first: nothing of it was ever used.
  const TempFolder other;
  other.write("root-key.pem.new", "half a k");
  other.write("root-cert.pem.new", "");
  EXPECT_NE(open_at(other)->roots_pem(), root);
  EXPECT_FALSE(other.has("root-key.pem.new"));
  EXPECT_FALSE(other.has("root-cert.pem.new"));
}

TEST(AuthorityFolder, TwoAtOnceMakeOneRoot) {
  const TempFolder folder;
  std::string roots[4];
  {
    std::vector<std::jthread> threads;
    for (auto& root : roots) {
      threads.emplace_back([&] { root = open_at(folder)->roots_pem(); });
    }
  }
  EXPECT_THAT(roots, testing::Each(folder.read("root-cert.pem")));
}

TEST(AuthorityFolder, NeverReplacesWhatIsThere) {
  const TempFolder folder;
  open_at(folder);
  const std::string key = folder.read("root-key.pem");
  const std::string certificate = folder.read("root-cert.pem");

  std::filesystem::permissions(folder.file("root-key.pem"), std::filesystem::perms(0640));
  EXPECT_THAT(open_error(folder), HasSubstr("root-key.pem has mode 0640"));
  std::filesystem::permissions(folder.file("root-key.pem"), std::filesystem::perms(0600));
  EXPECT_EQ(open_error(folder), "no error");

  const TempFolder stranger;
  open_at(stranger);
  folder.write("root-cert.pem", stranger.read("root-cert.pem"));
  EXPECT_THAT(open_error(folder), HasSubstr("does not belong to root-key.pem"));
  folder.write("root-cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  EXPECT_THAT(open_error(folder), HasSubstr("root-cert.pem: expected a PEM certificate"));
  folder.write("root-cert.pem", certificate + certificate);
  EXPECT_THAT(open_error(folder), HasSubstr("nothing behind it"));
  folder.write("root-cert.pem", std::string(70'000, 'x'));
  EXPECT_THAT(open_error(folder), HasSubstr("longer than 65536 bytes"));
  std::filesystem::remove(folder.file("root-cert.pem"));
  EXPECT_THAT(open_error(folder), HasSubstr("without its root-cert.pem"));
  EXPECT_EQ(folder.read("root-key.pem"), key);

  folder.write("root-cert.pem", certificate);
  EXPECT_THAT(open_error(folder, kNow + Authority::kRootLifetime), HasSubstr("has expired"));
  std::filesystem::remove(folder.file("root-key.pem"));
  EXPECT_THAT(open_error(folder), HasSubstr("without its root-key.pem"));
  std::filesystem::create_symlink(stranger.file("root-key.pem"), folder.file("root-key.pem"));
  EXPECT_THAT(open_error(folder), HasSubstr("opening"));
  EXPECT_EQ(folder.read("root-cert.pem"), certificate);
}

TEST(AuthorityFolder, SaysWhatIsInTheWay) {
  const auto authority = Authority::open("/proc/nothing/here", "cluster.local");
  ASSERT_FALSE(authority);
  EXPECT_THAT(authority.error().to_string(), HasSubstr("making the folder /proc/nothing/here"));
}

TEST(AuthoritySign, GivesAWorkloadItsCertificate) {
  const TempFolder folder;
  const auto authority = open_at(folder);
  const auto chain = authority->sign(good_csr(kAlice.to_string()), kAlice, hours(1));
  ASSERT_TRUE(chain) << chain.error().to_string();
  ASSERT_EQ(chain->size(), 2U);
  EXPECT_EQ(chain->back(), authority->roots_pem());
  const auto leaf = parse(chain->front());
  const auto root = parse(chain->back());
  EXPECT_TRUE(chains(leaf.get(), root.get(), kNow, X509_PURPOSE_SSL_CLIENT));
  EXPECT_TRUE(chains(leaf.get(), root.get(), kNow, X509_PURPOSE_SSL_SERVER));
  EXPECT_EQ(*not_before_of(leaf.get()), kNow - Authority::kClockSkew);
  EXPECT_EQ(*not_after_of(leaf.get()), kNow + hours(1));
  EXPECT_EQ(X509_NAME_entry_count(X509_get_subject_name(leaf.get())), 0);
  EXPECT_EQ(X509_check_ca(leaf.get()), 0);
  EXPECT_EQ(X509_get_key_usage(leaf.get()), KU_DIGITAL_SIGNATURE);
  EXPECT_EQ(X509_get_extended_key_usage(leaf.get()), XKU_SSL_SERVER | XKU_SSL_CLIENT);
  const int san = X509_get_ext_by_NID(leaf.get(), NID_subject_alt_name, -1);
  ASSERT_GE(san, 0);
  EXPECT_EQ(X509_EXTENSION_get_critical(X509_get_ext(leaf.get(), san)), 1);
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(leaf.get(), NID_subject_alt_name, nullptr, nullptr)));
  ASSERT_EQ(sk_GENERAL_NAME_num(names.get()), 1);
  const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), 0);
  ASSERT_EQ(name->type, GEN_URI);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(
                ASN1_STRING_get0_data(name->d.uniformResourceIdentifier))),
            kAlice.to_string());
}

TEST(AuthoritySign, CutsLifetimes) {
  const TempFolder folder;
  open_at(folder);
  const auto end_of = [&](TimePoint now, seconds lifetime) {
    const auto chain = open_at(folder, now)->sign(good_csr(kAlice.to_string()), kAlice, lifetime);
    EXPECT_TRUE(chain) << chain.error().to_string();
    return *not_after_of(parse(chain->front()).get());
  };
  EXPECT_EQ(end_of(kNow, seconds(1)), kNow + seconds(1));
  EXPECT_EQ(end_of(kNow, seconds::max()), kNow + Authority::kLeafLifetimeMax);
  const TimePoint root_end = kNow + Authority::kRootLifetime;
  EXPECT_EQ(end_of(root_end - hours(1), hours(24)), root_end);
}

TEST(AuthoritySign, TakesOnlyWhatTheRequestMayAskFor) {
  const TempFolder folder;
  const auto authority = open_at(folder);
  const KeyPtr key = make_ec("P-384");
  const auto chain = authority->sign(
      make_csr(key.get(),
               {.sans = {"URI:" + kAlice.to_string()}, .subject = "root", .asks_for_ca = true}),
      kAlice, hours(1));
  ASSERT_TRUE(chain) << chain.error().to_string();
  const auto leaf = parse(chain->front());
  EXPECT_EQ(X509_check_ca(leaf.get()), 0);
  EXPECT_EQ(X509_NAME_entry_count(X509_get_subject_name(leaf.get())), 0);
}

TEST(AuthoritySign, TakesStrongKeysOnly) {
  const TempFolder folder;
  const auto authority = open_at(folder);
  const auto error_with = [&](KeyPtr key) {
    const auto chain =
        authority->sign(make_csr(key.get(), {.sans = {"URI:" + kAlice.to_string()}, .subject = {}}),
                        kAlice, hours(1));
    return chain ? "no error" : chain.error().to_string();
  };
  EXPECT_EQ(error_with(make_ec("P-256")), "no error");
  EXPECT_EQ(error_with(make_ec("P-384")), "no error");
  EXPECT_EQ(error_with(make_rsa(2048)), "no error");
  EXPECT_EQ(error_with(make_ed25519()), "no error");
  EXPECT_THAT(error_with(make_rsa(1024)), HasSubstr("RSA 2048 to 8192 bit key"));
  EXPECT_THAT(error_with(make_ec("P-224")), HasSubstr("RSA 2048 to 8192 bit key"));
  EXPECT_THAT(error_with(make_ec("secp256k1")), HasSubstr("RSA 2048 to 8192 bit key"));
}

TEST(AuthoritySign, RefusesWrongRequests) {
  const TempFolder folder;
  const auto authority = open_at(folder);
  const std::string uri = "URI:" + kAlice.to_string();
  const KeyPtr key = make_ec("P-256");
  const KeyPtr other = make_ec("P-256");
  const std::string good = make_csr(key.get(), {.sans = {uri}, .subject = {}});
  std::string flipped = good;
  flipped[good.size() / 2] = flipped[good.size() / 2] == 'A' ? 'B' : 'A';
  const struct {
    std::string csr;
    const char* expected;
  } cases[] = {
      {"", "expected a PEM certificate request"},
      {"hello", "expected a PEM certificate request"},
      {good.substr(0, good.size() / 2), "expected a PEM certificate request"},
      {flipped, "request"},
      {good + good, "nothing behind it"},
      {good + std::string(kCsrBytesMax, ' '), "longer than 16384 bytes"},
      {authority->roots_pem(), "expected a PEM certificate request"},
      {make_csr(key.get(), {.sans = {uri}, .subject = {}, .signer = other.get()}),
       "not signed by its own key"},
      {make_csr(key.get(), {.sans = {}, .subject = "alice"}),
       "exactly one subject alternative name"},
      {make_csr(key.get(), {.sans = {uri, "DNS:a"}, .subject = {}}),
       "exactly one subject alternative name"},
      {make_csr(key.get(), {.sans = {uri, uri}, .subject = {}}),
       "exactly one subject alternative name"},
      {make_csr(key.get(), {.sans = {"DNS:alice"}, .subject = {}}), "expected a URI"},
      {make_csr(key.get(), {.sans = {"URI:https://alice"}, .subject = {}}), "expected spiffe://"},
      {good_csr("spiffe://cluster.local/ns/shop/sa/bob"),
       "the request is for spiffe://cluster.local/ns/shop/sa/bob"},
  };
  for (const auto& [csr, expected] : cases) {
    const auto chain = authority->sign(csr, kAlice, hours(1));
    ASSERT_FALSE(chain) << csr;
    EXPECT_EQ(chain.error().code, Code::kInvalid) << csr;
    EXPECT_THAT(chain.error().to_string(), HasSubstr(expected)) << csr;
  }
  const SpiffeId foreign{"elsewhere", "shop", "alice"};
  EXPECT_THAT(authority->sign(good_csr(foreign.to_string()), foreign, hours(1)).error().message,
              HasSubstr("is not of the trust domain cluster.local"));
  for (const auto lifetime : {seconds(0), seconds(-1), seconds::min()}) {
    EXPECT_THAT(authority->sign(good, kAlice, lifetime).error().message, HasSubstr("lifetime"));
  }
  EXPECT_TRUE(authority->sign(good, kAlice, seconds(1)));
}

TEST(AuthoritySign, ServesManyThreads) {
  const TempFolder folder;
  const auto authority = open_at(folder);
  std::vector<std::string> serials[4];
  {
    std::vector<std::jthread> threads;
    for (auto& mine : serials) {
      threads.emplace_back([&] {
        for (int i = 0; i < 8; ++i) {
          const auto chain = authority->sign(good_csr(kAlice.to_string()), kAlice, hours(1));
          const auto leaf = parse(chain->front());
          const BignumPtr serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(leaf.get()), nullptr));
          EXPECT_EQ(BN_num_bits(serial.get()), 128);
          char* text = BN_bn2hex(serial.get());
          mine.emplace_back(text);
          OPENSSL_free(text);
        }
      });
    }
  }
  std::set<std::string> all;
  for (const auto& mine : serials) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), 32U);
}

TEST(AuthorityServer, NamesWhatItWasTold) {
  const TempFolder folder;
  const auto authority = open_at(folder);
  const auto server = authority->issue_server({"control.weft", "10.0.0.1", "fd00::1"}, hours(24));
  ASSERT_TRUE(server) << server.error().to_string();
  const auto leaf = parse(server->chain_pem.substr(0, server->chain_pem.find("-----END") + 26));
  EXPECT_EQ(X509_check_host(leaf.get(), "control.weft", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_host(leaf.get(), "other.weft", 0, 0, nullptr), 0);
  EXPECT_EQ(X509_check_ip_asc(leaf.get(), "10.0.0.1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(leaf.get(), "fd00::1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(leaf.get(), "10.0.0.2", 0), 0);
  const auto root = parse(authority->roots_pem());
  EXPECT_TRUE(chains(leaf.get(), root.get(), kNow, X509_PURPOSE_SSL_SERVER));
  EXPECT_FALSE(chains(leaf.get(), root.get(), kNow, X509_PURPOSE_SSL_CLIENT));
  const auto key = private_key_from_pem(server->key_pem);
  ASSERT_TRUE(key);
  EXPECT_EQ(X509_check_private_key(leaf.get(), key->get()), 1);

  for (const char* name : {"", "a b", "a,DNS:b", "spiffe://x", ".a", "a\n"}) {
    EXPECT_FALSE(authority->issue_server({name}, hours(1))) << name;
  }
  EXPECT_FALSE(authority->issue_server({}, hours(1)));
}

TEST(IdentityInCsr, ReadsTheSan) {
  EXPECT_EQ(identity_in_csr(good_csr(kAlice.to_string())), kAlice);
  EXPECT_FALSE(identity_in_csr("nothing"));
}

}  // namespace
}  // namespace weft::identity
