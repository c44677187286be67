#pragma once

#include "ztunnel/http/message.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/waypoint/config.h"
#include "ztunnel/waypoint/upstreams.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace weft::waypoint {

// A copy of a request, whole, for somebody whose answer nobody waits for.
struct MirrorCopy {
  // Of one worker at once: a mirror that hangs must not hold more than this, each with a body of at
  // most KeptBudget::kRequestMax.
  static constexpr size_t kAtOnceMax = 256;
  // Where the route has no timeout.
  static constexpr std::chrono::milliseconds kTimeout{15'000};

  std::shared_ptr<const Config> config;  // keeps what `destination` is of
  const weft::route::Destination* destination = nullptr;
  http::RequestHead head;
  std::string body;
  std::chrono::milliseconds timeout{0};
};

http::RequestHead copy_of(const http::RequestHead& head);

// Sends it, reads the answer and forgets it. `upstreams` outlives it. `running` is one less when it
// has ended.
runtime::Task<void> send_mirror(runtime::Loop& loop, Upstreams& upstreams, MirrorCopy copy,
                                std::shared_ptr<size_t> running);

}  // namespace weft::waypoint
