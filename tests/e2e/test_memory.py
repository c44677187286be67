"""What a ztunnel's memory does under many idle connections, and under readers that have stopped."""

import pathlib
import subprocess

import harness
from harness import Suite, account, client, eventually, mesh_namespace, pod, service

IDLE_PEER = str(harness.HERE / "idle_peer.py")
# Between two pods of one node ztunnel has two sockets for each, and 20 000 files.
IDLE = {"s2": 10_000, "s1": 4_000}
# Of resident memory, for each idle connection and side; a bound against what leaks or is not let go of.
IDLE_BYTES_MAX = 12 * 1024
# Afterwards, of 50 MiB: pools of buffers (2 MiB a loop), and pages of the heap in which something is still in use.
KEPT_BYTES_MAX = 20 << 20
STILL_BYTES = 256 * 1024
STOPPED = 200
# What one direction of a connection may hold: the HTTP/2 window of a reader that has read nothing (256 KiB), and what
# is read and not sent yet (128 KiB); what the kernel holds comes before that, and is not ztunnel's.
STOPPED_BYTES_MAX = 512 * 1024
NODES = ("node-1", "node-2")


def holder(name, node):
    return pod(name, "mesh", [harness.PYTHON, "-u", IDLE_PEER, "serve", 7001], node, probe=7001)


class Memory(Suite):
    tag = "mem"
    objects = [mesh_namespace("mesh"), *[account(name, "mesh") for name in ("s1", "s2", "c1")],
               holder("s1", "node-1"), holder("s2", "node-2"), client("c1", "mesh", "node-1"),
               service("s1", "mesh", {"app": "s1"}, [(7001, 7001)]), service("s2", "mesh", {"app": "s2"}, [(7001, 7001)])]

    def resident(self, node):
        """Bytes of memory of the node's ztunnel that are its own."""
        _, pid, _ = self.box.state(f"{node}-ztunnel")
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024

    def open(self, what, target, count):
        peer = subprocess.Popen([harness.WEFT, "sandbox", "exec", "--name", self.box.name, "-i", "c1", "-n", "mesh", "--",
                                 harness.PYTHON, "-u", IDLE_PEER, what, target, "7001", str(count)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        def close():
            peer.stdin.close()
            peer.wait(30)
            peer.stdout.close()
        self.addCleanup(lambda: peer.poll() is None and close())
        self.assertEqual(peer.stdout.readline(), f"open {count}\n")
        return close

    def settled(self, node):
        """The memory once it has neither shrunk nor grown for a second."""
        last = [self.resident(node)]
        def still():
            last.append(self.resident(node))
            return len(last) > 20 and max(last[-20:]) - min(last[-20:]) <= STILL_BYTES
        eventually(still, within=60)
        return last[-1]

    def test_idle_connections_cost_little_and_give_it_back(self):
        for target in ("s2", "s1"):
            # The first time fills caches and pools.
            self.open("hold", target, 200)()
            before = {node: self.settled(node) for node in NODES}
            peaks = []
            for _ in range(2):
                close = self.open("hold", target, IDLE[target])
                idle = {node: self.settled(node) for node in NODES}
                close()
                peaks.append(idle)
                for node in NODES:
                    each = (idle[node] - before[node]) / IDLE[target]
                    print(f"{target} {node}: before {before[node] >> 10} KiB, {each:.0f} bytes each of {IDLE[target]} idle")
                    sides = 2 if target == "s1" else 1
                    self.assertLess(each, sides * IDLE_BYTES_MAX)
                    eventually(lambda: self.resident(node) - before[node] < KEPT_BYTES_MAX, within=20,
                               what=f"{node}'s memory of {idle[node] >> 10} KiB given back")
                    print(f"{target} {node}: after {self.resident(node) >> 10} KiB")
            for node in NODES:
                self.assertLess(peaks[1][node], peaks[0][node] * 1.2, "the second time costs no more")

    def test_readers_that_have_stopped(self):
        for target in ("s2", "s1"):
            before = {node: self.settled(node) for node in NODES}
            close = self.open("stop", target, STOPPED)
            stopped = {node: self.settled(node) for node in NODES}
            close()
            for node in NODES:
                each = (stopped[node] - before[node]) / STOPPED
                print(f"{target} {node}: {each / 1024:.0f} KiB each of {STOPPED} stopped readers")
                self.assertLess(each, STOPPED_BYTES_MAX)
            self.assertEqual(self.box.exec("c1", "true").returncode, 0)


if __name__ == "__main__":
    harness.main()
