#include "agent/objects/crd/definition.h"

#include "agent/objects/kinds.h"
#include "proto/crd/networking.pb.h"
#include "proto/crd/rules.pb.h"
#include "proto/crd/security.pb.h"

#include <gmock/gmock.h>

namespace weft::objects {
namespace {

using testing::HasSubstr;

template <class Message>
std::string schema_text() {
  return write_json(schema_of(*Message::descriptor()));
}

TEST(Definition, OfAKind) {
  const Tree tree = custom_resource_definition(*crd::security::PeerAuthentication::descriptor());
  EXPECT_EQ(tree.find("metadata")->text_of("name"), "peerauthentications.security.istio.io");
  const Tree& spec = *tree.find("spec");
  EXPECT_EQ(write_json(*spec.find("names")),
            R"({"kind":"PeerAuthentication","listKind":"PeerAuthenticationList",)"
            R"("plural":"peerauthentications","singular":"peerauthentication","shortNames":["pa"],)"
            R"("categories":["istio-io","security-istio-io"]})");
  ASSERT_EQ(spec.find("versions")->items.size(), 2U);
  EXPECT_EQ(spec.find("versions")->items[0].text_of("name"), "v1");
  EXPECT_TRUE(spec.find("versions")->items[0].find("storage")->boolean);
  EXPECT_FALSE(spec.find("versions")->items[1].find("storage")->boolean);
}

TEST(Definition, FieldsOfEveryType) {
  EXPECT_EQ(schema_text<crd::networking::TcpProbe>(),
            R"({"type":"object","properties":{"host":{"type":"string"},)"
            R"("port":{"type":"integer","minimum":1,"maximum":65535}},"required":["port"]})");
  EXPECT_EQ(
      schema_text<crd::networking::StringMatch>(),
      R"({"type":"object","properties":{"exact":{"type":"string"},"prefix":{"type":"string"},)"
      R"("regex":{"type":"string"}},"oneOf":[{"not":{"anyOf":[{"required":["exact"]},)"
      R"({"required":["prefix"]},{"required":["regex"]}]}},{"required":["exact"]},)"
      R"({"required":["prefix"]},{"required":["regex"]}]})");
  const std::string hash = schema_text<crd::networking::ConsistentHash>();
  EXPECT_THAT(hash, HasSubstr(R"("allOf":[{"oneOf":[)"));  // two oneofs
  EXPECT_THAT(schema_text<crd::networking::HttpRetry>(),
              HasSubstr("\"perTryTimeout\":{\"type\":\"string\",\"x-kubernetes-validations\":[{"
                        "\"rule\":\"duration(self) >= duration('1ms')\""));
  EXPECT_THAT(schema_text<crd::networking::HttpRoute>(),
              HasSubstr(R"("mirror_percent":{"type":"integer","minimum":0,"maximum":4294967295,)"
                        R"("nullable":true},"mirrorPercent":)"));
}

// What is known of kinds at run time and what the API server is told comes from one place.
TEST(Definition, EveryMeshKindHasOne) {
  size_t count = 0;
  for (const Kind& kind : kinds()) {
    if (!kind.group.ends_with(".istio.io")) continue;
    ++count;
    const auto& rules = kind.prototype->GetDescriptor()->options().GetExtension(crd::kind);
    EXPECT_EQ(rules.group(), kind.group);
    EXPECT_FALSE(rules.plural().empty()) << kind.name;
    const Tree tree = custom_resource_definition(*kind.prototype->GetDescriptor());
    EXPECT_EQ(tree.find("spec")->find("versions")->items.size(), kind.versions.size());
  }
  EXPECT_EQ(count, 15U);
}

}  // namespace
}  // namespace weft::objects
