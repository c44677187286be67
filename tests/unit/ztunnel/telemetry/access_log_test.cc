#include "ztunnel/telemetry/access_log.h"

#include "ztunnel/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::telemetry {
namespace {

// Keeps what is logged, without the time in front.
class AccessLogTest : public ::testing::Test {
 public:
  AccessLogTest() {
    log::set_sink([this](std::string_view line) { lines_ += line.substr(line.find('\t') + 1); });
  }
  ~AccessLogTest() override {
    log::set_sink(nullptr);
    log::set_level(log::Level::kInfo);
  }

  static AccessRecord record() {
    AccessRecord record;
    record.source = {SocketAddress::parse("10.244.0.33:50676").value(), "curl-1", "default",
                     SpiffeId{"cluster.local", "default", "curl"}, "Kubernetes"};
    record.destination = {SocketAddress::parse("10.244.0.29:15008").value(), "page-1", "shop",
                          SpiffeId{"cluster.local", "shop", "page"}, "Kubernetes"};
    record.hbone_address = "10.244.0.29:9080";
    record.destination_service = "page.shop.svc.cluster.local";
    record.bytes_sent = 84;
    record.bytes_received = 358;
    record.duration = std::chrono::milliseconds(15);
    return record;
  }

 protected:
  std::string lines_;
};

TEST_F(AccessLogTest, WritesZtunnelsKeysInItsOrder) {
  log_connection_complete(record());
  EXPECT_EQ(lines_,
            "info\taccess\tconnection complete src.addr=10.244.0.33:50676 src.workload=\"curl-1\" "
            "src.namespace=\"default\" src.identity=\"spiffe://cluster.local/ns/default/sa/curl\" "
            "src.cluster=\"Kubernetes\" dst.addr=10.244.0.29:15008 "
            "dst.hbone_addr=10.244.0.29:9080 dst.service=\"page.shop.svc.cluster.local\" "
            "dst.workload=\"page-1\" dst.namespace=\"shop\" "
            "dst.identity=\"spiffe://cluster.local/ns/shop/sa/page\" dst.cluster=\"Kubernetes\" "
            "direction=\"outbound\" bytes_sent=84 bytes_recv=358 duration=\"15ms\"\n");
}

TEST_F(AccessLogTest, LeavesOutWhatIsAbsentAndTellsAnError) {
  AccessRecord failed;
  failed.source.address = SocketAddress::parse("10.0.0.1:1").value();
  failed.destination.address = SocketAddress::parse("[fd00::2]:80").value();
  failed.direction = AccessRecord::Direction::kInbound;
  failed.error = Error(Code::kRefused, "connecting", Error(Code::kRefused, "nobody \"there\""));
  log_connection_complete(failed);
  EXPECT_EQ(lines_,
            "error\taccess\tconnection complete src.addr=10.0.0.1:1 dst.addr=[fd00::2]:80 "
            "direction=\"inbound\" bytes_sent=0 bytes_recv=0 duration=\"0ms\" "
            "error=\"connecting: nobody \\\"there\\\"\"\n");
}

TEST_F(AccessLogTest, APeerCannotForgeALine) {
  AccessRecord hostile = record();
  hostile.hbone_address = "1.2.3.4:80\nerror\taccess\tforged x=\"";
  hostile.source.workload = "a\" dst.identity=\"spiffe://forged\n";
  log_connection_complete(hostile);
  EXPECT_EQ(std::ranges::count(lines_, '\n'), 1);
  EXPECT_THAT(lines_, ::testing::HasSubstr("src.workload=\"a\\\" dst.identity=\\\""));
}

TEST_F(AccessLogTest, TellsAnOpenedConnectionOnlyAtDebug) {
  log_connection_opened(record());
  EXPECT_EQ(lines_, "");
  log::set_level(log::Level::kDebug);
  log_connection_opened(record());
  EXPECT_THAT(lines_, ::testing::StartsWith("debug\taccess\tconnection opened src.addr="));
  EXPECT_THAT(lines_, ::testing::EndsWith("direction=\"outbound\"\n"));
}

TEST_F(AccessLogTest, TellsAnEarlyFailure) {
  log_connection_failed(SocketAddress::parse("10.0.0.1:1").value(),
                        SocketAddress::parse("10.0.0.2:80").value(),
                        AccessRecord::Direction::kOutbound, Error(Code::kTimeout, "too late"));
  EXPECT_EQ(lines_,
            "warn\taccess\tconnection failed src.addr=10.0.0.1:1 dst.addr=10.0.0.2:80 "
            "direction=\"outbound\" error=\"too late\"\n");
}

}  // namespace
}  // namespace weft::telemetry
