"""Two real nodes, without a mesh: what the suites on nodes take for granted."""

import pathlib
import subprocess
import sys
import time
import unittest

import image
import nodes
from cluster import HERE
from nodes import CGROUPS, Nodes
from processes import eventually

SHOP = HERE.parent.parent / "scripts/shop"
PEER = "import http.server, sys\n" \
       "class H(http.server.BaseHTTPRequestHandler):\n" \
       "    def do_GET(self):\n" \
       "        body = self.client_address[0].encode()\n" \
       "        self.send_response(200); self.send_header('Content-Length', str(len(body)))\n" \
       "        self.end_headers(); self.wfile.write(body); print('asked', flush=True)\n" \
       "http.server.HTTPServer(('', 8080), H).serve_forever()\n"


def pod(name, node, command, **container):
    """A pod of the shop's client image on one node."""
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [
                {"name": "main", "image": "docker.io/shop/client:1.0", "imagePullPolicy": "Never",
                 "command": command, **container}]}}


def server(name, node, **container):
    """A pod that answers with its client's address."""
    return pod(name, node, ["python3", "-u", "-c", PEER], ports=[{"containerPort": 8080, "hostPort": 18080}],
               readinessProbe={"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}, **container)


class TwoNodes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        began = time.monotonic()
        cls.cluster = Nodes(images=image.shop(SHOP)).__enter__()
        cls.addClassCleanup(cls.cluster.close)
        print(f"two nodes ready in {time.monotonic() - began:.1f} s", file=sys.stderr)
        cls.cluster.apply([
            server("web", "kn2"), pod("ask", "kn1", ["sleep", "infinity"]),
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
             "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}])
        cls.cluster.wait_pods("default")

    def ask(self, url):
        return self.cluster.kubectl("exec", "ask", "--", "curl", "-sS", "--max-time", "5", url)

    def address(self, name):
        return self.cluster.get("pod", name)["status"]["podIP"]

    def test_addresses_between_nodes_are_the_pods_own(self):
        self.assertEqual(self.ask(f"http://{self.address('web')}:8080/"), self.address("ask"))

    def test_service_and_its_name(self):
        eventually(lambda: self.ask("http://web/") == self.address("ask"), what="the service by name")

    def test_logs_and_host_port(self):
        before = self.cluster.kubectl("logs", "web").count("asked")
        said = self.cluster["kn1"].run("curl", "-sS", "--max-time", "5", "http://172.30.0.12:18080/")
        self.assertEqual(said, "172.30.0.11")
        eventually(lambda: self.cluster.kubectl("logs", "web").count("asked") > before, what="a line in the log")

    def test_port_forward(self):
        with self.cluster.port_forward("service/web", 80) as port:
            said = self.cluster.namespaces.run("curl", "-sS", "--max-time", "5", f"http://127.0.0.1:{port}/")
        self.assertEqual(said, "127.0.0.1")

    def test_pods_are_below_their_node_in_cgroup2(self):
        node = self.cluster["kn2"]
        uid = self.cluster.get("pod", "web")["metadata"]["uid"]
        self.assertTrue(list(node.cgroup().glob(f"kubepods/*/pod{uid}/*")))
        self.assertFalse(list(self.cluster["kn1"].cgroup().glob(f"kubepods/*/pod{uid}")))

    def test_a_node_reboots(self):
        node = self.cluster["kn2"]
        boot = self.cluster.get("pod", "web")["status"]["containerStatuses"][0]["containerID"]
        node.reboot()
        eventually(lambda: nodes.is_ready(self.cluster.get("pod", "web")) and boot != self.cluster.get("pod", "web")[
            "status"]["containerStatuses"][0]["containerID"], within=60, what="the pod again", pause=0.3)


class Killed(unittest.TestCase):
    def test_nothing_is_left(self):
        """Of nodes whose test was killed; and the machine's own sysctls are never touched."""
        def sysctls():
            return [pathlib.Path("/proc/sys", one).read_text()
                    for one in ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")]
        before = sysctls()
        code = ("import sys, time; sys.path.insert(0, sys.argv[1])\nfrom nodes import Nodes\n"
                "c = Nodes(nodes=1, dns=False).__enter__()\nprint(c.nodes[0].cgroup(), flush=True); time.sleep(1000)")
        other = subprocess.Popen([sys.executable, "-c", code, str(HERE)], stdout=subprocess.PIPE, text=True)
        cgroup = pathlib.Path(other.stdout.readline().strip())
        self.assertTrue((cgroup / "kubepods").exists())
        other.kill()
        other.wait()
        other.stdout.close()

        def gone():
            nodes.remove_stale_cgroups()
            return not list(CGROUPS.glob(f"*/{cgroup.name}"))
        eventually(gone, what="the cgroups' end")
        self.assertEqual(sysctls(), before)
        self.assertNotIn(cgroup.name, pathlib.Path("/proc/mounts").read_text())


if __name__ == "__main__":
    nodes.main()
