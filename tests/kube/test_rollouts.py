"""Both DaemonSets and control replaced under load, by a real controller: nobody in the mesh notices."""

import contextlib
import json
import subprocess
import unittest

import nodes
from cluster import HERE, KUBERNETES
from mesh import NAMESPACE, Mesh
from pods import NS, container, pod, service
from processes import eventually

# A line a second of a slow answer; the rest at once.
SERVER = """
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


class Rollouts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mesh = Mesh().__enter__()
        cls.addClassCleanup(cls.mesh.close)
        cls.mesh.install()
        cls.mesh.kubectl("create", "namespace", NS)
        cls.mesh.enrol(NS)
        cls.mesh.wait_account(NS)
        served = {**container(port=8080), "command": ["python3", "-u", "-c", SERVER]}
        cls.mesh.apply([pod("web", "kn2", served), service("web", 80, 8080), pod("ask", "kn1"), pod("near", "kn2")])
        cls.mesh.wait_captured(NS)
        for client in ("ask", "near"):
            eventually(lambda: cls.mesh.curl(client, "http://web/", namespace=NS)[0] == 200, what="the service")

    @contextlib.contextmanager
    def load(self):
        """Load between nodes and on one while the block runs; then fails if any request did."""
        command = self.mesh.enter(KUBERNETES / "kubectl", "--kubeconfig", self.mesh.admin, "exec", "-i", "-n", NS)
        code = (HERE / "load.py").read_text()
        clients = [subprocess.Popen([*command, name, "--", "python3", "-c", code, "http://web", "2"], text=True,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE) for name in ("ask", "near")]
        try:
            for client in clients:
                self.assertEqual(client.stdout.readline(), "asking\n")
            yield
            for client in clients:
                said = json.loads(client.communicate("", timeout=60)[0])
                print(f"asked {said['asked']}, slow {said['slow']}, failed {len(said['failed'])}", flush=True)
                self.assertGreater(said["asked"], 20)
                self.assertGreater(said["slow"], 1)
                self.assertEqual(said["failed"], [])
        finally:
            for client in clients:
                client.kill()
                client.wait()
                client.stdin.close()
                client.stdout.close()

    def restart(self, *what):
        for one in what:
            self.mesh.kubectl("rollout", "restart", one, "-n", NAMESPACE)
        self.mesh.rollout(*what, namespace=NAMESPACE, within=150)

    def test_ztunnels(self):
        with self.load():
            self.restart("daemonset/weft-ztunnel")

    def test_agents(self):
        with self.load():
            self.restart("daemonset/weft-agent")

    def test_all_at_once(self):
        with self.load():
            self.restart("daemonset/weft-agent", "daemonset/weft-ztunnel", "deployment/weft-control")
        self.mesh.apply(pod("after", "kn1"))
        self.mesh.wait_captured(NS, "app=after")
        self.assertEqual(self.mesh.curl("after", "http://web/", namespace=NS)[0], 200)


if __name__ == "__main__":
    nodes.main("helm")
