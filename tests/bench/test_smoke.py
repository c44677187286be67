"""Runs the benchmark for moments: every row is there and positive. How fast anything is, is not tested."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SKIPPED = 77  # ctest's SKIP_RETURN_CODE
WEFT = ("weft", "weft_epoll")
EXPECTED = {  # row -> who must have a value
    "memory.idle": (*WEFT, "envoy"), "memory.per_conn": (*WEFT, "envoy"),
    "same.bulk.c1": ("none", *WEFT, "envoy", "splice"), "same.bulk.c1.cpu_src": (*WEFT, "splice"),
    "cross.bulkrev.c8": ("none", *WEFT, "envoy"), "cross.bulkrev.c8.cpu_dst": (*WEFT, "envoy"),
    "cross.rr.c32.tps": ("none", *WEFT, "envoy"), "cross.rr.c32.p50_us": ("none", *WEFT, "envoy"),
    "cross.rr.c32.p99_us": ("none", *WEFT, "envoy"), "cross.crr.c16.tps": ("none", *WEFT, "envoy"),
}
ANY_VALUE = ("memory.per_conn",)  # so few connections may fit into what is there


def main():
    if os.geteuid() != 0:
        print("skipped: needs root (network namespaces, cgroups, BPF)")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "rows.json"
        subprocess.run([sys.executable, HERE / "bench.py", "--quick", "--json", file], check=True)
        rows = {row["name"]: row for row in json.loads(file.read_text())["rows"]}
    wrong = [f"{name}: {peer}" for name, who in EXPECTED.items() for peer in who
             if (value := rows.get(name, {}).get(peer)) is None or (value <= 0 and name not in ANY_VALUE)]
    if wrong:
        print("no positive value:", *wrong, sep="\n  ")
    return 1 if wrong else 0


sys.exit(main())
