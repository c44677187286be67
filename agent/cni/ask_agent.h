#pragma once

#include "agent/cni/plugin.h"

namespace weft::cni {

// Asks the node agent and waits for its answer, blocking. kTimeout, or what kept it from answering.
// Where the question insists, an agent that is away or goes meanwhile is asked again; a question
// may be put twice.
Result<std::string> ask_agent(const Question& question);

}  // namespace weft::cni
