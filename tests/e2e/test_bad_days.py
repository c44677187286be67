"""Processes that are killed. Traffic goes on, or waits and goes on."""

import errno
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading

import harness
from harness import (Suite, account, client, eventually, mesh_namespace, namespace, peer_authentication, policy, runs,
                     server, service)

NODES = ("node-1", "node-2")
NAMES = ("s1", "s2", "c1", "c2")
PORTS = [(80, 8080), (7001, 7001), (7006, 7006)]


class BadDays(Suite):
    tag = "bad"
    objects = [mesh_namespace("mesh"), namespace("plain"), *[account(name, "mesh") for name in NAMES],
               server("s1", "mesh", "node-1"), server("s2", "mesh", "node-2"), client("c1", "mesh", "node-1"),
               client("c2", "mesh", "node-2"), client("stranger", "plain", "node-1"),
               service("s1", "mesh", {"app": "s1"}, PORTS), service("s2", "mesh", {"app": "s2"}, PORTS)]

    def kill(self, process):
        """kill -9; (times it was restarted before, its pid)."""
        restarts, pid, _ = self.box.state(process)
        os.kill(pid, signal.SIGKILL)
        # Until it is dead it may still accept.
        eventually(lambda: not runs(pid))
        return restarts, pid

    def back(self, process, restarts):
        eventually(lambda: (now := self.box.state(process))[0] > restarts and now[2] == "running")

    def hold_down(self, process):
        """Keeps a process away until the test lets it go: whenever it starts it is stopped."""
        stop = threading.Event()
        def keep():
            while not stop.is_set():
                _, pid, _ = self.box.state(process)
                if pid:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                stop.wait(0.02)
        thread = threading.Thread(target=keep)
        thread.start()
        def release():
            stop.set()
            thread.join()
        return release

    def setUp(self):
        # What the test before did is learned: then it is on disk, too.
        for target in ("s1", "s2"):
            eventually(lambda: self.box.curl("c1", f"http://{target}/"))
        eventually(lambda: all(self.ztunnel(node).get("controlConnected") for node in NODES), within=30)

    def ztunnel(self, node):
        """What a node's ztunnel says of itself."""
        done = subprocess.run([harness.WEFT, "status", "--sandbox", self.box.name, "-o", "json"], capture_output=True,
                              text=True, timeout=20)
        return json.loads(done.stdout)["nodes"][node].get("ztunnel", {})

    def test_agent_killed_traffic_goes_on(self):
        talks = [self.converse("c1", target) for target in ("s1", "s2")]
        restarts, _ = self.kill("node-1-agent")
        for number in range(10):
            self.assertEqual(self.box.curl("c1", "http://s2/"), "hello from s2\n")
            self.assertEqual(self.box.curl("c2", "http://s1/"), "hello from s1\n")
            for talk in talks:
                talk.goes_on(f"line {number}")
        self.back("node-1-agent", restarts)
        for talk in talks:
            talk.goes_on("after")
        # It is in charge again: a new pod comes into the mesh.
        self.box.apply(account("new", "mesh"), client("new", "mesh", "node-1"))
        self.box.weft("wait")
        self.assertIn("hello from s2", self.box.curl("new", "http://s2/"))
        entry = eventually(lambda: self.box.access("node-2", direction="inbound", src__workload="new"))[-1]
        self.assertEqual(entry["src.identity"], "spiffe://cluster.local/ns/mesh/sa/new")
        self.box.delete("pod", "new", "mesh")

    def test_agent_away_traffic_goes_on(self):
        release = self.hold_down("node-1-agent")
        try:
            for _ in range(5):
                self.assertEqual(self.box.curl("c1", "http://s2/"), "hello from s2\n")
                self.assertEqual(self.box.curl("c2", "http://s1/"), "hello from s1\n")
        finally:
            release()
        eventually(lambda: self.box.state("node-1-agent")[2] == "running")

    def test_ztunnel_asked_to_end_loses_no_connection(self):
        for target in ("s1", "s2"):
            restarts, pid, _ = self.box.state("node-1-ztunnel")
            found = {}
            load = threading.Thread(target=lambda: found.update(self.box.peer("c1", "many", target, 7001, 600, 8)))
            load.start()
            eventually(lambda: len(self.box.access("node-1", src__workload="c1", dst__workload=target)) > 50)
            os.kill(pid, signal.SIGTERM)
            load.join()
            self.back("node-1-ztunnel", restarts)
            self.assertEqual(found["failed"], [], target)
        self.assertEqual(self.box.log("supervisor").count("ended: exit status 0 process=\"node-1-ztunnel\""), 2)

    def wait_through_restart(self, process, source, target):
        """A connection opened while the ztunnel is away succeeds when it is back."""
        talk = self.converse(source, target)
        restarts, pid = self.kill(process)
        # What is new waits and succeeds.
        self.assertEqual(self.box.curl(source, f"http://{target}/", seconds=30), f"hello from {target}\n")
        self.back(process, restarts)
        # What went through it has ended, and the application was told.
        self.assertTrue(talk.has_ended())

    def test_ztunnel_of_the_caller_killed(self):
        self.wait_through_restart("node-1-ztunnel", "c1", "s2")

    def test_ztunnel_of_the_server_killed(self):
        self.wait_through_restart("node-2-ztunnel", "c1", "s2")

    def test_ztunnel_of_one_node_killed_for_a_pair_on_it(self):
        self.wait_through_restart("node-1-ztunnel", "c1", "s1")

    def test_ztunnel_killed_while_control_is_away(self):
        release = self.hold_down("control")
        try:
            for process in ("node-1-ztunnel", "node-2-ztunnel"):
                restarts, _ = self.kill(process)
                self.assertEqual(self.box.curl("c1", "http://s2/", seconds=30), "hello from s2\n")
                self.assertEqual(self.box.curl("c2", "http://s1/", seconds=30), "hello from s1\n")
                self.back(process, restarts)
        finally:
            release()
        eventually(lambda: self.box.state("control")[2] == "running")

    def test_policy_holds_while_control_is_away_and_ztunnel_restarts(self):
        deny = policy("no-c1", "mesh", "DENY", [{"from": [{"source": {"principals": [
            "cluster.local/ns/mesh/sa/c1"]}}]}], {"app": "s2"})
        self.box.apply(deny, peer_authentication("default", "mesh", "STRICT"))
        eventually(lambda: self.box.refused("c1", "http://s2/"))
        eventually(lambda: self.box.refused("stranger", "http://s2.mesh/", ns="plain"))
        release = self.hold_down("control")
        try:
            restarts, _ = self.kill("node-2-ztunnel")
            for _ in range(20):
                self.box.refused("c1", "http://s2/", seconds=30)
                self.box.refused("stranger", "http://s2.mesh/", ns="plain", seconds=30)
            self.back("node-2-ztunnel", restarts)
            self.assertEqual(self.box.curl("c2", "http://s2/", seconds=30), "hello from s2\n")
        finally:
            release()
            self.box.delete("authorizationpolicy", "no-c1", "mesh")
            self.box.delete("peerauthentication", "default", "mesh")
        eventually(lambda: self.box.curl("c1", "http://s2/"), within=30)

    def test_control_that_hangs(self):
        """Its sockets are open and nobody answers: what is known goes on, a new ztunnel too; then all is caught up."""
        _, control, _ = self.box.state("control")
        deny = policy("no-c1", "mesh", "DENY", [{"from": [{"source": {"principals": [
            "cluster.local/ns/mesh/sa/c1"]}}]}], {"app": "s2"})
        os.kill(control, signal.SIGSTOP)
        try:
            self.box.apply(deny)
            restarts, _ = self.kill("node-1-ztunnel")
            for target in ("s1", "s2"):
                self.assertEqual(self.box.curl("c1", f"http://{target}/", seconds=30), f"hello from {target}\n")
            self.back("node-1-ztunnel", restarts)
            talk = self.converse("c1", "s2")
            talk.goes_on("two")
        finally:
            os.kill(control, signal.SIGCONT)
        try:
            eventually(lambda: self.box.refused("c1", "http://s2/"), within=30)
            self.assertTrue(talk.has_ended())  # what was open is judged again
            self.assertEqual(self.box.state("control")[1], control)
        finally:
            self.box.delete("authorizationpolicy", "no-c1", "mesh")
        eventually(lambda: self.box.curl("c1", "http://s2/"), within=30)

    def test_agent_and_ztunnel_killed_together(self):
        before = [self.kill(process)[0] for process in ("node-1-agent", "node-1-ztunnel")]
        self.assertEqual(eventually(lambda: self.box.curl("c1", "http://s2/", seconds=30), within=60), "hello from s2\n")
        for process, restarts in zip(("node-1-agent", "node-1-ztunnel"), before):
            self.back(process, restarts)

    def test_control_killed_traffic_goes_on_and_the_root_stays(self):
        root = self.box.run / "control/root-cert.pem"
        key = self.box.run / "control/root-key.pem"
        before = hashlib.sha256(root.read_bytes() + key.read_bytes()).hexdigest()
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)
        talk = self.converse("c1", "s2")
        restarts, _ = self.kill("control")
        for _ in range(5):
            self.assertEqual(self.box.curl("c1", "http://s2/"), "hello from s2\n")
        self.back("control", restarts)
        talk.goes_on("two")
        self.assertEqual(hashlib.sha256(root.read_bytes() + key.read_bytes()).hexdigest(), before)
        # And it serves again.
        self.box.apply(account("late", "mesh"), client("late", "mesh", "node-2"))
        self.box.weft("wait")
        self.assertIn("hello from s1", eventually(lambda: self.box.curl("late", "http://s1/")))
        self.box.delete("pod", "late", "mesh")

    def test_everything_of_one_node_killed_twice(self):
        for _ in range(2):
            for process in ("control", "node-1-agent", "node-1-ztunnel", "node-2-ztunnel", "node-2-agent"):
                self.kill(process)
            self.assertEqual(eventually(lambda: self.box.curl("c1", "http://s2/", seconds=30), within=60),
                             "hello from s2\n")
            for process in ("control", "node-1-agent", "node-1-ztunnel", "node-2-ztunnel", "node-2-agent"):
                eventually(lambda: self.box.state(process)[2] == "running")

    def test_a_pod_whose_server_is_replaced(self):
        self.box.delete("pod", "s2", "mesh")
        eventually(lambda: "s2" not in self.box.weft("get", "pods", "-n", "mesh").stdout)
        self.box.apply(server("s2", "mesh", "node-2"))
        self.box.weft("wait")
        self.assertEqual(eventually(lambda: self.box.curl("c1", "http://s2/")), "hello from s2\n")


class FullDisk(BadDays):
    """The disk that node-2's ztunnel keeps its configuration on is full."""

    tag = "full"
    DISK_BYTES = 256 * 1024

    def small_disk(self):
        """Puts a small file system where the node's files are; its sockets and token stay reachable there."""
        folder = self.box.run / "nodes" / "node-2"
        real = pathlib.Path(tempfile.mkdtemp(prefix="weft-e2e-"))
        self.addCleanup(real.rmdir)
        def mount(*args, undo):
            subprocess.run(["mount", *map(str, args)], check=True)
            self.addCleanup(subprocess.run, ["umount", "-l", str(undo)], check=True)
        mount("--bind", folder, real, undo=real)
        mount("-t", "tmpfs", "-o", f"size={self.DISK_BYTES}", "tmpfs", folder, undo=folder)
        for one in real.iterdir():
            if one.name != "snapshot":
                (folder / one.name).touch()
                mount("--bind", one, folder / one.name, undo=folder / one.name)
        return folder

    @staticmethod
    def fill(file):
        with open(file, "wb", buffering=0) as filler:
            try:
                while filler.write(bytes(4096)):
                    pass
            except OSError as problem:
                assert problem.errno == errno.ENOSPC, problem

    def test_configuration_is_used_and_not_kept_until_there_is_room(self):
        folder = self.small_disk()
        restarts, _ = self.kill("node-2-ztunnel")
        self.back("node-2-ztunnel", restarts)
        eventually(lambda: (folder / "snapshot").exists(), within=30)
        self.fill(folder / "filler")
        # What is new is in force, though it cannot be kept; what is kept no longer holds, so it is not there.
        names = ["while-full", *(f"more-{number}" for number in range(30))]  # more than the file's last page takes
        self.box.apply(*(service(name, "mesh", {"app": "s1"}, PORTS) for name in names))
        eventually(lambda: self.box.curl("c2", "http://while-full/"))
        said = eventually(lambda: self.ztunnel("node-2").get("snapshotError"))
        self.assertIn("No space left on device", said)
        self.assertIn("a restart without control will refuse connections", self.box.log("node/node-2/ztunnel"))
        self.assertFalse((folder / "snapshot").exists())
        shown = subprocess.run([harness.WEFT, "status", "--sandbox", self.box.name], capture_output=True, text=True)
        self.assertIn("ztunnel keeps no configuration on disk: ", shown.stdout)
        (folder / "filler").unlink()
        eventually(lambda: not self.ztunnel("node-2").get("snapshotError"), within=60)
        # A restart without control has all of it again.
        release = self.hold_down("control")
        try:
            restarts, _ = self.kill("node-2-ztunnel")
            self.back("node-2-ztunnel", restarts)
            eventually(lambda: self.box.curl("c2", "http://while-full/"), within=30)
        finally:
            release()


# Only their helpers are wanted.
for inherited in [name for name in dir(BadDays) if name.startswith("test_")]:
    setattr(FullDisk, inherited, None)


class Down(harness.unittest.TestCase):
    """Nothing is left of a sandbox with the mesh in it, whatever was killed before."""

    objects = [mesh_namespace("mesh"), account("s1", "mesh"), account("c1", "mesh"), server("s1", "mesh", "node-2"),
               client("c1", "mesh", "node-1"), service("s1", "mesh", {"app": "s1"}, PORTS)]

    def setUp(self):
        self.box = harness.Sandbox("down")
        self.addCleanup(self.box.folder.cleanup)
        self.addCleanup(self.box.weft, "down", check=False)

    @staticmethod
    def bpftool(kind, *args):
        done = subprocess.run(["bpftool", "-j", kind, "show", *args], capture_output=True, text=True)
        shown = json.loads(done.stdout or "[]")
        return shown if isinstance(shown, list) else [shown]

    def pinned(self):
        """Ids of the sandbox's BPF links and maps, by kind."""
        found = {"link": set(), "map": set()}
        for file in (self.box.run / "bpf").glob("node-*/*/*"):
            kind = "map" if file.name.startswith("map-") else "link"
            found[kind].update(one["id"] for one in self.bpftool(kind, "pinned", str(file)))
        return found

    def left(self, pinned):
        """Which of them the kernel still has."""
        return [(kind, one["id"]) for kind, ids in pinned.items() for one in self.bpftool(kind) if one["id"] in ids]

    def check(self, *killed):
        import test_sandbox
        self.box.up(self.objects)
        self.assertEqual(self.box.curl("c1", "http://s1/"), "hello from s1\n")
        pinned = self.pinned()
        # On each node: of the mesh's hooks and of one pod, and the maps that they share.
        self.assertGreaterEqual(len(pinned["link"]), 2 * 6)
        self.assertGreaterEqual(len(pinned["map"]), 2 * 8)
        self.assertEqual(len(self.left(pinned)), sum(len(ids) for ids in pinned.values()))
        for part in killed:
            for pid in self.box.pids(*part):
                os.kill(pid, signal.SIGKILL)
        self.box.weft("down")
        self.assertEqual(test_sandbox.leftovers(self.box.name), [])
        # The kernel frees a detached program a moment later.
        eventually(lambda: not self.left(pinned), what="BPF links and maps gone")

    def test_in_good_order(self):
        self.check()

    def test_agents_and_supervisor_killed(self):
        self.check(("supervisor",), ("node-1", "agent"), ("node-2", "agent"))

    def test_everything_killed(self):
        self.check(())


if __name__ == "__main__":
    harness.main()
