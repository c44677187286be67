#include "agent/control/kube/ca_secret.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::control::kube {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(CaSecret, ReadsIstiosForm) {
  // "key", "cert", "root\n"
  const auto files =
      read_ca_secret(R"({"kind":"Secret","data":{"ca-key.pem":"a2V5","ca-cert.pem":"Y2VydA==",)"
                     R"("root-cert.pem":"cm9vdAo="}})");
  ASSERT_TRUE(files) << files.error().to_string();
  EXPECT_EQ(files->key, "key");
  EXPECT_EQ(files->certificate, "cert");
  EXPECT_EQ(files->roots, "root\n");
  EXPECT_TRUE(files->chain.empty());
}

TEST(CaSecret, NamesWhatIsWrongAndQuotesNothing) {
  const auto message = [](const std::string& text) {
    const auto read = read_ca_secret(text);
    EXPECT_FALSE(read) << text;
    return read ? std::string() : read.error().to_string();
  };
  EXPECT_THAT(message(R"({"kind":"Secret","data":{}})"), HasSubstr("data.ca-key.pem is missing"));
  const std::string bad = message(R"({"kind":"Secret","data":{"ca-key.pem":"%secret%"}})");
  EXPECT_THAT(bad, HasSubstr("data.ca-key.pem is not base64"));
  EXPECT_THAT(bad, Not(HasSubstr("%secret%")));
  EXPECT_THAT(message(R"({"kind":"Secret","data":{"ca-key.pem":"secret)"),
              Not(HasSubstr("secret")));
  for (const char* text : {"", "[]", R"({"kind":"ConfigMap","data":{}})", R"({"kind":"Secret"})"}) {
    message(text);
  }
}

TEST(CaSecret, IsWrittenAsItIsRead) {
  const std::string text = new_ca_secret(
      "weft", "weft-ca", {.key = "k\n", .certificate = "c", .chain = "", .roots = "r"});
  EXPECT_THAT(
      text,
      HasSubstr(R"("stringData":{"ca-key.pem":"k\n","ca-cert.pem":"c","root-cert.pem":"r"})"));
  EXPECT_THAT(text, HasSubstr(R"("namespace":"weft")"));
}

TEST(WasWrittenBy, LooksAtManagedFields) {
  const std::string map =
      R"({"metadata":{"managedFields":[{"manager":"kubectl"},{"manager":"us"}]}})";
  EXPECT_TRUE(was_written_by(map, "us"));
  EXPECT_FALSE(was_written_by(map, "them"));
  EXPECT_FALSE(was_written_by("{}", "us"));
  EXPECT_FALSE(was_written_by("", "us"));
}

}  // namespace
}  // namespace weft::control::kube
