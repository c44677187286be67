"""Many connections from one client address: none may fail for a 4-tuple that another one has."""

import json
import os

import harness
from harness import HERE, PYTHON, Suite, account, client, eventually, mesh_namespace, namespace, pod, service

CROWD = str(HERE / "crowd.py")
PORT = 7100
TOTAL = 15_000
AT_ONCE = 4_000


def crowd_server(name, node):
    return pod(name, "mesh", [PYTHON, "-u", CROWD, "serve", PORT], node, probe=PORT)


class Crowd(Suite):
    tag = "crowd"
    objects = [mesh_namespace("mesh"), namespace("plain"), *(account(name, "mesh") for name in ("s1", "s2", "c1")),
               crowd_server("s1", "node-1"), crowd_server("s2", "node-2"), client("c1", "mesh", "node-1"),
               client("stranger", "plain", "node-1"),
               *(service(name, "mesh", {"app": name}, [(80, PORT)]) for name in ("s1", "s2"))]

    def rush(self, source, target, port=PORT, ns="mesh", total=TOTAL, at_once=AT_ONCE):
        done = self.box.exec(source, PYTHON, CROWD, "rush", target, port, total, at_once, ns=ns, timeout=200)
        self.assertEqual(done.returncode, 0, done.stderr)
        seen = json.loads(done.stdout)
        self.assertEqual(seen["failed"], {})
        self.assertEqual((seen["finished"], seen["most"]), (total, at_once))
        self.assertEqual(seen["address_kept"], total)
        return seen

    def test_on_one_node(self):
        self.assertEqual(self.rush("c1", self.box.ip("s1", "mesh"))["port_kept"], TOTAL)

    def test_across(self):
        self.assertEqual(self.rush("c1", self.box.ip("s2", "mesh"))["port_kept"], TOTAL)

    def test_plain_from_outside_the_mesh(self):
        self.assertEqual(self.rush("stranger", self.box.ip("s1", "mesh"), ns="plain")["port_kept"], TOTAL)

    def test_through_services_too(self):
        """The same client port may be in use towards the pod and towards its service: one of them gets another."""
        for target in ("s1", "s2"):
            self.rush("c1", f"{target}.mesh", 80, total=4000, at_once=1000)

    def test_nothing_is_left(self):
        self.rush("c1", self.box.ip("s2", "mesh"), total=1000, at_once=500)
        for node in ("node-1", "node-2"):
            _, ztunnel, _ = self.box.state(f"{node}-ztunnel")
            eventually(lambda ztunnel=ztunnel: self.sockets(ztunnel) < 150, within=30)

    def sockets(self, pid):
        folder = f"/proc/{pid}/fd"
        links = (os.readlink(f"{folder}/{number}") for number in os.listdir(folder))
        return sum(link.startswith("socket:") for link in links)


if __name__ == "__main__":
    harness.main()
