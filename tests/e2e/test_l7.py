"""The shop: what a VirtualService and a DestinationRule make of requests at a waypoint."""

import collections
import concurrent.futures
import json
import pathlib
import time

import harness
from harness import PYTHON, Suite, account, client, eventually, mesh_namespace, meta, pod
from test_waypoint import gateway, using

SERVER = str(pathlib.Path(__file__).with_name("l7_server.py"))


def version(name, of, node, labels=None):
    return pod(name, "mesh", [PYTHON, "-u", SERVER], node, labels={"app": "reviews", "version": of, **(labels or {})},
               sa="reviews", probe=8080)


def service(name, selector):
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta(name, "mesh"),
            "spec": {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}


def virtual_service(*http, name="reviews"):
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta(name, "mesh"),
            "spec": {"hosts": [name], "http": list(http)}}


def destination_rule(name="reviews", **policy):
    return {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": meta(name, "mesh"),
            "spec": {"host": name, "subsets": [{"name": v, "labels": {"version": v}} for v in ("v1", "v2")],
                     **({"trafficPolicy": policy} if policy else {})}}


def to(subset=None, weight=None, host="reviews"):
    made = {"destination": {"host": host, **({"subset": subset} if subset else {})}}
    if weight is not None:
        made["weight"] = weight
    return made


OBJECTS = [
    mesh_namespace("mesh"), *[account(name, "mesh") for name in ("c1", "reviews", "gate")],
    client("c1", "mesh", "node-1"), version("v1", "v1", "node-1"), version("v2", "v2", "node-2"),
    gateway("gate", "mesh"), using(service("reviews", {"app": "reviews"}), "gate"),
    using(service("only-v1", {"app": "reviews", "version": "v1"}), "gate"), destination_rule(),
]


class Shop(Suite):
    tag = "l7"
    objects = OBJECTS

    def setUp(self):
        eventually(lambda: "x-envoy-upstream-service-time" in self.ask("-i"), within=30)
        for name in ("v1", "v2"):
            self.will(name, times=0)

    def ask(self, *args, url="http://reviews/"):
        return self.box.curl("c1", url, *args)

    def status(self, *args, url="http://reviews/"):
        return int(self.ask("-o", "/dev/null", "-w", "%{http_code}", *args, url=url).strip() or 0)

    def will(self, name, **told):
        query = "&".join(f"{key}={value}" for key, value in told.items())
        self.box.exec(name, "curl", "-sS", "-X", "POST", f"http://127.0.0.1:8080/will?{query}", check=True)

    def seen(self, name):
        return json.loads(self.box.exec(name, "curl", "-sS", "http://127.0.0.1:8080/seen", check=True).stdout)

    def apply(self, *objects):
        """Takes away, or back to what it was, when the test ends."""
        self.box.apply(*objects)
        for thing in objects:
            if thing["kind"] == "DestinationRule" and thing["metadata"]["name"] == "reviews":
                self.addCleanup(self.box.apply, destination_rule())
            else:
                self.addCleanup(self.box.delete, thing["kind"], thing["metadata"]["name"], "mesh")

    def many(self, times, *args, url="http://reviews/"):
        """Who answered how often."""
        script = f"for i in $(seq {times}); do curl -sS -m 10 {' '.join(args)} {url}; done"
        lines = self.box.exec("c1", "sh", "-c", script, check=True, timeout=120).stdout.split("\n")
        return collections.Counter(line.removeprefix("hello from ") for line in lines if line)

    def test_a_header_decides(self):
        self.apply(virtual_service({"match": [{"headers": {"x-canary": {"exact": "true"}}}], "route": [to("v2")]},
                                   {"route": [to("v1")]}))
        eventually(lambda: self.many(5) == {"v1": 5})
        self.assertEqual(self.many(10, "-H", "x-canary:true"), {"v2": 10})
        self.assertEqual(self.many(10, "-H", "x-canary:false"), {"v1": 10})

    def test_weights(self):
        self.apply(virtual_service({"route": [to("v1", 90), to("v2", 10)]}))
        eventually(lambda: self.many(20)["v1"] > 13)
        self.assertTrue(10 <= self.many(300)["v2"] <= 60)

    def test_retries_hide_a_flaky_pod(self):
        self.apply(virtual_service({"route": [to("v1")], "headers": {"response": {"set": {"x-round": "1"}}},
                                    "retries": {"attempts": 3, "retryOn": "5xx"}}))
        eventually(lambda: "x-round: 1" in self.ask("-i"))
        self.will("v1", status=503, times=3)
        self.assertEqual(self.status(), 200)
        self.assertEqual(len(self.seen("v1")), 4)
        self.will("v1", status=503, times=4)
        self.assertEqual(self.status(), 503)

    def test_a_timeout(self):
        self.apply(virtual_service({"route": [to("v1")], "timeout": "0.3s"}))
        self.will("v1", seconds=2, times=100)
        eventually(lambda: self.status() == 504)
        self.assertIn("upstream request timeout", self.ask())

    def test_faults(self):
        self.apply(virtual_service({"route": [to("v1")], "fault": {
            "abort": {"httpStatus": 418, "percentage": {"value": 100}},
            "delay": {"fixedDelay": "0.5s", "percentage": {"value": 100}}}}))
        eventually(lambda: self.status() == 418)
        before = time.monotonic()
        self.assertIn("fault filter abort", self.ask())
        self.assertGreaterEqual(time.monotonic() - before, 0.5)

    def test_a_mirror(self):
        self.apply(virtual_service({"route": [to("v1")], "mirrors": [{"destination": {"host": "reviews",
                                                                                     "subset": "v2"}}]}))
        eventually(lambda: self.ask(url="http://reviews/mirrored") and "GET /mirrored" in self.seen("v2"))
        self.will("v2", seconds=3, times=100)
        before = time.monotonic()
        self.assertEqual(self.many(5), {"v1": 5})
        self.assertLess(time.monotonic() - before, 3, "nobody waits for it")

    def test_circuit_breaking(self):
        self.apply(destination_rule("only-v1", connectionPool={
            "tcp": {"maxConnections": 1}, "http": {"http1MaxPendingRequests": 1, "maxRequestsPerConnection": 1}}))
        self.will("v1", seconds=0.5, times=1000)

        def at_once():
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                answers = [pool.submit(self.ask, "-i", url="http://only-v1/") for _ in range(8)]
            return [answer.result() for answer in answers]

        def over(answers):
            return [one for one in answers if " 503" in one.split("\n")[0]]
        refused = eventually(lambda: over(at_once()), within=30)
        self.assertIn("x-envoy-overloaded: true", refused[0])
        self.assertIn("overflow", refused[0])

    def test_ejection_and_return(self):
        self.apply(destination_rule(outlierDetection={
            "consecutive5xxErrors": 3, "interval": "1s", "baseEjectionTime": "10s", "maxEjectionPercent": 100}))
        eventually(lambda: set(self.many(10)) == {"v1", "v2"})

        def ejected():
            self.will("v1", status=500, times=3)
            self.many(15)
            return self.many(5) == {"v2": 5}
        eventually(ejected, within=30)
        self.will("v1", times=0)
        eventually(lambda: self.many(5)["v1"] > 0, within=60)


if __name__ == "__main__":
    harness.main()
