"""Measures what a ztunnel's second worker is worth to one busy pod: `scripts/bench workers`.

Each worker gets the same small share of a core, and has more to do than that allows, so that the ratio is the
ztunnel's own, on a machine of two cores too."""

import argparse
import json
import os
import pathlib
import sys

import peers  # noqa: F401 - it finds tests/e2e
import harness
from harness import PYTHON, account, client, eventually, mesh_namespace, pod
from test_crowd import CROWD, PORT, cpu_by_thread

GOAL = 1.7
# What takes a worker with its share of a core some seconds.
RUSH = 800
POUR_MIB = 8
# Of a core, for each worker: so little that on two cores, with clients and servers beside it, nobody but the worker
# itself is in its way. What else runs on the machine comes after all of them.
QUOTA_US = 1_000
PERIOD_US = 40_000
SHARES_MAX = 262_144
CPU_GROUPS = pathlib.Path("/sys/fs/cgroup/cpu")
FIRST = ["nice", "-n", "-19"]
OBJECTS = [mesh_namespace("mesh"), *(account(name, "mesh") for name in ("s1", "s2", "c1")),
           client("c1", "mesh", "node-1"),
           *(pod(name, "mesh", [*FIRST, PYTHON, "-u", CROWD, "serve", PORT], node, probe=PORT)
             for name, node in (("s1", "node-1"), ("s2", "node-2")))]


def bound(box, node, workers, load):
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


def remove(groups):
    def removed():
        while groups:
            groups[-1].rmdir()
            groups.pop()
        return True
    eventually(removed)


def rates(workers):
    """Connections a second of a pod that calls on its own node, MiB a second of one that is called from another."""
    box = harness.Sandbox(f"two{workers}")
    groups = []

    def run(what, target, *args):
        done = box.exec("c1", *FIRST, PYTHON, CROWD, what, box.ip(target, "mesh"), PORT, *args, timeout=100)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    try:
        box.up(OBJECTS, ztunnel_flags=f"workers={workers}")
        groups += bound(box, "node-1", workers, lambda: run("rush", "s1", 300, 16))
        rush = run("rush", "s1", RUSH, 64)
        assert not rush["failed"], rush["failed"]
        groups += bound(box, "node-2", workers, lambda: run("rush", "s2", 300, 16))
        return {"workers.crr": ("1/s", RUSH / rush["seconds"]),
                "workers.bulk": ("MiB/s", 8 * POUR_MIB / run("pour", "s2", 8, POUR_MIB))}
    finally:
        box.down()
        remove(groups)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench workers", description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the rows there")
    args = parser.parse_args()
    if os.geteuid() != 0 or not (CPU_GROUPS / "cpu.shares").exists():
        sys.exit("bench: needs root and the cpu controller of cgroup v1, which bounds single threads")
    one, two = rates(1), rates(2)
    rows = [{"name": name, "unit": unit, "weft": value, "weft_two": two[name][1]} for name, (unit, value) in one.items()]
    for row in rows:
        ratio = row["weft_two"] / row["weft"]
        print(f"{row['name']:16}{row['unit']:8}{row['weft']:10.4g}{row['weft_two']:10.4g}{ratio:8.2f}"
              f"  goal >= {GOAL} {'holds' if ratio >= GOAL else 'FALLS SHORT'}")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"rows": rows}, indent=1) + "\n")


main()
