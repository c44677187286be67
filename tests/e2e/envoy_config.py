"""Envoy's configuration as an HBONE client, as an HBONE server, and as an application behind PROXY protocol."""

import json

TYPES = "type.googleapis.com/envoy.extensions"
ADMIN_PORT = 9901


def tls(folder, name, kind, peer=None):
    """TLS 1.3 with NAME.pem; `peer`: the SPIFFE id that the other side must prove."""
    validation = {"trusted_ca": {"filename": f"{folder}/roots.pem"}}
    if peer:
        validation["match_typed_subject_alt_names"] = [{"san_type": "URI", "matcher": {"exact": peer}}]
    context = {
        "@type": f"{TYPES}.transport_sockets.tls.v3.{kind}TlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [{"certificate_chain": {"filename": f"{folder}/{name}.pem"},
                                  "private_key": {"filename": f"{folder}/{name}.pem"}}],
            "validation_context": validation}}
    if kind == "Downstream":
        context["require_client_certificate"] = True
    return {"name": "tls", "typed_config": context}


def address(ip, port):
    return {"socket_address": {"address": ip, "port_value": port}}


def log(path, form):
    return [{"name": "file", "typed_config": {
        "@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog", "path": path,
        "log_format": {"text_format_source": {"inline_string": form + "\n"}}}}]


def cluster(name, ip, port, transport=None):
    made = {"name": name, "type": "STATIC", "connect_timeout": "5s",
            "load_assignment": {"cluster_name": name, "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(ip, port)}}]}]}}
    if transport:
        made["transport_socket"] = transport
        options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        made["typed_extension_protocol_options"] = {options: {
            "@type": f"type.googleapis.com/{options}", "explicit_http_config": {"http2_protocol_options": {}}}}
    return made


def whole(listeners, clusters):
    return json.dumps({"admin": {"address": address("127.0.0.1", ADMIN_PORT)},
                       "static_resources": {"listeners": listeners, "clusters": clusters}})


def client(folder, name, host, peer, ports):
    """Listens on 127.0.0.1 on each of `ports` and tunnels to the same port of `host`."""
    def listener(port):
        proxy = {"@type": f"{TYPES}.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": f"to_{port}",
                 "cluster": "hbone", "max_connect_attempts": 1,
                 "tunneling_config": {"hostname": f"{host}:{port}", "propagate_response_headers": True},
                 "access_log": log(f"{folder}/client.log", f"{port} %RESPONSE_FLAGS% "
                                   "%FILTER_STATE(envoy.tcp_proxy.propagate_response_headers)%")}
        return {"name": str(port), "address": address("127.0.0.1", port),
                "filter_chains": [{"filters": [{"name": "tcp", "typed_config": proxy}]}]}
    return whole([listener(port) for port in ports],
                 [cluster("hbone", host, 15008, tls(folder, name, "Upstream", peer))])


def http_manager(prefix, hosts, access_log, **more):
    manager = {"@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
               "stat_prefix": prefix, "access_log": access_log,
               "route_config": {"name": prefix, "virtual_hosts": hosts},
               "http_filters": [{"name": "router",
                                 "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}], **more}
    return {"name": "http", "typed_config": manager}


def server(folder, name, host, ports, requests_max):
    """Ends CONNECTs to `ports` of this pod; to port 401 it says 401. Says GOAWAY after so many of them."""
    def virtual_host(port):
        route = {"match": {"connect_matcher": {}}}
        if port == 401:
            route["direct_response"] = {"status": 401}
        else:
            route["route"] = {"cluster": str(port), "timeout": "0s", "upgrade_configs": [
                {"upgrade_type": "CONNECT", "connect_config": {}}]}
        return {"name": str(port), "domains": [f"{host}:{port}"], "routes": [route]}
    form = ("%REQ(:AUTHORITY)% %RESPONSE_CODE% %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_TLS_VERSION% "
            "%REQUESTED_SERVER_NAME% %REQ(FORWARDED)% %REQ(TRACEPARENT)% %REQ(BAGGAGE)%")
    manager = http_manager("hbone", [virtual_host(port) for port in [*ports, 401]],
                           log(f"{folder}/server.log", form),
                           http2_protocol_options={"allow_connect": True},
                           upgrade_configs=[{"upgrade_type": "CONNECT"}],
                           common_http_protocol_options={"max_requests_per_connection": requests_max})
    listener = {"name": "hbone", "address": address("0.0.0.0", 15008), "filter_chains": [
        {"filters": [manager], "transport_socket": tls(folder, name, "Downstream")}]}
    return whole([listener], [cluster(str(port), "127.0.0.1", port) for port in ports])


def behind_proxy_protocol(folder, port, to):
    """Reads a PROXY header, logs what it said, and passes the rest on to a port of its own pod."""
    reader = "envoy.filters.listener.proxy_protocol"
    form = f"%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DYNAMIC_METADATA({reader}:peer)%"
    proxy = {"@type": f"{TYPES}.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "proxied", "cluster": "app",
             "access_log": log(f"{folder}/proxied.log", form)}
    listener = {"name": "proxied", "address": address("0.0.0.0", port),
                "listener_filters": [{"name": reader, "typed_config": {
                    "@type": f"{TYPES}.filters.listener.proxy_protocol.v3.ProxyProtocol",
                    "rules": [{"tlv_type": 0xD0, "on_tlv_present": {"key": "peer"}}]}}],
                "filter_chains": [{"filters": [{"name": "tcp", "typed_config": proxy}]}]}
    return whole([listener], [cluster("app", "127.0.0.1", to)])
