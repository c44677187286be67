#pragma once

#include "ztunnel/learn/seqpacket.h"
#include "ztunnel/learn/view.h"

#include <memory>
#include <string>
#include <variant>

// What the node agent says, checked.

namespace weft::learn {

struct AddPod {
  std::shared_ptr<const Pod> pod;
};
struct KeepPod {
  std::string uid;
};
struct RemovePod {
  std::string uid;
};
struct SnapshotSent {};
struct ParkedMemory {
  Fd memfd;
};
using ZdsMessage = std::variant<AddPod, KeepPod, RemovePod, SnapshotSent, ParkedMemory>;

// Takes the descriptors over; those of a refused packet are closed. kInvalid names what was
// expected: the number of descriptors (a netns, then a socket for each kind of listener named),
// what each is (a network namespace; a socket that listens, or for DNS one of datagrams), the
// names.
Result<ZdsMessage> decode_zds(Packet packet);

}  // namespace weft::learn
