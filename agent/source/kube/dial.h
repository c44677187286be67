#pragma once

#include "agent/source/kube/api_client.h"
#include "agent/source/kube/credentials.h"

namespace weft::source::kube {

// TCP and TLS to the server of a configuration: names are looked up in /etc/hosts and by DNS, every
// address is tried in turn. Errors say which server and what to look at.
runtime::Task<Result<std::unique_ptr<runtime::ByteStream>>> dial_server(runtime::Loop& loop,
                                                                        const ApiConfig& config,
                                                                        Credentials& credentials);

// The addresses of a host name in a text of /etc/hosts' form.
std::vector<IpAddress> addresses_in_hosts(std::string_view hosts, std::string_view name);

}  // namespace weft::source::kube
