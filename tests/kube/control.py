"""Control beside a real API server: replicas as the chart runs them, with its RBAC, and nodes that ask them."""

import http.client
import json
import os
import re
import socket
import subprocess

from cluster import ADDRESS, KUBERNETES, ApiError
from grpc_peer import Peer
from processes import eventually
from release import BIN, ROOT

NAMESPACE = "weft-system"
NAME = f"weft-control.{NAMESPACE}.svc"
TEMPLATES = ("service-accounts", "rbac-control", "mesh-config")
# Group, kind, plural; the schemas of the real ones are tested with the chart.
CRDS = (("security.istio.io", "AuthorizationPolicy", "authorizationpolicies"),
        ("security.istio.io", "PeerAuthentication", "peerauthentications"),
        ("networking.istio.io", "ServiceEntry", "serviceentries"))


def crd(group, kind, plural):
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {"group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                     "versions": [{"name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
                                   "schema": {"openAPIV3Schema": {
                                       "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}


def prepare(cluster, namespace=NAMESPACE, *values):
    """Installs what control needs of the chart: its account, its rights, the mesh's configuration."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    cluster.apply([crd(*one) for one in CRDS])
    for _, _, plural in CRDS:
        eventually(lambda: cluster.kubectl("get", plural, "-A", check=False).returncode == 0, what=plural)
    command = [KUBERNETES / "helm", "template", "weft", ROOT / "helm/weft", "-n", namespace,
               *[word for name in TEMPLATES for word in ("--show-only", f"templates/{name}.yaml")],
               *[word for value in values for word in ("--set", value)]]
    rendered = subprocess.run(list(map(str, command)), capture_output=True, text=True,
                              env={**os.environ, "HOME": str(cluster.folder)})
    assert rendered.returncode == 0, rendered.stderr
    cluster.kubectl("apply", "--server-side", "-f", "-", input=rendered.stdout)


def pod(cluster, namespace, name, node, account, ip, labels=None):
    """A pod that runs there, as far as the API says; its annotation says that its node has captured it."""
    cluster.call("POST", f"/api/v1/namespaces/{namespace}/pods", {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {"app": name},
                     "annotations": {"ambient.istio.io/redirection": "enabled"}},
        "spec": {"nodeName": node, "serviceAccountName": account, "containers": [{"name": "main", "image": "none"}]}})
    cluster.call("PATCH", f"/api/v1/namespaces/{namespace}/pods/{name}/status", {
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                   "conditions": [{"type": "Ready", "status": "True"}]}}, "application/merge-patch+json")


class Replica:
    """One process of control, in the cluster's network, with ports of its own."""

    def __init__(self, cluster, number, *flags, namespace=NAMESPACE, config=None):
        self.cluster, self.number, self.namespace = cluster, number, namespace
        self.folder = cluster.folder / f"control-{namespace}-{number}"
        self.folder.mkdir()
        self.port, self.probe_port, self.metrics_port = 15012 + 100 * number, 8080 + number, 15014 + 100 * number
        if config is None:
            config = cluster.kubeconfig(f"control-{number}", token=cluster.token("weft-control", namespace))
        self._command = [
            BIN / "weft-agent", "control", f"--kubeconfig={config}", f"--state={self.folder / 'state'}",
            f"--listen={ADDRESS}:{self.port}", f"--server-name=weft-control.{namespace}.svc",
            f"--admin-socket={self.folder / 'admin.sock'}", f"--namespace={namespace}",
            f"--replica=control-{number}", f"--probes={ADDRESS}:{self.probe_port}",
            f"--metrics={ADDRESS}:{self.metrics_port}", *flags]
        self.process = cluster.start(f"control-{namespace}-{number}", self._command)

    def restart(self):
        self.process.start()
        return self

    def get(self, port, path):
        """Status and text of an HTTP GET; raises OSError where nobody listens."""
        connection = http.client.HTTPConnection(ADDRESS, port, timeout=20)
        connection.sock = self.cluster.dial(ADDRESS, port)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def is_ready(self):
        return self.get(self.probe_port, "/ready")[0] == 200

    def wait_ready(self, within=60):
        try:
            eventually(self.is_ready, within, f"replica {self.number} ready")
        except AssertionError as problem:
            raise AssertionError(f"{problem}; {self.process.text()[-3000:]}") from problem
        return self

    def metric(self, name):
        """A sample's value, by its name with labels."""
        text = self.get(self.metrics_port, "/metrics")[1]
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        assert found, f"no {name} in {text}"
        return float(found.group(1))

    def leads(self):
        return self.metric("weft_control_leader") == 1

    def status(self):
        connection = http.client.HTTPConnection("localhost", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.folder / "admin.sock"))
        try:
            connection.request("GET", "/status")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def errors(self):
        return "\n".join(self.status()["source_errors"].get("latest", []))

    def roots(self):
        return (self.folder / "state/roots.pem").read_text()

    def peer(self, token, roots=None):
        return Peer(lambda: self.cluster.dial(ADDRESS, self.port), roots or self.roots(),
                    f"weft-control.{self.namespace}.svc", token)

    def resident_mib(self):
        return self.metric("process_resident_memory_bytes") / 2**20


def conditions(cluster, group, plural, namespace, name):
    """type -> (status, reason) of an object's conditions."""
    found = cluster.call("GET", f"/apis/{group}/v1/namespaces/{namespace}/{plural}/{name}")
    return {one["type"]: (one["status"], one["reason"]) for one in found.get("status", {}).get("conditions", [])}


def missing(cluster, path):
    """Whether the API server has no such object."""
    try:
        cluster.call("GET", path)
        return False
    except ApiError as refusal:
        assert refusal.status == 404, refusal
        return True


def own_ca(folder, namespace):
    """A CA of an operator's: its certificate (PEM) and the Secret cacerts that holds it."""
    key, certificate = folder / "own-ca.key", folder / "own-ca.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", certificate, "-days", "30", "-subj", "/O=operator/CN=own root",
                    "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
                    "keyUsage=critical,keyCertSign,cRLSign"], check=True, capture_output=True)
    text = certificate.read_text()
    return text, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cacerts", "namespace": namespace},
                  "stringData": {"ca-key.pem": key.read_text(), "ca-cert.pem": text, "cert-chain.pem": text,
                                 "root-cert.pem": text}}
