"""Many connections from one client address: none may fail for a 4-tuple that another one has."""

import json
import os
import pathlib
import sys

import harness
from harness import HERE, PYTHON, Suite, account, client, eventually, mesh_namespace, namespace, pod, service

CROWD = str(HERE / "crowd.py")
PORT = 7100
TOTAL = 15_000
# Twice this, at two ports of the pod for each, is more than there are.
TOTAL_OUT = 8_000
TOTAL_PLAIN = 6_000
AT_ONCE = 4_000


def crowd_server(name, node, ns="mesh"):
    return pod(name, ns, [PYTHON, "-u", CROWD, "serve", PORT], node, probe=PORT)


class Crowd(Suite):
    tag = "crowd"
    objects = [mesh_namespace("mesh"), namespace("plain"), *(account(name, "mesh") for name in ("s1", "s2", "c1")),
               crowd_server("s1", "node-1"), crowd_server("s2", "node-2"), client("c1", "mesh", "node-1"),
               client("stranger", "plain", "node-1"), crowd_server("out", "node-2", "plain"),
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
        seen = self.rush("stranger", self.box.ip("s1", "mesh"), ns="plain", total=TOTAL_PLAIN)
        self.assertEqual(seen["port_kept"], TOTAL_PLAIN)

    def test_out_of_the_mesh(self):
        """ztunnel's own connection leaves from the pod's address too, so each takes two ports of the pod. Twice:
        ports of what has just ended have to serve again."""
        for _ in range(2):
            self.rush("c1", self.box.ip("out", "plain"), total=TOTAL_OUT)

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


def cpu_by_thread(pid):
    """Nanoseconds that each thread has run."""
    tasks = pathlib.Path(f"/proc/{pid}/task")
    return {task.name: int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()}


class HotPod(Suite):
    """One busy pod keeps two workers busy alike: as the one that calls, and as the one that is called."""

    tag = "hot"
    ztunnel_flags = "workers=2"
    objects = [mesh_namespace("mesh"), *(account(name, "mesh") for name in ("s1", "s2", "c1")),
               crowd_server("s1", "node-1"), crowd_server("s2", "node-2"), client("c1", "mesh", "node-1")]

    def assert_balanced(self, nodes, load):
        pids = {node: self.box.state(f"{node}-ztunnel")[1] for node in nodes}
        before = {node: cpu_by_thread(pid) for node, pid in pids.items()}
        load()
        for node, pid in pids.items():
            ran = sorted(now - before[node].get(thread, 0) for thread, now in cpu_by_thread(pid).items())[-2:]
            share = ran[0] / sum(ran)
            print(f"{node}: the less busy worker had {share:.0%}", file=sys.stderr)
            self.assertGreaterEqual(share, 0.3, f"{node}: {ran}")

    def rush(self, target, at_once):
        done = self.box.exec("c1", PYTHON, CROWD, "rush", self.box.ip(target, "mesh"), PORT, 2000, at_once, timeout=100)
        self.assertEqual(json.loads(done.stdout)["failed"], {})

    def pour(self, target, count, mib):
        """So many connections that are open at a time; the seconds that it took."""
        done = self.box.exec("c1", PYTHON, CROWD, "pour", self.box.ip(target, "mesh"), PORT, count, mib, timeout=100)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_short_connections(self):
        for at_once in (1, 64):
            self.assert_balanced(["node-1"], lambda at_once=at_once: self.rush("s1", at_once))
            self.assert_balanced(["node-1", "node-2"], lambda at_once=at_once: self.rush("s2", at_once))

    def test_long_connections(self):
        self.assert_balanced(["node-1"], lambda: self.pour("s1", 8, 128))
        self.assert_balanced(["node-1", "node-2"], lambda: self.pour("s2", 8, 64))


class HotPodOnEpoll(HotPod):
    tag = "hotepoll"
    ztunnel_flags = "workers=2,backend=epoll"


if __name__ == "__main__":
    harness.main()
