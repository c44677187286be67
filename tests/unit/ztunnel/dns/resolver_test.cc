#include "ztunnel/dns/resolver.h"

#include "tests/support/run_task.h"
#include "tests/unit/ztunnel/dns/fake_server.h"

#include <filesystem>
#include <fstream>
#include <map>

namespace weft::dns {
namespace {

using runtime::Loop;
using runtime::Task;
using std::chrono::seconds;
using Addresses = std::vector<IpAddress>;

TEST(ResolvConf, IsReadAsTheCLibraryDoes) {
  const ResolvConf conf = parse_resolv_conf(
      "# a comment\nsearch shop.svc.cluster.local\nnameserver 10.96.0.10\n"
      "nameserver\tfd00::a \nnameserver nonsense\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n"
      "options ndots:5 timeout:2 attempts:9\n");
  ASSERT_EQ(conf.servers.size(), 3U);
  EXPECT_EQ(conf.servers[1].to_string(), "fd00::a");
  EXPECT_EQ(conf.servers[2].to_string(), "10.0.0.1");
  EXPECT_EQ(conf.timeout, seconds(2));
  EXPECT_EQ(conf.attempts, 5);
  EXPECT_EQ(parse_resolv_conf("options timeout:x attempts:").servers.at(0).to_string(),
            "127.0.0.1");
}

class ResolverTest : public ::testing::Test {
 protected:
  ResolverTest()
      : loop_(std::move(*Loop::create(runtime::Backend::kEpoll))),
        server_(*loop_, [this](const std::string& query, bool) { return respond(query); }),
        conf_(::testing::TempDir() + "resolv_conf_" + std::to_string(getpid())) {
    std::ofstream(conf_) << "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
    resolver_ = std::make_unique<Resolver>(*loop_, conf_, -1, server_.address().port);
  }
  ~ResolverTest() override {
    weft::testing::run(*loop_, resolver_->stop());
    weft::testing::run(*loop_, server_.stop());
    std::filesystem::remove(conf_);
  }
  std::vector<std::string> respond(const std::string& query) {
    const auto read = read_query(query);
    const std::string key =
        read->question->name.key() + (read->question->type == type::kA ? " A" : " AAAA");
    const auto found = zone_.find(key);
    if (found == zone_.end()) return {encode(answer_to(*read, Rcode::kNxDomain), 512)};
    return {encode(found->second(query), 512)};
  }
  void has(const std::string& key, std::vector<std::string> addresses, uint32_t ttl_s = 60) {
    zone_[key] = [=](const std::string& query) { return answer_with(query, addresses, ttl_s); };
  }
  Result<std::vector<std::string>> resolve(const std::string& name, Families families,
                                           seconds limit = seconds(20)) {
    const auto found = weft::testing::run(*loop_, resolver_->resolve(name, families, limit));
    if (!found) return Fail(found.error());
    std::vector<std::string> texts;
    for (const IpAddress& address : *found) texts.push_back(address.to_string());
    return texts;
  }
  using Texts = std::vector<std::string>;

  std::unique_ptr<Loop> loop_;
  std::map<std::string, std::function<Message(const std::string&)>> zone_;
  FakeServer server_;
  std::string conf_;
  std::unique_ptr<Resolver> resolver_;
};

TEST_F(ResolverTest, AnswersAreKeptAsLongAsTheySay) {
  has("a.example.com A", {"192.0.2.1", "192.0.2.2"});
  EXPECT_EQ(resolve("A.example.com.", Families::kV4), (Texts{"192.0.2.1", "192.0.2.2"}));
  EXPECT_EQ(resolve("a.example.com", Families::kV4), (Texts{"192.0.2.1", "192.0.2.2"}));
  EXPECT_EQ(server_.asked_over_udp, 1);
}

TEST_F(ResolverTest, TheFirstFamilyStandsFirst) {
  has("a.example.com A", {"192.0.2.1"});
  has("a.example.com AAAA", {"2001:db8::1"});
  has("six.example.com AAAA", {"2001:db8::6"});
  has("six.example.com A", {});
  EXPECT_EQ(resolve("a.example.com", Families::kV4ThenV6), (Texts{"192.0.2.1", "2001:db8::1"}));
  EXPECT_EQ(resolve("a.example.com", Families::kV6ThenV4), (Texts{"2001:db8::1", "192.0.2.1"}));
  EXPECT_EQ(resolve("six.example.com", Families::kV4ThenV6), (Texts{"2001:db8::6"}));
  EXPECT_EQ(resolve("six.example.com", Families::kV4).error().code, Code::kNotFound);
}

TEST_F(ResolverTest, AliasesAreFollowedAndStrangersAreNot) {
  zone_["www.example.com A"] = [](const std::string& query) {
    Message answer = answer_with(query, {});
    answer.answers.push_back({*Name::parse("evil.example.com"), 60, IpAddress::v4(1)});
    answer.answers.push_back({*Name::parse("web.example.net"), 60, IpAddress::v4(0xc0000201)});
    answer.answers.push_back(
        {*Name::parse("www.example.com"), 60, Alias{*Name::parse("Web.example.net")}});
    return answer;
  };
  zone_["loop.example.com A"] = [](const std::string& query) {
    Message answer = answer_with(query, {});
    answer.answers.push_back(
        {*Name::parse("loop.example.com"), 60, Alias{*Name::parse("loop.example.com")}});
    return answer;
  };
  EXPECT_EQ(resolve("www.example.com", Families::kV4), Texts{"192.0.2.1"});
  EXPECT_EQ(resolve("loop.example.com", Families::kV4).error().code, Code::kNotFound);
}

TEST_F(ResolverTest, WhatIsNotThereIsToldAndKept) {
  EXPECT_EQ(resolve("nowhere.example.com", Families::kV4).error().code, Code::kNotFound);
  EXPECT_EQ(resolve("nowhere.example.com", Families::kV4).error().code, Code::kNotFound);
  EXPECT_EQ(server_.asked_over_udp, 1);
  EXPECT_EQ(resolve(std::string(70, 'a'), Families::kV4).error().code, Code::kInvalid);
}

TEST_F(ResolverTest, OneQuestionForAllWhoAskAtOnce) {
  has("a.example.com A", {"192.0.2.1"});
  const auto [one, other] = weft::testing::run(
      *loop_, weft::testing::both(resolver_->resolve("a.example.com", Families::kV4, seconds(20)),
                                  resolver_->resolve("a.example.com", Families::kV4, seconds(20))));
  EXPECT_TRUE(one && other);
  EXPECT_EQ(server_.asked_over_udp, 1);
}

TEST_F(ResolverTest, AServerThatCannotIsUnavailable) {
  zone_["a.example.com A"] = [](const std::string& query) {
    return answer_to(*read_query(query), Rcode::kServFail);
  };
  EXPECT_EQ(resolve("a.example.com", Families::kV4).error().code, Code::kUnavailable);
}

TEST_F(ResolverTest, TheTableIsBounded) {
  zone_.clear();
  for (size_t i = 0; i < Resolver::kNamesMax + 10; ++i) {
    EXPECT_EQ(resolve("n" + std::to_string(i), Families::kV4).error().code, Code::kNotFound);
  }
  has("a.example.com A", {"192.0.2.1"});
  EXPECT_EQ(resolve("a.example.com", Families::kV4), Texts{"192.0.2.1"});
}

}  // namespace
}  // namespace weft::dns
