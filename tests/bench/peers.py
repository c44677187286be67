"""Who is measured: pods without a mesh, Weft, a pair of Envoys, a bare splice proxy."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import harness  # noqa: E402
from harness import BIN  # noqa: E402

LOAD = str(BIN / "bench_load")
SPLICE = str(BIN / "bench_splice_proxy")
SERVER_PORT = 8080
ENVOY_PORT = 15443
SPLICE_PORT = 9100
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
PLACES = {"same": "node-1", "cross": "node-2"}  # where the server is; the client is on node-1


def pods(ns):
    servers = [harness.pod(place, ns, [LOAD, "serve", SERVER_PORT], node, probe=SERVER_PORT)
               for place, node in PLACES.items()]
    return [harness.client("from", ns, "node-1"), *servers]


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_kb(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KB


def wait_for_port(netns, port):
    """Until somebody listens there."""
    def listens():
        return harness.in_netns(netns, "ss", "-Hltn", f"sport = :{port}").stdout.strip()
    harness.eventually(listens, what=f"a listener on {port} in {netns}")


class Stage:
    """A sandbox with a client and two servers in the mesh, and the same outside it."""

    def __init__(self, backend):
        self.backend = backend
        self.box = harness.Sandbox("bench" + backend)

    def up(self):
        objects = [harness.mesh_namespace("mesh"), harness.namespace("plain")]
        for ns in ("mesh", "plain"):
            objects += [harness.account(name, ns) for name in ("from", *PLACES)] + pods(ns)
        try:
            self.box.up(objects, ztunnel_flags=f"workers=1,backend={self.backend}")
        except BaseException:
            self.box.weft("down", check=False)
            raise
        # Thousands of connections a second from one address: closed ones must not use up its ports.
        for ns in ("mesh", "plain"):
            for name in ("from", *PLACES):
                harness.in_netns(self.netns(ns, name), "sysctl", "-qw", "net.ipv4.tcp_tw_reuse=1",
                                 "net.ipv4.ip_local_port_range=1024 65000")

    def netns(self, ns, name):
        return f"weft-{self.box.name}-pod-{ns}-{name}"

    def ip(self, ns, name):
        return self.box.ip(name, ns)


class Peer:
    """One way from a client to the server of a place."""

    def __init__(self, name, box, ns, targets, processes):
        self.name = name
        self.box = box
        self.ns = ns                # of the client
        self.targets = targets      # place -> "ip:port"
        self.processes = processes  # place -> (pids of the client's proxy, pids of the server's)

    def load(self, *args):
        command = [harness.WEFT, "sandbox", "exec", "--name", self.box.name, "-i", "from", "-n", self.ns, "--", LOAD]
        return subprocess.Popen([*command, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, place, mode, connections, seconds):
        """bench_load's answer, and the CPU seconds of each side's proxy meanwhile."""
        sides = self.processes[place]
        before = [cpu_seconds(pid) if pid else 0 for pid in sides]
        with self.load("run", mode, self.targets[place], connections, seconds) as process:
            text, _ = process.communicate(timeout=seconds + 30)
        if process.returncode != 0:
            raise RuntimeError(f"{self.name} {place} {mode}: the load ended with {process.returncode}")
        time.sleep(0.1)  # what is on its way is worked off
        answer = json.loads(text)
        answer["cpu"] = [cpu_seconds(pid) - start if pid else None for pid, start in zip(sides, before)]
        return answer

    def memory(self, place):
        return [resident_kb(pid) if pid else None for pid in self.processes[place]]

    @contextlib.contextmanager
    def holding(self, place, connections):
        with self.load("hold", self.targets[place], connections) as process:
            if process.stdout.readline().strip() != "ready":
                raise RuntimeError(f"{self.name}: {connections} connections could not be opened")
            yield
            process.stdin.close()
            process.wait()


def direct(stage):
    return Peer("none", stage.box, "plain",
                {place: f"{stage.ip('plain', place)}:{SERVER_PORT}" for place in PLACES},
                {place: (None, None) for place in PLACES})


def weft(stage):
    pids = {node: stage.box.state(f"{node}-ztunnel")[1] for node in PLACES.values()}
    name = "weft" if stage.backend == "uring" else "weft_epoll"
    return Peer(name, stage.box, "mesh",
                {place: f"{stage.ip('mesh', place)}:{SERVER_PORT}" for place in PLACES},
                {"same": (pids["node-1"], None), "cross": (pids["node-1"], pids["node-2"])})


def splice(stage, stack):
    """The same two legs as ztunnel's between two pods of a node, with nothing but splice(2)."""
    netns = stage.netns("plain", "from")
    process = subprocess.Popen(["nsenter", f"--net=/run/netns/{netns}", SPLICE, str(SPLICE_PORT), str(SERVER_PORT),
                                f"/run/netns/{stage.netns('plain', 'same')}"], start_new_session=True)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    wait_for_port(netns, SPLICE_PORT)
    return Peer("splice", stage.box, "plain", {"same": f"127.0.0.1:{SPLICE_PORT}"}, {"same": (process.pid, None)})
