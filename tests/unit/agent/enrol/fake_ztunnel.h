#pragma once

#include "proto/zds.pb.h"
#include "ztunnel/base/fd.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

// The other end of ZDS, written from proto/zds.proto and unix(7) alone: blocking, with a bound on
// every wait.

namespace weft::enrol::testing {

constexpr std::string_view kPlainHello("\x08\x01", 2);
// Fields 1000 and 1001: tag bytes c0 3e and c8 3e.
constexpr std::string_view kHelloForListeners("\x08\x01\xc0\x3e\x01", 5);
constexpr std::string_view kHelloForParking("\x08\x01\xc8\x3e\x01", 5);

class FakeZtunnel {
 public:
  struct Message {
    istio::workload::zds::WorkloadRequest request;
    std::vector<Fd> descriptors;
  };

  explicit FakeZtunnel(const std::string& path);  // connects; fails the test if it cannot
  void say(std::string_view bytes);
  void say_with(std::string_view bytes, int descriptor);
  void ack(const std::string& error = "");
  std::optional<Message> next();  // nothing: closed, or nothing came within 5 s
  bool is_closed();               // within 5 s
  int fd() const { return socket_.get(); }

 private:
  Fd socket_;
};

// A whole ztunnel's outside, for a process of its own: asks for listeners, acknowledges, answers
// every connection of every listener by `greeting` and a close, and connects to the agent again
// when it loses it, keeping its listeners meanwhile. Never returns.
[[noreturn]] void serve_as_ztunnel(const std::string& path, const std::string& greeting);

}  // namespace weft::enrol::testing
