"""Pods and Services of suites on nodes, as objects: a server, and clients that sleep until they are told, or ask all the time."""

import contextlib
import json

from cluster import HERE
from processes import eventually

NS = "app"
# Answers, on both families, with the address that it sees; dies when it is asked for /exit.
SERVER = """
import http.server, os, socket, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/exit': os._exit(3)
        body = self.client_address[0].removeprefix('::ffff:').encode()
        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers()
        self.wfile.write(body); print('asked', self.path, flush=True)
http.server.ThreadingHTTPServer.address_family = socket.AF_INET6
http.server.ThreadingHTTPServer(('::', int(sys.argv[1])), H).serve_forever()
"""


def container(name="main", port=None, **more):
    """A container of the shop's client image: it sleeps or, with a port, serves there and says when it is ready."""
    command = ["python3", "-u", "-c", SERVER, str(port)] if port else ["sleep", "infinity"]
    probe = {"readinessProbe": {"httpGet": {"path": "/ready", "port": port}, "periodSeconds": 1}} if port else {}
    return {"name": name, "image": "docker.io/shop/client:1.0", "command": command, **probe, **more}


def pod(name, node, *containers, namespace=NS, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
            "spec": {"nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 1,
                     "containers": list(containers) or [container()], **spec}}


def service(name, port, target, namespace=NS, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": port, "targetPort": target}],
                     **spec}}


# A line a second of a slow answer; the rest at once.
SLOW_SERVER = """
import http.server, time
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        lines = int(self.path.split('/')[2]) if self.path.startswith('/slow/') else 1
        self.send_response(200); self.send_header('Content-Length', str(lines * 3)); self.send_header('Connection', 'close')
        self.end_headers()
        for line in range(lines):
            self.wfile.write(b'ok\\n')
            if line + 1 < lines: time.sleep(1)
class S(http.server.ThreadingHTTPServer):
    request_queue_size = 128
S(('', 8080), H).serve_forever()
"""


def served():
    """The pod and the Service "web" on kn2, whose answers may be slow, as load() wants them."""
    return [pod("web", "kn2", {**container(port=8080), "command": ["python3", "-u", "-c", SLOW_SERVER]}),
            service("web", 80, 8080)]


@contextlib.contextmanager
def load(mesh, url="http://web", asked_min=20):
    """Load on served() or one like it, between nodes and on one node, while the block runs; then fails if any request did."""
    code, clients = (HERE / "load.py").read_text(), {"load-kn1": "kn1", "load-kn2": "kn2"}
    command = ["python3", "-u", "-c", code, url, "2", "/tmp/stop"]
    mesh.apply([pod(name, node, {**container(), "command": command}) for name, node in clients.items()])
    try:
        for name in clients:
            mesh.wait_captured(NS, f"app={name}")
            eventually(lambda: "asking" in mesh.kubectl("logs", "-n", NS, name), what="load")
        yield
        for name in clients:
            mesh.kubectl("exec", "-n", NS, name, "--", "touch", "/tmp/stop")
        for name in clients:
            last = eventually(lambda: [line for line in mesh.kubectl("logs", "-n", NS, name).splitlines()
                                       if line.startswith("{")], what="what became of the load")
            said = json.loads(last[0])
            print(f"{name}: asked {said['asked']}, slow {said['slow']}, failed {len(said['failed'])}", flush=True)
            assert not said["failed"], f"{name}: " + "\n".join(said["failed"])
            assert said["asked"] >= asked_min and said["slow"] >= 1, f"{name}: too little load: {said}"
    finally:
        mesh.kubectl("delete", "pod", "-n", NS, *clients, "--grace-period=1", check=False)
