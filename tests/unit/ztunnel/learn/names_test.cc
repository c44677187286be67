#include "ztunnel/learn/names.h"

#include "ztunnel/learn/state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::learn {
namespace {

std::shared_ptr<const Service> service(const std::string& ns, const std::string& hostname) {
  auto made = std::make_shared<Service>();
  made->name = "db";
  made->ns = ns;
  made->hostname = hostname;
  return made;
}

std::shared_ptr<const Workload> pod(const std::string& ns, const std::string& hostname,
                                    const std::string& subdomain) {
  auto made = std::make_shared<Workload>();
  made->ns = ns;
  made->pod_hostname = hostname;
  made->pod_subdomain = subdomain;
  return made;
}

TEST(NameTableTest, AServiceIsFoundByItsHostNameWhateverItsCase) {
  NameTable table;
  const auto one = service("shop", "Db.Example.com.");
  const auto other = service("bank", "db.example.com");
  table.add(one);
  table.add(other);
  EXPECT_EQ(table.service("db.example.com", "shop"), one);
  EXPECT_EQ(table.service("db.example.com", "elsewhere"), other);
  EXPECT_EQ(table.service("db.example.org", "shop"), nullptr);
  table.remove(other);
  EXPECT_EQ(table.service("db.example.com", "elsewhere"), one);
  table.remove(one);
  table.remove(one);
  EXPECT_EQ(table.service("db.example.com", "shop"), nullptr);
}

TEST(NameTableTest, APodIsFoundByItsNameBelowTheServiceOfItsNamespace) {
  NameTable table;
  const auto db = service("shop", "db.shop.svc.cluster.local");
  const auto db_0 = pod("shop", "db-0", "db");
  table.add(db_0);
  table.add(pod("bank", "db-0", "db"));
  table.add(pod("shop", "", "db"));
  table.add(pod("shop", "db-1", ""));
  EXPECT_THAT(table.pods("db-0", *db), testing::ElementsAre(db_0));
  EXPECT_THAT(table.pods("db-1", *db), testing::IsEmpty());
  EXPECT_THAT(table.pods("", *db), testing::IsEmpty());
  table.remove(db_0);
  EXPECT_THAT(table.pods("db-0", *db), testing::IsEmpty());
}

}  // namespace
}  // namespace weft::learn
