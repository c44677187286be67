#include "ztunnel/role/handshakes.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace weft::role {
namespace {

using runtime::Buffer;
using runtime::Task;

class Waiting final : public runtime::ByteStream {
 public:
  Task<Result<Buffer>> read() override { co_return Buffer(); }
  Task<Result<void>> write(Buffer) override { co_return Result<void>(); }
  Task<Result<void>> shutdown_write() override { co_return Result<void>(); }
  void abort() override { aborted = true; }
  bool aborted = false;
};

TEST(Handshakes, TheOneThatWaitsLongestGivesWay) {
  Handshakes all;
  std::vector<std::unique_ptr<Waiting>> streams;
  std::vector<std::unique_ptr<Handshakes::Place>> places;
  const auto arrive = [&] {
    streams.push_back(std::make_unique<Waiting>());
    places.push_back(std::make_unique<Handshakes::Place>(all, *streams.back()));
  };
  for (size_t i = 0; i < Handshakes::kMax; ++i) arrive();
  EXPECT_FALSE(streams[0]->aborted);
  places[1].reset();  // done: it is not asked any more, and there is room for another
  arrive();
  EXPECT_FALSE(streams[0]->aborted);
  arrive();
  EXPECT_TRUE(streams[0]->aborted);
  EXPECT_TRUE(places[0]->gave_way());
  arrive();
  EXPECT_FALSE(streams[1]->aborted);
  EXPECT_TRUE(streams[2]->aborted);
  EXPECT_FALSE(streams.back()->aborted);
  EXPECT_EQ(all.waiting(), Handshakes::kMax);
  places.clear();  // those that gave way, and the others
  EXPECT_EQ(all.waiting(), 0U);
}

}  // namespace
}  // namespace weft::role
