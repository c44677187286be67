"""A pair of Envoys as TCP proxies with mutual TLS 1.3 between them: one in the client's pod, one in each server's."""

import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from envoy_program import program  # noqa: E402
from peers import ENVOY_PORT, PLACES, SERVER_PORT, Peer, wait_for_port

LISTEN = {"same": 9001, "cross": 9002}
CONNECTIONS_MAX = 100_000  # the default circuit breaker opens at 1024


def make_certificates(folder):
    """A root, and one P-256 certificate for both sides, as the mesh's are."""
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "root.key", "-out", "root.pem", "-days", "2", "-subj", "/CN=bench root")
    openssl("req", *key, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=bench")
    (folder / "leaf.ext").write_text("subjectAltName=URI:spiffe://cluster.local/ns/bench/sa/bench\n")
    openssl("x509", "-req", "-in", "leaf.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial",
            "-days", "2", "-extfile", "leaf.ext", "-out", "leaf.pem")


def tls(folder, kind):
    """A transport socket; both sides speak TLS 1.3 only and show a certificate."""
    context = {
        "@type": f"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}TlsContext",
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [{"certificate_chain": {"filename": f"{folder}/leaf.pem"},
                                  "private_key": {"filename": f"{folder}/leaf.key"}}],
            "validation_context": {"trusted_ca": {"filename": f"{folder}/root.pem"}}}}
    if kind == "Downstream":
        context["require_client_certificate"] = True
    return {"name": "tls", "typed_config": context}


def address(ip, port):
    return {"socket_address": {"address": ip, "port_value": port}}


def listener(name, ip, port, cluster, transport=None):
    proxy = {"name": "tcp", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": name, "cluster": cluster}}
    chain = {"filters": [proxy]}
    if transport:
        chain["transport_socket"] = transport
    return {"name": name, "address": address(ip, port), "filter_chains": [chain]}


def cluster(name, ip, port, transport=None):
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(ip, port)}}]}]
    made = {"name": name, "type": "STATIC", "connect_timeout": "5s",
            "load_assignment": {"cluster_name": name, "endpoints": endpoints},
            "circuit_breakers": {"thresholds": [{"max_connections": CONNECTIONS_MAX,
                                                 "max_pending_requests": CONNECTIONS_MAX,
                                                 "max_requests": CONNECTIONS_MAX}]}}
    if transport:
        made["transport_socket"] = transport
    return made


def start(stack, netns, folder, name, listeners, clusters):
    config = folder / f"{name}.json"
    config.write_text(json.dumps({"static_resources": {"listeners": listeners, "clusters": clusters}}))
    command = ["nsenter", f"--net=/run/netns/{netns}", program(), "-c", str(config), "--concurrency", "1",
               "--disable-hot-restart", "--log-level", "error"]
    process = subprocess.Popen(command, start_new_session=True)  # a scheduling group of its own, as a ztunnel is
    stack.callback(process.wait)
    stack.callback(process.terminate)
    for one in listeners:
        wait_for_port(netns, one["address"]["socket_address"]["port_value"])
    return process.pid


def envoy(stage, folder, stack):
    make_certificates(folder)
    servers = {}
    for place in PLACES:
        servers[place] = start(
            stack, stage.netns("plain", place), folder, place,
            [listener("in", "0.0.0.0", ENVOY_PORT, "app", tls(folder, "Downstream"))],
            [cluster("app", "127.0.0.1", SERVER_PORT)])
    netns = stage.netns("plain", "from")
    own = start(stack, netns, folder, "from",
                [listener(place, "127.0.0.1", LISTEN[place], place) for place in PLACES],
                [cluster(place, stage.ip("plain", place), ENVOY_PORT, tls(folder, "Upstream")) for place in PLACES])
    return Peer("envoy", stage.box, "plain", {place: f"127.0.0.1:{LISTEN[place]}" for place in PLACES},
                {place: (own, servers[place]) for place in PLACES})
