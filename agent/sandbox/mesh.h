#pragma once

#include "agent/identity/token.h"
#include "agent/sandbox/layout.h"
#include "agent/sandbox/process.h"
#include "ztunnel/runtime/loop.h"

#include <functional>
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
// One more, of somebody else.
Result<std::string> sign_token(const Layout& layout, const identity::Caller& caller);
// Signs them again when half their life is over, and lets others do so.
runtime::Task<void> renew_tokens(runtime::Loop& loop, const Layout& layout,
                                 std::function<void()> others);

// kNotFound: there is no program of this name beside weft.
Result<std::string> binary_beside_us(const char* name);

}  // namespace weft::sandbox
