#pragma once

#include "ztunnel/role/connections.h"
#include "ztunnel/runtime/loop.h"

#include <string>
#include <vector>

namespace weft::node {

class PodProxy;
class Worker;

// Adds a pod's. On its worker's thread.
void list_connections(PodProxy& proxy, const std::string& uid, role::Connections& into);

// Asks every worker; one that does not answer within two seconds is left out. On `loop`.
runtime::Task<role::Connections> gather_connections(runtime::Loop& loop,
                                                    const std::vector<Worker*>& workers);

}  // namespace weft::node
