#pragma once

#include "agent/compile/compiler.h"
#include "agent/source/kube/config.h"
#include "ztunnel/base/flags.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/base/result.h"

#include <string>
#include <vector>

namespace weft::control {

// The command line of `weft-agent control`, checked as far as the command line alone allows.
struct Options {
  // Exactly one of these says where objects come from.
  std::string objects_folder;
  source::kube::ConfigFlags api_server;
  std::string state_folder;
  std::string ca_certs_folder;  // empty: control makes a root of its own
  SocketAddress listen;
  std::vector<std::string> server_names;
  std::string token_key_file;
  std::string admin_socket;
  compile::MeshConfig mesh;

  static const std::vector<Flag>& known_flags();
  // kInvalid, naming the flag.
  static Result<Options> from(const Flags& flags);
};

}  // namespace weft::control
