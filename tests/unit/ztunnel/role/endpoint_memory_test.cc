#include "ztunnel/role/endpoint_memory.h"

#include <gtest/gtest.h>

namespace weft::role {
namespace {

using std::chrono::seconds;

const SocketAddress kEndpoint{IpAddress::v4(0x0af40105), 5001};
const SocketAddress kOther{IpAddress::v4(0x0af40106), 5001};

class EndpointMemoryTest : public ::testing::Test {
 protected:
  EndpointMemory memory_;
  EndpointMemory::Time now_{};
};

TEST_F(EndpointMemoryTest, OneOrTwoFailuresAreForgiven) {
  memory_.failed(kEndpoint, now_);
  memory_.failed(kEndpoint, now_);
  EXPECT_FALSE(memory_.is_avoided(kEndpoint, now_));
}

TEST_F(EndpointMemoryTest, AvoidedForAWhileThenTriedAgain) {
  for (uint32_t i = 0; i < EndpointMemory::kFailuresMin; ++i) memory_.failed(kEndpoint, now_);
  EXPECT_TRUE(memory_.is_avoided(kEndpoint, now_));
  EXPECT_FALSE(memory_.is_avoided(kOther, now_));
  EXPECT_FALSE(memory_.is_avoided(kEndpoint, now_ + EndpointMemory::kAvoidMin));
  // Still down: left alone twice as long.
  now_ += EndpointMemory::kAvoidMin;
  memory_.failed(kEndpoint, now_);
  EXPECT_TRUE(memory_.is_avoided(kEndpoint, now_ + seconds(1)));
  EXPECT_FALSE(memory_.is_avoided(kEndpoint, now_ + seconds(2)));
}

TEST_F(EndpointMemoryTest, NeverLongerThanTheBound) {
  for (int i = 0; i < 100; ++i) memory_.failed(kEndpoint, now_);
  EXPECT_TRUE(memory_.is_avoided(kEndpoint, now_ + EndpointMemory::kAvoidMax - seconds(1)));
  EXPECT_FALSE(memory_.is_avoided(kEndpoint, now_ + EndpointMemory::kAvoidMax));
}

TEST_F(EndpointMemoryTest, ASuccessWipesTheSlate) {
  for (int i = 0; i < 100; ++i) memory_.failed(kEndpoint, now_);
  memory_.succeeded(kEndpoint);
  EXPECT_FALSE(memory_.is_avoided(kEndpoint, now_));
  EXPECT_EQ(memory_.size(), 0U);
}

TEST_F(EndpointMemoryTest, IsBounded) {
  for (uint32_t i = 0; i < 3 * EndpointMemory::kEndpointsMax; ++i) {
    memory_.failed({IpAddress::v4(i), 80}, now_);
    ASSERT_LE(memory_.size(), EndpointMemory::kEndpointsMax);
  }
}

}  // namespace
}  // namespace weft::role
