"""Control beside the API server, by a kubeconfig, instead of in a pod: what runs on the nodes is the chart's.

Nodes' proxies then show tokens of control's own kind (weft.io/node names the node), signed here.
"""

import json
import time

from cluster import ADDRESS
from pki import openssl, unpadded
from processes import eventually

PORT = 15012
TOKENS = "/var/lib/weft-token"


def integer(der, at):
    """The INTEGER at an offset of a DER encoding, and the offset behind it."""
    end = at + 2 + der[at + 1]
    return int.from_bytes(der[at + 2:end], "big"), end


def es256_token(key, claims):
    signed = b".".join(unpadded(json.dumps(part).encode()) for part in ({"alg": "ES256", "typ": "JWT"}, claims))
    der = openssl("dgst", "-sha256", "-sign", key, stdin=signed)
    r, after = integer(der, 2)
    s, _ = integer(der, after)
    return (signed + b"." + unpadded(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode()


def start(mesh, program, namespace):
    """Starts it, and points the release's Service, roots and tokens to it; the release is installed already."""
    key, state = mesh.folder / "token.key", mesh.folder / "control"
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    openssl("ec", "-in", key, "-pubout", "-out", f"{key}.pub")
    control = mesh.start("control", [
        program, "control", f"--kubeconfig={mesh.admin}", f"--state={state}", f"--listen={ADDRESS}:{PORT}",
        f"--server-name=weft-control.{namespace}.svc", f"--token-key={key}.pub",
        f"--admin-socket={mesh.folder}/control.sock"])
    roots = state / "roots.pem"
    eventually(lambda: roots.exists() and roots.read_text(), what=f"control's roots; {control.text()}")
    mesh.kubectl("scale", "deployment/weft-control", "-n", namespace, "--replicas=0")
    mesh.apply([
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio-ca-root-cert", "namespace": namespace},
         "data": {"root-cert.pem": roots.read_text()}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
         "metadata": {"name": "weft-control-outside", "namespace": namespace,
                      "labels": {"kubernetes.io/service-name": "weft-control"}},
         "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}}],
         "ports": [{"name": "grpc-xds", "port": PORT, "protocol": "TCP"}]}])
    now = int(time.time())
    for node in mesh.nodes:
        token = es256_token(key, {
            "aud": ["istio-ca"], "sub": f"system:serviceaccount:{namespace}:weft-ztunnel", "iat": now - 5,
            "exp": now + 86400, "weft.io/node": node.name})
        node.run("mkdir", "-p", TOKENS)
        node.path(f"{TOKENS}/istio-token").write_text(token)
    patch = {"spec": {"template": {"spec": {"volumes": [
        {"name": "istio-token", "projected": None, "hostPath": {"path": TOKENS}}]}}}}
    mesh.kubectl("patch", "daemonset/weft-ztunnel", "-n", namespace, "--patch", json.dumps(patch))
    return control
