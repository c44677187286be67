#include "agent/control/kube/root_secret.h"

#include "agent/control/kube/ca_secret.h"
#include "agent/objects/tree.h"
#include "tests/support/run_task.h"
#include "tests/unit/agent/control/kube/fake_api.h"
#include "ztunnel/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <map>

namespace weft::control::kube {
namespace {

using identity::CaFiles;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string base64(const std::string& text) {
  std::string out(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  out.resize(static_cast<size_t>(size));
  return out;
}

std::string stored(const CaFiles& files) {
  return R"({"kind":"Secret","data":{"ca-key.pem":")" + base64(files.key) + R"(","ca-cert.pem":")" +
         base64(files.certificate) + R"(","root-cert.pem":")" + base64(files.roots) + R"("}})";
}

CaFiles new_root() {
  return *identity::make_root_files("cluster.local", std::chrono::system_clock::now());
}

// Secrets of one namespace, by name; what is created is kept as an API server keeps it.
class Secrets : public ::testing::Test {
 protected:
  Secrets() {
    log::set_sink([this](std::string_view line) { log_ += line; });
    api_.answer = [this](const FakeApi::Request& request) { return answer(request); };
  }
  ~Secrets() override { log::set_sink(nullptr); }

  Result<FakeApi::Response> answer(const FakeApi::Request& request) {
    ++requests_;
    if (is_away_) return fail(Code::kUnavailable, "connection refused");
    if (request.path.find("configmaps") != std::string::npos) {
      return config_map_.empty() ? answered(404) : answered(200, config_map_);
    }
    if (request.method == "POST") {
      ++created_;
      if (secrets_.contains("weft-ca")) return answered(409);
      const auto tree = *objects::parse_json(request.body);
      const auto* data = tree.find("stringData");
      secrets_["weft-ca"] = {.key = std::string(data->text_of("ca-key.pem")),
                             .certificate = std::string(data->text_of("ca-cert.pem")),
                             .chain = "",
                             .roots = std::string(data->text_of("root-cert.pem"))};
      return answered(201);
    }
    const auto found = secrets_.find(request.path.substr(request.path.rfind('/') + 1));
    return found == secrets_.end() ? answered(404) : answered(200, stored(found->second));
  }

  std::unique_ptr<RootSecret> make() {
    return std::make_unique<RootSecret>(
        api_,
        RootSecret::Names{.ns = "weft", .brought = "cacerts", .trust_domain = "cluster.local"},
        RootSecret::Events{
            .on_authority = [this](auto authority) { authority_ = std::move(authority); },
            .on_change = [this] { ++changes_; },
            .on_error = [this](const Error& e) { errors_.push_back(e.to_string()); },
            .leads = [this] { return leads_; }},
        std::chrono::milliseconds(1));
  }
  // Lets it look until it has asked this often more.
  runtime::Task<void> look_for(RootSecret& secret, size_t requests) {
    const size_t end = requests_ + requests;
    runtime::TaskScope tasks;
    tasks.spawn(secret.run());
    while (requests_ < end) co_await loop_->sleep(std::chrono::milliseconds(1));
    secret.stop();
    co_await tasks.join();
  }
  void look(size_t requests = 8) {
    const auto secret = make();
    testing::run(*loop_, look_for(*secret, requests));
  }

  std::unique_ptr<runtime::Loop> loop_ = *runtime::Loop::create_best();
  FakeApi api_{*loop_};
  std::map<std::string, CaFiles> secrets_;
  std::string config_map_;
  std::string log_;
  bool leads_ = true;
  bool is_away_ = false;
  size_t requests_ = 0;
  size_t created_ = 0;
  size_t changes_ = 0;
  std::vector<std::string> errors_;
  std::unique_ptr<identity::SuppliedAuthority> authority_;
};

TEST_F(Secrets, TheLeaderMakesOneAndItsKeyIsNotLogged) {
  look();
  ASSERT_TRUE(authority_);
  EXPECT_EQ(authority_->roots_pem(), secrets_.at("weft-ca").roots);
  EXPECT_EQ(created_, 1U);
  EXPECT_THAT(errors_, IsEmpty());
  EXPECT_THAT(log_, HasSubstr("a new root CA was made"));
  EXPECT_THAT(log_, Not(HasSubstr("PRIVATE")));
}

TEST_F(Secrets, TheOthersWaitForIt) {
  leads_ = false;
  look();
  EXPECT_FALSE(authority_);
  EXPECT_EQ(created_, 0U);
  secrets_["weft-ca"] = new_root();
  look();
  EXPECT_TRUE(authority_);
}

TEST_F(Secrets, AnOperatorsOwnComesFirst) {
  secrets_["weft-ca"] = new_root();
  secrets_["cacerts"] = new_root();
  look();
  EXPECT_EQ(authority_->roots_pem(), secrets_["cacerts"].roots);
}

TEST_F(Secrets, NoneIsMadeWhereTheMeshHadARoot) {
  config_map_ = R"({"metadata":{"managedFields":[{"manager":"weft-control"}]}})";
  look();
  EXPECT_FALSE(authority_);
  EXPECT_EQ(created_, 0U);
  ASSERT_EQ(errors_.size(), 1U);
  EXPECT_THAT(errors_[0], HasSubstr("Secret weft/weft-ca is gone"));
  config_map_ = R"({"metadata":{"managedFields":[{"manager":"pilot-discovery"}]}})";
  look();
  EXPECT_TRUE(authority_);
}

TEST_F(Secrets, NoneIsMadeWhileItIsNotKnownWhetherThereIsOne) {
  is_away_ = true;
  look();
  EXPECT_EQ(created_, 0U);
}

// What happens to a Secret in use, one thing after the other.
runtime::Task<void> until(runtime::Loop& loop, std::function<bool()> done) {
  while (!done()) co_await loop.sleep(std::chrono::milliseconds(1));
}

runtime::Task<void> in_turn(
    runtime::Loop& loop, RootSecret& secret,
    std::vector<std::pair<std::function<void()>, std::function<bool()>>> steps) {
  runtime::TaskScope tasks;
  tasks.spawn(secret.run());
  for (auto& [what, done] : steps) {
    what();
    co_await until(loop, done);
  }
  secret.stop();
  co_await tasks.join();
}

TEST_F(Secrets, LossAndChangeAreToldAndNotBlindlyFollowed) {
  const CaFiles first = new_root();
  const CaFiles second = new_root();
  CaFiles both = first;
  both.roots += second.roots;
  CaFiles turned = second;
  turned.roots += first.roots;
  secrets_["weft-ca"] = first;
  const auto secret = make();
  testing::run(
      *loop_,
      in_turn(*loop_, *secret,
              {{[] {}, [this] { return authority_ != nullptr; }},
               {[&] { secrets_.erase("weft-ca"); }, [this] { return errors_.size() == 1; }},
               {[&] { secrets_["weft-ca"] = second; }, [this] { return errors_.size() == 2; }},
               {[&] { secrets_["weft-ca"] = both; }, [this] { return changes_ == 1; }},
               {[&] { secrets_["weft-ca"] = turned; }, [this] { return changes_ == 2; }},
               {[&] { secrets_["cacerts"] = first; }, [this] { return errors_.size() == 3; }}}));
  EXPECT_THAT(errors_[0], HasSubstr("is gone: control goes on"));
  EXPECT_THAT(errors_[1], HasSubstr("none of its roots is one that the mesh trusts"));
  EXPECT_THAT(errors_[2], HasSubstr("cacerts is there, and weft-ca is in force"));
  EXPECT_TRUE(authority_->roots_pem().starts_with(second.certificate));
  EXPECT_EQ(created_, 0U);
  for (const std::string& error : errors_) EXPECT_THAT(error, Not(HasSubstr("PRIVATE")));
}

}  // namespace
}  // namespace weft::control::kube
