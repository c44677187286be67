"""Weft's processes are killed at random, 50 times, under load, and two things must hold all the while: no byte that
arrives is wrong, and nobody is let through whom policy denies. The seed is printed; WEFT_CHAOS_SEED repeats a run."""

import json
import os
import random
import signal
import time

import harness
from harness import Suite, account, client, eventually, mesh_namespace, policy, runs, server, service

CLIENTS = str(harness.HERE / "chaos_peer.py")
PARALLEL = 3
PORTS = [(80, 8080), (7001, 7001), (7002, 7002)]
ZTUNNELS = ("node-1-ztunnel", "node-2-ztunnel")
OTHERS = ("node-1-agent", "node-2-agent", "control")
SEED = int(os.environ.get("WEFT_CHAOS_SEED", random.randrange(1 << 32)))


def deny(name, who, whom):
    return policy(name, "mesh", "DENY", [{"from": [{"source": {"principals": [
        f"cluster.local/ns/mesh/sa/{one}" for one in who]}}]}], {"app": whom})


class Chaos(Suite):
    tag = "chaos"
    kills = 50
    # Longer than the kills may take: what the load still does behind the last one is healing.
    load_seconds = 55
    objects = [mesh_namespace("mesh"),
               *[account(name, "mesh") for name in ("s1", "s2", "good1", "good2", "bad1", "bad2", "later")],
               server("s1", "mesh", "node-1"), server("s2", "mesh", "node-2"),
               *[client(f"{what}{node}", "mesh", f"node-{node}") for what in ("good", "bad") for node in (1, 2)],
               client("later", "mesh", "node-1"),
               deny("no-bad-s1", ("bad1", "bad2"), "s1"), deny("no-bad-s2", ("bad1", "bad2"), "s2"),
               service("s1", "mesh", {"app": "s1"}, PORTS), service("s2", "mesh", {"app": "s2"}, PORTS)]

    def start(self, source, *args):
        return self.in_background(lambda: json.loads(self.box.exec(
            source, harness.PYTHON, CLIENTS, *map(str, args), timeout=self.load_seconds + 90).stdout))

    def kill_one(self, chance):
        """One that runs, and for a moment already: the more moments of its life, the better."""
        process = chance.choice(ZTUNNELS if chance.random() < 0.85 else OTHERS)
        def running():
            _, pid, _ = self.box.state(process)
            return pid if pid and runs(pid) else 0
        pid = eventually(running, within=30)
        time.sleep(chance.uniform(0, 1.4))
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not runs(pid))

    def all_run(self):
        return all(self.box.state(process)[2] == "running" for process in (*ZTUNNELS, *OTHERS))

    def test_killed_at_random_under_load(self):
        print(f"WEFT_CHAOS_SEED={SEED}")
        chance = random.Random(SEED)
        for good, target in (("good1", "s1"), ("good1", "s2"), ("good2", "s1")):
            eventually(lambda: self.box.curl(good, f"http://{target}/"))
        for bad in ("bad1", "bad2", ):
            for target in ("s1", "s2"):
                eventually(lambda: self.box.refused(bad, f"http://{target}/"))
        loads = [self.start(good, "echo", target, 7001, self.load_seconds, PARALLEL, chance.randrange(1 << 30))
                 for good, target in (("good1", "s1"), ("good1", "s2"), ("good2", "s1"))]
        denied = [self.start(bad, "denied", target, 7002, self.load_seconds)
                  for bad in ("bad1", "bad2") for target in ("s1", "s2")]
        began = time.monotonic()
        for kill in range(self.kills):
            if kill == self.kills // 3:
                # From here on it is in force, whoever is killed.
                eventually(self.all_run, within=30)
                self.box.apply(deny("no-later", ("later",), "s2"))
                eventually(lambda: any("explicitly denied by: mesh/no-later" in entry.get("error", "")
                                       for entry in [*self.box.access("node-2", src__workload="later"), {}]
                                       if self.box.exec("later", "curl", "-sSm5", "http://s2/") or True), within=30)
                left = self.load_seconds - (time.monotonic() - began)
                denied.append(self.start("later", "denied", "s2", 7002, max(5, left)))
            self.kill_one(chance)
        took = time.monotonic() - began
        results = [load() for load in loads]
        heard = [one() for one in denied]
        print(f"{self.kills} kills in {took:.0f} s;", *results, *heard, sep="\n")
        for found in results:
            self.assertEqual(found["wrong"], [])
            self.assertEqual(found["hung"], 0)
            self.assertGreater(found["bytes"], 1 << 20)
            self.assertGreater(found["whole"], 10)
        for found in heard:
            self.assertEqual(found["heard"], [])
            self.assertGreater(found["tries"], 10)
        # All is well again.
        eventually(self.all_run, within=30)
        for good, target in (("good1", "s1"), ("good1", "s2"), ("good2", "s1"), ("good2", "s2")):
            eventually(lambda: self.box.curl(good, f"http://{target}/"), within=30)
        for bad, target in (("bad1", "s1"), ("bad1", "s2"), ("bad2", "s1"), ("bad2", "s2"), ("later", "s2")):
            self.box.refused(bad, f"http://{target}/")


class ChaosOnEpoll(Chaos):
    tag = "chaosep"
    ztunnel_flags = "backend=epoll"
    kills = 12
    load_seconds = 16


if __name__ == "__main__":
    harness.main()
