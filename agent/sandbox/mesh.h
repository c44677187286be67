#pragma once

#include "agent/sandbox/layout.h"
#include "agent/sandbox/process.h"
#include "ztunnel/runtime/loop.h"

#include <string>
#include <vector>

namespace weft::sandbox {

// Weft's own processes in the sandbox: control, and each node's agent and ztunnel. They are the
// real binaries, found beside this one; kNotFound: one is not.
Result<std::vector<ProcessSpec>> mesh_processes(const Layout& layout);

// What proves to control which node a ztunnel runs on: a signed token in nodes/<node>/token.
// make_tokens() makes the key pair, too.
Result<void> make_tokens(const Layout& layout);
Result<void> sign_tokens(const Layout& layout);
// Signs them again when half their life is over.
runtime::Task<void> renew_tokens(runtime::Loop& loop, const Layout& layout);

}  // namespace weft::sandbox
