#include "ztunnel/tls/credentials.h"

#include "tests/support/test_authority.h"
#include "ztunnel/tls/x509.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>

namespace weft::tls {
namespace {

using testing::LeafOptions;
using testing::TestAuthority;

const SpiffeId kAlice{"cluster.local", "a", "alice"};

class CredentialsTest : public ::testing::Test {
 public:
  // Signs a request for a fresh key, as a CA does.
  Result<std::shared_ptr<const Credentials>> ask(const std::string& uri,
                                                 const LeafOptions& options = {}) {
    Secret key = generate_key().value();
    const std::vector<std::string> chain =
        authority_.sign(make_csr(key, kAlice).value(), uri, options);
    return Credentials::from_chain(std::move(key), chain, kAlice);
  }
  std::string refusal(const std::string& uri, const LeafOptions& options = {}) {
    const auto credentials = ask(uri, options);
    if (credentials) return "accepted";
    EXPECT_EQ(credentials.error().code, Code::kInvalid);
    return credentials.error().to_string();
  }
  std::string refusal_of(const std::vector<std::string>& chain) {
    const auto credentials = Credentials::from_chain(generate_key().value(), chain, kAlice);
    if (credentials) return "accepted";
    EXPECT_EQ(credentials.error().code, Code::kInvalid);
    return credentials.error().to_string();
  }

 protected:
  TestAuthority authority_{"cluster.local"};
};

TEST_F(CredentialsTest, AreMadeFromWhatACaSigned) {
  const auto credentials = ask(kAlice.to_string(), {.valid_from = std::chrono::seconds(-100),
                                                    .valid_until = std::chrono::seconds(3500)});
  ASSERT_TRUE(credentials) << credentials.error().to_string();
  const Credentials& got = **credentials;
  EXPECT_EQ(got.identity, kAlice);
  EXPECT_EQ(got.chain_pem.size(), 1U);
  EXPECT_EQ(got.roots_pem, authority_.root_pem());
  EXPECT_EQ(got.not_after - got.not_before, std::chrono::hours(1));
  EXPECT_EQ(got.renew_at() - got.not_before, std::chrono::minutes(30));
  const auto leaf = parse_certificates(got.chain_pem.front(), nullptr).value();
  EXPECT_EQ(got.serial, serial_of(leaf.front().get()));
  EXPECT_EQ(got.serial.size(), 30U) << "120 bits";
}

TEST_F(CredentialsTest, KeepIntermediatesAndSeveralRoots) {
  const TestAuthority next("cluster.local");
  Secret key = generate_key().value();
  std::vector<std::string> chain =
      authority_.sign(make_csr(key, kAlice).value(), kAlice.to_string(), {.by_intermediate = true});
  ASSERT_EQ(chain.size(), 3U);
  chain.back() += next.root_pem();
  const auto credentials = Credentials::from_chain(std::move(key), chain, kAlice);
  ASSERT_TRUE(credentials) << credentials.error().to_string();
  EXPECT_EQ((*credentials)->chain_pem.size(), 2U);
  EXPECT_EQ((*credentials)->roots_pem, authority_.root_pem() + next.root_pem());
}

TEST_F(CredentialsTest, RefuseAnotherName) {
  const std::string bob = "spiffe://cluster.local/ns/a/sa/bob";
  EXPECT_THAT(refusal(bob),
              ::testing::HasSubstr("asked for " + kAlice.to_string() + ", got " + bob));
  EXPECT_THAT(refusal("spiffe://other/ns/a/sa/alice"), ::testing::HasSubstr("asked for"));
  EXPECT_THAT(refusal("", {.dns_names = {"alice"}}), ::testing::HasSubstr("got no URI name"));
  EXPECT_THAT(refusal(kAlice.to_string(), {.more_uris = {bob}}),
              ::testing::HasSubstr("expected exactly one URI name"));
  EXPECT_THAT(refusal("spiffe://cluster.local/a/b/c/d"), ::testing::HasSubstr("spiffe://"));
}

TEST_F(CredentialsTest, RefuseWhatNoPeerWouldAccept) {
  const std::string alice = kAlice.to_string();
  using std::chrono::hours;
  EXPECT_THAT(refusal(alice, {.valid_from = hours(-2), .valid_until = hours(-1)}),
              ::testing::HasSubstr("certificate has expired"));
  EXPECT_THAT(refusal(alice, {.valid_from = hours(1), .valid_until = hours(2)}),
              ::testing::HasSubstr("not yet valid"));
  EXPECT_THAT(refusal(alice, {.client_auth = false}),
              ::testing::HasSubstr("no peer would accept it from a client"));
  EXPECT_THAT(refusal(alice, {.server_auth = false}),
              ::testing::HasSubstr("no peer would accept it from a server"));
  EXPECT_THAT(refusal(alice, {.is_ca = true}), ::testing::HasSubstr("expected a leaf"));
}

TEST_F(CredentialsTest, RefuseAnotherKey) {
  const std::vector<std::string> chain =
      authority_.sign(make_csr(generate_key().value(), kAlice).value(), kAlice.to_string());
  EXPECT_THAT(refusal_of(chain), ::testing::HasSubstr("does not fit our key"));
}

TEST_F(CredentialsTest, RefuseAChainThatDoesNotEndAtItsRoots) {
  const TestAuthority other("cluster.local");
  Secret key = generate_key().value();
  std::vector<std::string> chain =
      authority_.sign(make_csr(key, kAlice).value(), kAlice.to_string());
  chain.back() = other.root_pem();
  const auto credentials = Credentials::from_chain(std::move(key), chain, kAlice);
  ASSERT_FALSE(credentials);
  EXPECT_THAT(credentials.error().to_string(), ::testing::HasSubstr("local issuer certificate"));
}

TEST_F(CredentialsTest, RefuseMalformedChains) {
  const std::string root = authority_.root_pem();
  EXPECT_THAT(refusal_of({}), ::testing::HasSubstr("0 elements"));
  EXPECT_THAT(refusal_of({root}), ::testing::HasSubstr("1 elements"));
  EXPECT_THAT(refusal_of({"", root}), ::testing::HasSubstr("element 0"));
  EXPECT_THAT(refusal_of({root, "nonsense"}), ::testing::HasSubstr("element 1"));
  EXPECT_THAT(refusal_of({root + "-----BEGIN CERTIFICATE-----\nAAAA\n", root}),
              ::testing::HasSubstr("certificate 2 of the PEM cannot be read"));
  EXPECT_THAT(refusal_of({std::string(kPemBytesMax + 1, 'x'), root}),
              ::testing::HasSubstr("bytes of PEM"));
  EXPECT_THAT(refusal_of(std::vector<std::string>(kCertificatesMax + 1, root)),
              ::testing::HasSubstr("257 elements"));
  std::string many;
  for (size_t i = 0; i <= kCertificatesMax; ++i) many += root;
  EXPECT_THAT(refusal_of({root, many}), ::testing::HasSubstr("more than 256"));
}

TEST_F(CredentialsTest, RefuseAPrivateKeyWhereACertificateBelongs) {
  const std::string key_pem = authority_.issue_pem(kAlice.to_string()).key_pem;
  EXPECT_THAT(refusal_of({key_pem, authority_.root_pem()}), ::testing::HasSubstr("element 0"));
}

TEST_F(CredentialsTest, AskWithOneCriticalUriNameAndNoSubject) {
  const Secret key = generate_key().value();
  const std::string pem = make_csr(key, kAlice).value();
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  X509_REQ* request = PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr);
  ASSERT_NE(request, nullptr);
  EXPECT_EQ(X509_NAME_entry_count(X509_REQ_get_subject_name(request)), 0);
  EXPECT_EQ(X509_REQ_verify(request, X509_REQ_get0_pubkey(request)), 1);
  EXPECT_TRUE(EVP_PKEY_is_a(X509_REQ_get0_pubkey(request), "EC"));
  EXPECT_EQ(EVP_PKEY_get_bits(X509_REQ_get0_pubkey(request)), 256);
  X509_EXTENSIONS* extensions = X509_REQ_get_extensions(request);
  ASSERT_EQ(sk_X509_EXTENSION_num(extensions), 1);
  X509_EXTENSION* names = sk_X509_EXTENSION_value(extensions, 0);
  EXPECT_EQ(OBJ_obj2nid(X509_EXTENSION_get_object(names)), NID_subject_alt_name);
  EXPECT_EQ(X509_EXTENSION_get_critical(names), 1);
  const ASN1_OCTET_STRING* value = X509_EXTENSION_get_data(names);
  const std::string der(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                        static_cast<size_t>(ASN1_STRING_length(value)));
  const std::string uri = kAlice.to_string();
  // SEQUENCE { [6] uri }
  const std::string head{'\x30', static_cast<char>(uri.size() + 2), '\x86',
                         static_cast<char>(uri.size())};
  EXPECT_EQ(der, head + uri);
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  X509_REQ_free(request);
}

TEST_F(CredentialsTest, AskOnlyWithAGoodKey) {
  EXPECT_EQ(make_csr(Secret("no key"), kAlice).error().code, Code::kInvalid);
  EXPECT_EQ(make_csr(Secret(), kAlice).error().code, Code::kInvalid);
}

TEST(SecretTest, LeavesNothingWhereItMovedFrom) {
  for (const std::string text : {"short", "long enough that it does not fit into the object"}) {
    Secret first{std::string(text)};
    Secret second(std::move(first));
    EXPECT_EQ(second.bytes(), text);
    // NOLINTNEXTLINE(bugprone-use-after-move): that nothing is left is the point
    EXPECT_EQ(std::string(first.bytes().data(), 5), std::string(5, '\0'));
    Secret third(std::string("another"));
    third = std::move(second);
    EXPECT_EQ(third.bytes(), text);
    EXPECT_EQ(std::string(second.bytes().data(), 5), std::string(5, '\0'));
  }
}

TEST(GenerateKeyTest, MakesADifferentPkcs8KeyEachTime) {
  const Secret first = generate_key().value();
  EXPECT_NE(first.bytes(), generate_key().value().bytes());
  const auto* bytes = reinterpret_cast<const unsigned char*>(first.bytes().data());
  PKCS8_PRIV_KEY_INFO* info =
      d2i_PKCS8_PRIV_KEY_INFO(nullptr, &bytes, static_cast<long>(first.bytes().size()));
  EXPECT_NE(info, nullptr);
  PKCS8_PRIV_KEY_INFO_free(info);
}

}  // namespace
}  // namespace weft::tls
