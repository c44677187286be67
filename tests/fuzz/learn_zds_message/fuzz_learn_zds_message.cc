// Arbitrary bytes from the node agent, with a netns and two listeners: decoded or refused with a
// reason, and every descriptor closed in the end.
#include "ztunnel/base/check.h"
#include "ztunnel/learn/zds_message.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>

namespace {

weft::Fd listener() {
  weft::Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(listen(fd.get(), 1) == 0);
  return fd;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft;
  if (size == 0) return 0;
  const size_t count = data[0] % 5;
  learn::Packet packet;
  packet.bytes.assign(reinterpret_cast<const char*>(data) + 1, size - 1);
  int highest = -1;
  for (size_t i = 0; i < count; ++i) {
    packet.fds.push_back(i == 0 ? Fd(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) : listener());
    highest = packet.fds.back().get();
  }
  {
    const auto message = learn::decode_zds(std::move(packet));
    if (!message) {
      CHECK(!message.error().message.empty());
    } else if (const auto* add = std::get_if<learn::AddPod>(&*message)) {
      const learn::Pod& pod = *add->pod;
      CHECK(pod.netns && !pod.uid.empty());
      // All that it needs, or nothing: then it opens sockets of its own.
      const bool has_listeners = pod.listener(learn::ListenerKind::kInboundV4) &&
                                 pod.listener(learn::ListenerKind::kOutboundV4);
      CHECK(has_listeners != pod.redirected);
    }
  }
  if (highest >= 0) CHECK(fcntl(highest, F_GETFD) == -1);
  return 0;
}
