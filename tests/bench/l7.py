"""Measures the waypoint's HTTP proxy beside Envoy: `scripts/bench l7`.

Both stand between the same load and the same server on loopback, each alone on the second core while load and server
share the first; rounds interleave. Where load and server are what limits the rate, requests per second say little, so
`rps` is requests by CPU second of the proxy: what one core of it carries."""

import argparse
import contextlib
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from envoy_program import program  # noqa: E402

BIN = pathlib.Path(os.environ["WEFT_BIN"])
PROXY_CORE = "1"
LOAD_CORE = "0"
ON = ["nice", "-n", "-19", "taskset", "-c"]  # what else runs on the machine comes after all of them
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
BODIES = {"200b": 200, "10k": 10_000}
CONNECTIONS = 64
IDLE_CONNECTIONS = 5000
PORTS = iter(range(19_100, 19_500))


def cpu_seconds(pid):
    """Of all threads, in nanoseconds' precision."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_kb(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KB


def wait_for(port):
    for _ in range(1000):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.01)
    raise SystemExit(f"bench l7: nobody listens on {port}")


class Started:
    def __init__(self, stack, core, command, port):
        self.port = port
        self.process = subprocess.Popen([*ON, core, *command], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        stack.callback(self.process.wait)
        stack.callback(self.process.terminate)
        self.pid = self.process.pid
        wait_for(port)


def envoy_config(port, backend, routes):
    """An HTTP proxy with this many routes, of which the last one matches; metrics stay on, as they are by default."""
    match = [{"match": {"prefix": f"/never-{i}/"}, "route": {"cluster": "app"}} for i in range(routes - 1)]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in", "codec_type": "AUTO",
        "route_config": {"name": "all", "virtual_hosts": [{
            "name": "all", "domains": ["*"], "routes": [*match, {"match": {"prefix": "/"}, "route": {"cluster": "app"}}]}]},
        "http_filters": [{"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}

    def at(number):
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}
    many = 100_000  # the default circuit breaker opens at 1024
    return {"static_resources": {
        "listeners": [{"name": "in", "address": at(port), "filter_chains": [
            {"filters": [{"name": "http", "typed_config": manager}]}]}],
        "clusters": [{"name": "app", "type": "STATIC", "connect_timeout": "5s",
                      "load_assignment": {"cluster_name": "app", "endpoints": [
                          {"lb_endpoints": [{"endpoint": {"address": at(backend)}}]}]},
                      "circuit_breakers": {"thresholds": [
                          {"max_connections": many, "max_pending_requests": many, "max_requests": many}]}}]}}


def start_envoy(stack, folder, backend, routes):
    port = next(PORTS)
    config = pathlib.Path(folder) / f"envoy-{port}.json"
    config.write_text(json.dumps(envoy_config(port, backend, routes)))
    return Started(stack, PROXY_CORE, [program(), "-c", str(config), "--concurrency", "1", "--disable-hot-restart",
                                       "--log-level", "error", "--base-id", str(port)], port)


def start_weft(stack, folder, backend, routes, *flags):
    port = next(PORTS)
    config = pathlib.Path(folder) / f"weft-{port}.textproto"
    text = "port: 80\n" + "".join(
        f'http {{ name: "r{i}" matches {{ path {{ prefix: "/never-{i}/" }} }} forward {{ destinations {{ weight: 1 '
        f'destination {{ namespace: "bench" hostname: "app" port: 80 }} }} }} }}\n' for i in range(routes - 1))
    text += ('http { name: "all" matches { path { prefix: "/" } } forward { destinations { weight: 1 '
             'destination { namespace: "bench" hostname: "app" port: 80 } } } }\n')
    config.write_text(text)
    return Started(stack, PROXY_CORE, [str(BIN / "bench_l7_proxy"), f"127.0.0.1:{port}", f"127.0.0.1:{backend}",
                                       "--routes", str(config), *flags], port)


def number(pattern, text):
    found = re.search(pattern, text)
    if not found:
        raise SystemExit(f"bench l7: no {pattern} in:\n{text}")
    return float(found.group(1))


def to_us(value, unit):
    return float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def load_http1(port, seconds):
    out = subprocess.run([*ON, LOAD_CORE, "wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s",
                          f"http://127.0.0.1:{port}/a/path?with=query"], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(f"bench l7: errors under load:\n{out}")
    return number(r"(\d+) requests in", out)


def load_http2(port, seconds):
    out = subprocess.run([*ON, LOAD_CORE, "h2load", "-t", "1", "-c", "8", "-m", "8", "-D", str(seconds),
                          f"http://127.0.0.1:{port}/a/path?with=query"], capture_output=True, text=True, check=True).stdout
    done, failed = number(r"(\d+) succeeded", out), number(r"(\d+) failed", out)
    if failed:
        raise SystemExit(f"bench l7: errors under load:\n{out}")
    return done


def rate_row(proxy, load, seconds):
    """Requests by CPU second of the proxy, and by second."""
    load(proxy.port, 1)
    cpu, began = cpu_seconds(proxy.pid), time.monotonic()
    done = load(proxy.port, seconds)
    return done / (cpu_seconds(proxy.pid) - cpu), done / (time.monotonic() - began)


def latency_row(proxy, rate, seconds):
    """p50 and p99 in microseconds at a fixed rate of HTTP/1.1 requests (h2load paces its clients)."""
    clients = 16
    log = pathlib.Path(tempfile.mkstemp()[1])
    try:
        subprocess.run([*ON, LOAD_CORE, "h2load", "--h1", "-t", "1", "-c", str(clients), "-D", str(seconds),
                        "--rps", str(max(1, int(rate / clients))), f"--log-file={log}",
                        f"http://127.0.0.1:{proxy.port}/a/path?with=query"], capture_output=True, check=True)
        times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    finally:
        log.unlink()
    return times[len(times) // 2], times[len(times) * 99 // 100]


def idle_row(proxy):
    """Resident kB for each of many connections that asked once and now wait."""
    before = resident_kb(proxy.pid)
    connections = []
    try:
        for _ in range(IDLE_CONNECTIONS):
            one = socket.create_connection(("127.0.0.1", proxy.port))
            one.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            one.recv(65536)
            connections.append(one)
        return (resident_kb(proxy.pid) - before) / IDLE_CONNECTIONS
    finally:
        for one in connections:
            one.close()


STARTERS = {"weft": start_weft, "envoy": start_envoy}


def measure(args, folder):
    rows = {}

    def note(name, unit, who, value):
        rows.setdefault(name, {"unit": unit, "weft": [], "envoy": []})[who].append(value)

    def wanted(name):
        return re.search(args.only, name)
    shapes = [(version, load, size, routes) for version, load in (("http1", load_http1), ("http2", load_http2))
              for size in BODIES for routes in (1, 1000)]
    for version, load, size, routes in shapes:
        name = f"{version}.{size}.routes{routes}"
        if not wanted(name):
            continue
        with contextlib.ExitStack() as stack:
            backend = next(PORTS)
            Started(stack, LOAD_CORE, [str(BIN / "bench_l7_backend"), "127.0.0.1", str(backend), str(BODIES[size])], backend)
            proxies = {who: start(stack, folder, backend, routes) for who, start in STARTERS.items()}
            for _ in range(args.rounds):
                for who, proxy in proxies.items():
                    by_cpu, by_time = rate_row(proxy, load, args.seconds)
                    note(f"{name}.rps", "requests/CPU second", who, by_cpu)
                    note(f"{name}.wall_rps", "requests/s", who, by_time)
            if version == "http1" and routes == 1:
                most = statistics.median(rows[f"{name}.wall_rps"]["envoy"])
                for share in (30, 70):
                    for _ in range(args.rounds):
                        for who, proxy in proxies.items():
                            p50, p99 = latency_row(proxy, most * share / 100, max(2, args.seconds))
                            note(f"{name}.at{share}.p50_us", "us", who, p50)
                            note(f"{name}.at{share}.p99_us", "us", who, p99)
    if wanted("memory"):
        for who, start in STARTERS.items():
            with contextlib.ExitStack() as stack:
                backend = next(PORTS)
                Started(stack, LOAD_CORE, [str(BIN / "bench_l7_backend"), "127.0.0.1", str(backend), "200"], backend)
                note("memory.idle_connection_kb", "kB", who, idle_row(start(stack, folder, backend, 1)))
    return rows


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench l7")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--only", default="", help="rows whose name has this regular expression")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(args, folder)
    result = []
    for name, row in rows.items():
        one = {"name": name, "unit": row["unit"]}
        one.update({who: statistics.median(row[who]) for who in STARTERS})
        result.append(one)
        print(f"{name:36} weft {one['weft']:12.1f}  envoy {one['envoy']:12.1f}  ratio "
              f"{one['weft'] / max(one['envoy'], 1e-9):6.2f}  {one['unit']}")
    if args.json:
        args.json.write_text(json.dumps({"rows": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
