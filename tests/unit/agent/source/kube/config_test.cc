#include "agent/source/kube/config.h"

#include "agent/source/kube/api_client.h"
#include "agent/source/kube/base64.h"
#include "agent/source/kube/dial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

namespace weft::source::kube {
namespace {

using testing::HasSubstr;

class Config : public testing::Test {
 protected:
  Config() : folder_(testing::TempDir() + "weft-kubeconfig") {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~Config() override { std::filesystem::remove_all(folder_); }

  std::string put(const std::string& name, const std::string& text) const {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path) << text;
    return path;
  }
  // A kubeconfig with this cluster and user, as YAML flow maps.
  std::string write(const std::string& cluster, const std::string& user = "{}") const {
    return put(
        "config",
        "{apiVersion: v1, kind: Config, current-context: dev, clusters: [{name: c, cluster: " +
            cluster + "}], users: [{name: u, user: " + user +
            "}], contexts: [{name: dev, context: {cluster: c, user: u, namespace: "
            "shop}}, {name: lost, context: {cluster: nowhere}}]}");
  }
  void expect_refused(const std::string& cluster, const std::string& user,
                      const std::string& words) const {
    const auto config = kubeconfig(write(cluster, user));
    ASSERT_FALSE(config.has_value()) << words;
    EXPECT_THAT(config.error().to_string(), HasSubstr(words));
    EXPECT_THAT(config.error().to_string(), HasSubstr(folder_ + "/config"));
  }
  std::string folder_;
};

TEST_F(Config, ReadsWhatKubectlReads) {
  put("ca.crt", "roots\n");
  put("client.crt", "chain");
  put("client.key", "key");
  const auto config = kubeconfig(
      write("{server: 'https://[fd00::1]:6443/k8s/c-1/', certificate-authority: ca.crt, "
            "tls-server-name: kubernetes}",
            "{client-certificate: client.crt, client-key: client.key, tokenFile: client.key}"));
  ASSERT_TRUE(config.has_value()) << config.error().to_string();
  EXPECT_EQ(config->host, "fd00::1");
  EXPECT_EQ(config->port, 6443);
  EXPECT_EQ(config->authority(), "[fd00::1]:6443");
  EXPECT_EQ(config->path_prefix, "/k8s/c-1");
  EXPECT_EQ(config->server_name, "kubernetes");
  EXPECT_EQ(config->ns, "shop");
  EXPECT_EQ(config->roots.read().value(), "roots");
  EXPECT_EQ(config->client_certificate.read().value(), "chain");
  EXPECT_EQ(config->token.read().value(), "key");
  put("client.key", "rotated");
  EXPECT_EQ(config->token.read().value(), "rotated") << "files are read when they are used";
}

TEST_F(Config, ReadsDataAndExec) {
  const auto config = kubeconfig(
      write("{server: 'https://api.example.com', certificate-authority-data: cm9vdHM=}",
            "{exec: {apiVersion: client.authentication.k8s.io/v1, command: ./login, args: [a, b], "
            "env: [{name: X, value: y}], provideClusterInfo: true, installHint: get it}}"));
  ASSERT_TRUE(config.has_value()) << config.error().to_string();
  EXPECT_EQ(config->port, 443);
  EXPECT_EQ(config->authority(), "api.example.com");
  EXPECT_EQ(config->roots.read().value(), "roots");
  ASSERT_TRUE(config->exec.has_value());
  EXPECT_EQ(config->exec->command, folder_ + "/./login");
  EXPECT_THAT(config->exec->arguments, testing::ElementsAre("a", "b"));
  EXPECT_TRUE(config->exec->provide_cluster_info);
}

TEST_F(Config, MistakesNameTheFileTheFieldAndWhatToDo) {
  const std::string good = "{server: 'https://a:1'}";
  expect_refused("{server: 'http://a:1'}", "{}", "clusters[c].cluster.server: expected https://");
  expect_refused("{server: 'https://a:99999'}", "{}", "server: expected a port");
  expect_refused("{server: 'https://u@a'}", "{}", "server: expected https://HOST");
  expect_refused("{server: 'https://a', proxy-url: 'http://p'}", "{}", "proxy-url");
  expect_refused("{server: 'https://a', certificate-authority-data: '*'}", "{}", "expected base64");
  expect_refused("{server: 'https://a', certificate-authority: gone.crt}", "{}", "gone.crt");
  expect_refused(
      "{server: 'https://a', insecure-skip-tls-verify: true, certificate-authority-data: cm9vdHM=}",
      "{}", "cannot stand beside");
  expect_refused(good, "{client-certificate-data: cm9vdHM=}", "need each other");
  expect_refused(good, "{username: a, password: b}", "no passwords any more");
  expect_refused(good, "{auth-provider: {name: gcp}}", "use exec");
  expect_refused(good, "{as: admin}", "impersonation");
  expect_refused(good, "{tokenFile: none}", "tokenFile");
  expect_refused(good, "{exec: {apiVersion: v9, command: x}}", "exec.apiVersion: expected");
  expect_refused(good, "{exec: {apiVersion: client.authentication.k8s.io/v1}}",
                 "expected a program");
}

TEST_F(Config, ContextsMustBeThere) {
  const std::string file = write("{server: 'https://a'}");
  EXPECT_THAT(kubeconfig(file, "prod").error().to_string(),
              HasSubstr("contexts: there is none named \"prod\""));
  EXPECT_THAT(kubeconfig(file, "lost").error().to_string(),
              HasSubstr("clusters: there is none named \"nowhere\""));
  EXPECT_THAT(kubeconfig(put("other", "kind: Pod")).error().to_string(),
              HasSubstr("is this a kubeconfig?"));
  EXPECT_THAT(kubeconfig(put("broken", "a: [")).error().to_string(), HasSubstr("broken"));
  EXPECT_EQ(kubeconfig(folder_ + "/none").error().code, Code::kNotFound);
  EXPECT_THAT(kubeconfig(put("none-set", "kind: Config")).error().to_string(),
              HasSubstr("current-context: is not set"));
}

TEST_F(Config, InClusterIsTheEnvironmentAndTheServiceAccount) {
  std::map<std::string, std::string> variables;
  const Environment environment{
      .variable = [&](const std::string& name) { return variables[name]; },
      .service_account_folder = folder_};
  EXPECT_THAT(in_cluster_config(environment).error().to_string(), HasSubstr("--kubeconfig"));
  variables = {{"KUBERNETES_SERVICE_HOST", "10.96.0.1"}, {"KUBERNETES_SERVICE_PORT", "443"}};
  EXPECT_THAT(in_cluster_config(environment).error().to_string(),
              HasSubstr("automountServiceAccountToken"));
  put("ca.crt", "roots");
  put("token", "t\n");
  put("namespace", "weft-system");
  const auto config = in_cluster_config(environment);
  ASSERT_TRUE(config.has_value()) << config.error().to_string();
  EXPECT_EQ(config->host, "10.96.0.1");
  EXPECT_EQ(config->ns, "weft-system");
  EXPECT_EQ(config->token.read().value(), "t");
  variables["KUBERNETES_SERVICE_PORT"] = "https";
  EXPECT_THAT(in_cluster_config(environment).error().to_string(), HasSubstr("expected a port"));
}

TEST(ConfigFlags, ExactlyOneSource) {
  EXPECT_TRUE(check_one_source("dir", {}).has_value());
  EXPECT_TRUE(check_one_source("", {.kubeconfig = "f", .context = "c"}).has_value());
  EXPECT_TRUE(
      check_one_source("", {.kubeconfig = {}, .context = {}, .in_cluster = true}).has_value());
  EXPECT_THAT(check_one_source("", {}).error().message,
              HasSubstr("expected exactly one of --objects"));
  EXPECT_THAT(check_one_source("dir", {.kubeconfig = {}, .context = {}, .in_cluster = true})
                  .error()
                  .message,
              HasSubstr("got 2"));
  EXPECT_THAT(check_one_source("dir", {.kubeconfig = {}, .context = "c"}).error().message,
              HasSubstr("--context"));
}

TEST(Base64, DecodesWhatRfc4648Says) {
  EXPECT_EQ(decode_base64("").value(), "");
  EXPECT_EQ(decode_base64("Zg==").value(), "f");
  EXPECT_EQ(decode_base64("Zm8=").value(), "fo");
  EXPECT_EQ(decode_base64("Zm9v\nYmFy").value(), "foobar");
  EXPECT_EQ(decode_base64("/+8=").value(), "\xff\xef");
  for (const char* wrong : {"Z", "Zg=", "Zg", "Zg===", "Z===", "Zm9v=", "Zg==Zg==", "Zm9*"}) {
    EXPECT_FALSE(decode_base64(wrong).has_value()) << wrong;
  }
}

TEST(Hosts, AreFoundByAnyOfTheirNames) {
  const std::string hosts =
      "# a comment\n127.0.0.1 localhost\n10.0.0.1\tapi.example.com api # api2\n::1 "
      "localhost\nnot-an-ip api\n";
  EXPECT_EQ(addresses_in_hosts(hosts, "localhost").size(), 2U);
  EXPECT_EQ(addresses_in_hosts(hosts, "api").at(0).to_string(), "10.0.0.1");
  EXPECT_TRUE(addresses_in_hosts(hosts, "api2").empty());
}

TEST(Query, IsEscaped) {
  EXPECT_EQ(query({{"fieldSelector", "spec.nodeName=a b"}, {"limit", "500"}}),
            "fieldSelector=spec.nodeName%3Da%20b&limit=500");
}

}  // namespace
}  // namespace weft::source::kube
