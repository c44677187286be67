"""A ztunnel is replaced by a new one, under load: nobody notices whose connections end in time."""

import os
import pathlib
import signal
import subprocess
import threading

import harness
from harness import Suite, account, client, eventually, mesh_namespace, policy, runs, server, service

DRAIN_SECONDS = 6
PARALLEL = 16
PORTS = [(80, 8080), (7001, 7001)]
CUT = "this ztunnel is ending and its drain time is over"


class Upgrade(Suite):
    tag = "upg"
    connections = 10_000
    ztunnel_flags = f"drain-time={DRAIN_SECONDS}"
    objects = [mesh_namespace("mesh"), *[account(name, "mesh") for name in ("s1", "s2", "c1", "c2")],
               server("s1", "mesh", "node-1"), server("s2", "mesh", "node-2"), client("c1", "mesh", "node-1"),
               client("c2", "mesh", "node-1"),
               service("s1", "mesh", {"app": "s1"}, PORTS), service("s2", "mesh", {"app": "s2"}, PORTS)]

    def setUp(self):
        for target in ("s1", "s2"):
            eventually(lambda: self.box.curl("c1", f"http://{target}/"))

    def rollout(self, *nodes):
        """Replaces ztunnels; the pids of the old ones, which drain."""
        old = {node: self.box.state(f"{node}-ztunnel")[1] for node in nodes}
        for node in nodes:
            said = self.box.weft("rollout", "restart", "ztunnel", "--node", node).stdout
            self.assertIn(f"pid {old[node]} lets its connections end", said)
            self.assertNotEqual(self.box.state(f"{node}-ztunnel")[1], old[node])
        return old

    def start(self, *args):
        """A client of peer.py in a thread; call the result for what it said."""
        return self.in_background(lambda: self.box.peer(*args, timeout=240))

    def test_no_new_connection_is_refused(self):
        loads = [self.start("c1", "many", target, 7001, self.connections // 2, PARALLEL // 2) for target in ("s1", "s2")]
        for target, node in (("s1", "node-1"), ("s2", "node-2")):
            eventually(lambda: len(self.box.access(node, dst__workload=target, src__workload="c1")) > 100)
        rounds = 0
        while any(thread.is_alive() for thread in threading.enumerate() if thread is not threading.main_thread()):
            self.rollout("node-1", "node-2")
            rounds += 1
        self.assertGreaterEqual(rounds, 2)
        for load in loads:
            self.assertEqual(load()["failed"], [])

    def test_what_ends_in_time_is_not_cut(self):
        bulk = [self.start("c1", "echo_for", target, 7001, DRAIN_SECONDS / 2) for target in ("s1", "s2")]
        talks = [self.converse("c1", target) for target in ("s1", "s2")]
        old = self.rollout("node-1", "node-2")
        for load in bulk:
            found = load()
            self.assertEqual(found["end"], "end")
            self.assertGreater(found["bytes"], 1 << 20)
        for talk in talks:
            talk.goes_on("idle until now")
            self.assertEqual(talk.end(), 0)
        # Nothing is open any more: no need to wait for the bound.
        for pid in old.values():
            eventually(lambda: not runs(pid), within=DRAIN_SECONDS)
        for node in ("node-1", "node-2"):
            self.assertEqual(self.box.access(node, error=CUT), [])

    def assert_cut(self, node, direction, target):
        found = self.box.access(node, direction=direction, src__workload="c2", dst__workload=target)
        self.assertTrue(any(CUT in entry.get("error", "") for entry in found), (node, direction, target, found))

    def test_what_outlives_the_drain_is_cut_and_logged(self):
        talks = {target: self.converse("c2", target) for target in ("s1", "s2")}
        old = self.rollout("node-2")["node-2"]
        eventually(lambda: not runs(old), within=DRAIN_SECONDS + 5)
        self.assertTrue(talks["s2"].has_ended())
        self.assert_cut("node-2", "inbound", "s2")
        talks["s1"].goes_on("two")
        talks["s2"] = self.converse("c2", "s2")
        old = self.rollout("node-1")["node-1"]
        eventually(lambda: not runs(old), within=DRAIN_SECONDS + 5)
        for target, talk in talks.items():
            self.assertTrue(talk.has_ended())
            self.assert_cut("node-1", "outbound", target)
        self.assert_cut("node-1", "inbound", "s1")

    def test_policy_is_in_force_during_the_drain(self):
        talks = {target: self.converse("c2", target) for target in ("s1", "s2")}
        self.rollout("node-1", "node-2")
        self.box.apply(policy("no-c2", "mesh", "DENY", [{"from": [{"source": {"principals": [
            "cluster.local/ns/mesh/sa/c2"]}}]}]))
        try:
            for node, target in (("node-1", "s1"), ("node-2", "s2")):
                eventually(lambda: any("policy change" in entry.get("error", "") for entry in self.box.access(
                    node, direction="inbound", src__workload="c2", dst__workload=target)), within=DRAIN_SECONDS / 2)
            for talk in talks.values():
                self.assertTrue(talk.has_ended())
        finally:
            self.box.delete("authorizationpolicy", "no-c2", "mesh")
        eventually(lambda: self.box.curl("c2", "http://s2/"))

    def test_a_successor_that_does_not_start_changes_nothing(self):
        _, pid, _ = self.box.state("node-1-ztunnel")
        zds = self.box.run / "nodes/node-1/zds.sock"
        zds.rename(zds.with_suffix(".away"))  # it will not be told of the pods: never ready
        try:
            done = subprocess.Popen([harness.WEFT, "sandbox", "rollout", "restart", "ztunnel", "--name", self.box.name,
                                     "--node", "node-1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            new = eventually(lambda: [one for one in self.box.pids("node-1", "ztunnel") if one != pid])
            for one in new:
                os.kill(one, signal.SIGKILL)
            _, said = done.communicate(timeout=60)
            self.assertEqual(done.returncode, 1)
            self.assertIn("killed by signal 9", said)
        finally:
            zds.with_suffix(".away").rename(zds)
        self.assertEqual(self.box.state("node-1-ztunnel")[1], pid)
        self.assertEqual(self.box.curl("c1", "http://s2/"), "hello from s2\n")

    def test_a_second_ztunnel_by_accident_is_told_so(self):
        _, pid, _ = self.box.state("node-1-ztunnel")
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
        command = [word for word in command if word != "--takeover"]
        done = subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", *command], capture_output=True, text=True,
                              timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn("does another ztunnel run in this network namespace?", done.stderr)
        self.assertEqual(self.box.curl("c1", "http://s2/"), "hello from s2\n")


class UpgradeOnEpoll(Upgrade):
    tag = "upgep"
    ztunnel_flags = f"drain-time={DRAIN_SECONDS},backend=epoll"
    connections = 3_000
    test_policy_is_in_force_during_the_drain = None
    test_what_outlives_the_drain_is_cut_and_logged = None


if __name__ == "__main__":
    harness.main()
