#pragma once

#include "agent/compile/compiler.h"

#include <memory>
#include <string>
#include <vector>

namespace grpc {
class Service;
}

namespace weft::identity {
class TokenVerifier;
}

namespace weft::xds {

// The delta ADS server of control: keeps the present resources and sends each subscriber what
// changed. Thread-safe; a subscriber that does not read costs a bounded queue of names, not of
// copies, and sees the latest state when it comes back.
class Server {
 public:
  // Callers must show a token that `verifier` accepts, in "authorization: Bearer ..".
  explicit Server(std::shared_ptr<const identity::TokenVerifier> verifier);
  ~Server();

  // To be registered with a grpc::ServerBuilder; owned by this object.
  grpc::Service& service();
  // Adds, replaces and removes, in the order given; pushed at once.
  void update(std::vector<compile::Resource> changes);
  // Nothing is sent to anyone before this: the first complete set is in.
  void set_ready();
  void shutdown();  // ends every stream

  struct Subscriber {
    std::string node;
    std::string peer;
    std::string version_acked;  // the last nonce that was acknowledged
    std::string last_nack;      // why a response was refused; empty: never
  };
  std::vector<Subscriber> subscribers() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::xds
