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
# What takes a worker with its share of a core some seconds.
RUSH = 800
POUR_MIB = 8
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


# Of a core, for each worker of the ztunnel that is measured: so little that on two cores, with clients and servers
# beside it, nobody but the worker itself is in its way. What else runs on the machine comes after all of them.
QUOTA_US = 1_000
PERIOD_US = 40_000
SHARES_MAX = 262_144
CPU_GROUPS = pathlib.Path("/sys/fs/cgroup/cpu")
FIRST = ["nice", "-n", "-19"]


class SecondWorker(harness.unittest.TestCase):
    """Two workers carry at least 1.7 times as much of one pod's traffic as one does. Each of them gets the same small
    share of a core, and has more to do than that allows."""

    objects = [mesh_namespace("mesh"), *(account(name, "mesh") for name in ("s1", "s2", "c1")),
               client("c1", "mesh", "node-1"),
               *(pod(name, "mesh", [*FIRST, PYTHON, "-u", CROWD, "serve", PORT], node, probe=PORT)
                 for name, node in (("s1", "node-1"), ("s2", "node-2")))]

    def setUp(self):
        if not (CPU_GROUPS / "cpu.shares").exists():
            self.skipTest("needs the cpu controller of cgroup v1, which bounds single threads")

    def bound(self, box, node, workers, load):
        """Finds the workers by who is busy, and bounds each; their groups."""
        pid = box.state(f"{node}-ztunnel")[1]
        before = cpu_by_thread(pid)
        load()
        ran = cpu_by_thread(pid)
        busiest = sorted(ran, key=lambda thread: before.get(thread, 0) - ran[thread])
        groups = []
        for number, thread in enumerate(busiest[:workers]):
            groups.append(CPU_GROUPS / f"weft-{box.name}-{node}-{number}")
            groups[-1].mkdir()
            for what, value in (("cpu.cfs_period_us", PERIOD_US), ("cpu.cfs_quota_us", QUOTA_US),
                                ("cpu.shares", SHARES_MAX), ("tasks", thread)):
                (groups[-1] / what).write_text(str(value))
        return groups

    @staticmethod
    def remove(groups):
        def removed():
            while groups:
                groups[-1].rmdir()
                groups.pop()
            return True
        eventually(removed)

    def rates(self, workers):
        """Connections a second of a pod that calls on its own node, MiB a second of one that is called from another."""
        box = harness.Sandbox(f"two{workers}")
        groups = []
        def run(what, target, *args):
            done = box.exec("c1", *FIRST, PYTHON, CROWD, what, box.ip(target, "mesh"), PORT, *args, timeout=100)
            self.assertEqual(done.returncode, 0, done.stderr)
            return json.loads(done.stdout)
        try:
            box.up(self.objects, ztunnel_flags=f"workers={workers}")
            groups += self.bound(box, "node-1", workers, lambda: run("rush", "s1", 300, 16))
            rush = run("rush", "s1", RUSH, 64)
            self.assertEqual(rush["failed"], {})
            groups += self.bound(box, "node-2", workers, lambda: run("rush", "s2", 300, 16))
            return {"connections, outbound": RUSH / rush["seconds"],
                    "MiB, inbound": 8 * POUR_MIB / run("pour", "s2", 8, POUR_MIB)}
        finally:
            box.down()
            self.remove(groups)

    def test_is_worth_it(self):
        one, two = self.rates(1), self.rates(2)
        for what, rate in one.items():
            print(f"{what}: {rate:.1f} a second with one worker, {two[what]:.1f} with two", file=sys.stderr)
        for what, rate in one.items():
            self.assertGreaterEqual(two[what] / rate, 1.7, what)


if __name__ == "__main__":
    harness.main()
