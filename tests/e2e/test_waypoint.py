"""Waypoints: from a client's ztunnel by HBONE to the waypoint, and from it by HBONE to the server's."""

import json
import os
import pathlib
import signal
import subprocess

import harness
from harness import (Suite, account, client, eventually, mesh_namespace, meta, policy, server, service)

WHO = 7006  # answers with the addresses that it sees, and its pod's name
PORTS = [(80, 8080), (81, WHO)]


def gateway(name, ns, traffic=None, klass="weft-waypoint"):
    labels = {"istio.io/waypoint-for": traffic} if traffic else None
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": meta(name, ns, labels),
            "spec": {"gatewayClassName": klass,
                     "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]}}


def using(thing, waypoint, ns=None):
    labels = thing["metadata"].setdefault("labels", {})
    labels["istio.io/use-waypoint"] = waypoint
    if ns:
        labels["istio.io/use-waypoint-namespace"] = ns
    return thing


def http_service(name, ns, selector):
    made = service(name, ns, selector, PORTS)
    for port in made["spec"]["ports"]:
        port["name"] = {80: "http", 81: "tcp-who"}[port["port"]]
    return made


def web_service(name, *waypoint):
    made = http_service(name, "mesh", {"app": "web"})
    return using(made, *waypoint) if waypoint else made


def ambient(name, **labels):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta(name, labels={
        "istio.io/dataplane-mode": "ambient", **labels})}


OBJECTS = [
    mesh_namespace("mesh"), *[account(name, "mesh") for name in ("c1", "c2", "web", "gate")],
    ambient("all", **{"istio.io/use-waypoint": "every"}), account("solo", "all"), account("every", "all"),
    gateway("every", "all", traffic="all", klass="istio-waypoint"),
    server("solo", "all", "node-2"), http_service("solo", "all", {"app": "solo"}),
    client("c1", "mesh", "node-1"), client("c2", "mesh", "node-2"),
    server("web-1", "mesh", "node-2", labels={"app": "web"}, sa="web"),
    gateway("gate", "mesh"), web_service("web", "gate"), web_service("direct"),
]
GATE = "spiffe://cluster.local/ns/mesh/sa/gate"


class Waypoint(Suite):
    tag = "way"
    objects = OBJECTS

    def waypoint_log(self):
        """What its pods say."""
        logs = (self.box.run / "logs" / "pods").glob("*/waypoint.log")
        return "".join(log.read_text(errors="replace") for log in logs)

    def waypoint_access(self, **wanted):
        wanted = {key.replace("__", "."): value for key, value in wanted.items()}
        entries = [harness.parse_access(line) for line in self.waypoint_log().splitlines()]
        return [one for one in entries if one and all(one.get(key) == value for key, value in wanted.items())]

    def test_http_goes_through_it(self):
        answer = self.box.curl("c1", "http://web.mesh/", "-i")
        self.assertIn("hello from web-1", answer)
        self.assertIn("x-envoy-upstream-service-time", answer, "a waypoint has answered")
        entry = eventually(lambda: self.box.access("node-1", direction="outbound",
                                                   dst__service="web.mesh.svc.cluster.local"))[0]
        self.assertEqual(entry["dst.identity"], GATE)

    def test_tcp_goes_through_it_and_the_client_is_known_there(self):
        seen = self.box.peer("c1", "ask_who", "web.mesh", 81)
        self.assertEqual(seen["server"]["host"], "web-1")
        entry = eventually(lambda: self.waypoint_access(src__workload="c1"))[0]
        self.assertEqual(entry["src.identity"], "spiffe://cluster.local/ns/mesh/sa/c1")
        self.assertEqual(entry["dst.workload"], "web-1")
        self.assertTrue(eventually(lambda: self.box.access("node-2", direction="inbound", src__identity=GATE)),
                        "the server's ztunnel sees the waypoint")

    def test_what_names_none_goes_straight(self):
        self.assertIn("hello from web-1", self.box.curl("c2", "http://direct.mesh/", "-H", "Connection: close"))
        eventually(lambda: self.box.access("node-2", direction="inbound",
                                           src__identity="spiffe://cluster.local/ns/mesh/sa/c2"))

    def settled(self, *objects):
        """Applies, and takes away when the test ends."""
        self.box.apply(*objects)
        for thing in objects:
            name, ns = thing["metadata"]["name"], thing["metadata"].get("namespace", "default")
            self.addCleanup(self.box.delete, thing["kind"], name, ns)

    def scale(self, name, replicas):
        deployment = self.box.get("deployment", name, "mesh")
        deployment["spec"]["replicas"] = replicas
        self.box.apply(deployment)

    def through(self, waypoint, name, url, ns="mesh"):
        """Whether a request is answered, and by way of the waypoint."""
        answer = self.box.curl(name, url, "-i", "-H", "Connection: close", ns=ns)
        return "x-envoy-upstream-service-time" in answer

    def test_workloads_of_a_namespace_are_addressed_through_it(self):
        ip = self.box.ip("solo", "all")
        eventually(lambda: self.through("every", "c1", f"http://{ip}:8080/"))
        eventually(lambda: self.through("every", "c1", "http://solo.all/"))
        self.assertEqual(self.box.peer("c1", "ask_who", ip, WHO)["server"]["host"], "solo")

    def test_its_identity_is_what_endpoints_authorize(self):
        eventually(lambda: self.through("gate", "c1", "http://web.mesh/"))
        only_client = policy("only-c1", "mesh", "ALLOW", [{"from": [{"source": {"principals": [
            "cluster.local/ns/mesh/sa/c1"]}}]}], {"app": "web"})
        self.settled(only_client)
        eventually(lambda: " 503" in self.box.curl("c1", "http://web.mesh/", "-i").split("\n")[0])
        self.assertIn("hello from web-1", self.box.curl("c1", "http://direct.mesh/"))

    def test_a_waypoint_that_is_gone_is_not_gone_past(self):
        self.settled(gateway("gone", "mesh"), account("gone", "mesh"), web_service("lost", "gone"))
        eventually(lambda: self.through("gone", "c1", "http://lost.mesh/"), within=30)
        self.scale("gone", 0)
        eventually(lambda: self.box.refused("c1", "http://lost.mesh/"))
        errors = [entry["error"] for entry in self.box.access("node-1", dst__service="lost.mesh.svc.cluster.local")
                  if "error" in entry]
        failed = [line for line in self.box.log("node/node-1/ztunnel").splitlines()
                  if "does not go past it" in line]
        self.assertTrue(errors or failed)
        self.scale("gone", 2)
        eventually(lambda: self.through("gone", "c1", "http://lost.mesh/"), within=30)

    def test_no_such_waypoint_refuses(self):
        self.settled(web_service("nowhere", "never"))
        why = eventually(lambda: self.box.refused("c1", "http://nowhere.mesh/"))
        self.assertTrue(why)
        eventually(lambda: "its waypoint mesh/never.mesh.svc.cluster.local is not known" in
                   self.box.log("node/node-1/ztunnel"))

    def test_a_policy_that_it_cannot_enforce_refuses(self):
        self.settled(web_service("guarded", "gate"))
        eventually(lambda: self.through("gate", "c1", "http://guarded.mesh/"))
        guard = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": meta("guard", "mesh"),
                 "spec": {"targetRefs": [{"kind": "Service", "group": "", "name": "guarded"}], "action": "ALLOW",
                          "rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]}}
        self.settled(guard)
        eventually(lambda: "403 Forbidden" in self.box.curl("c1", "http://guarded.mesh/", "-i"))
        self.assertTrue(self.through("gate", "c1", "http://web.mesh/"), "others are not concerned")

    def test_replicas_share_the_work_and_a_killed_one_costs_nothing(self):
        self.settled(gateway("two", "mesh"), account("two", "mesh"), web_service("shared", "two"))
        eventually(lambda: self.through("two", "c1", "http://shared.mesh/"), within=30)
        self.scale("two", 2)

        def answered():
            urls = ["http://shared.mesh/"] * 24
            self.box.curl("c1", urls[0], "--fail", "-H", "Connection: close", *urls[1:], seconds=30)
            return {entry["dst.workload"] for entry in self.box.access(
                "node-1", dst__service="shared.mesh.svc.cluster.local") if "error" not in entry}

        pods = eventually(lambda: len(answered()) >= 2 and answered(), within=30)
        victim = sorted(pods)[0]
        uid = self.box.get("pod", victim, "mesh")["metadata"]["uid"]
        node = self.box.get("pod", victim, "mesh")["spec"]["nodeName"]
        for pid in self.box.pids(node, "pods", f"pod{uid}", "waypoint"):
            os.kill(pid, signal.SIGKILL)
        self.box.curl("c1", "http://shared.mesh/", "--fail", "-H", "Connection: close", *["http://shared.mesh/"] * 23,
                      seconds=30)

    def test_scaling_under_load_fails_no_request(self):
        self.settled(gateway("roll", "mesh"), account("roll", "mesh"), web_service("rolled", "roll"))
        eventually(lambda: self.through("roll", "c1", "http://rolled.mesh/"), within=30)
        script = "n=0; while [ ! -e /tmp/stop-$1 ]; do curl -sS -m 10 --fail -o /dev/null -H 'Connection: close' " \
                 "http://rolled.mesh/ || exit 1; n=$((n+1)); done; rm /tmp/stop-$1; echo $n"
        load = subprocess.Popen([harness.WEFT, "sandbox", "exec", "--name", self.box.name, "c1", "-n", "mesh", "--", "sh",
                                 "-c", script, "sh", self.box.name], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True)
        stop = pathlib.Path(f"/tmp/stop-{self.box.name}")
        try:
            for replicas in (2, 1):
                self.scale("roll", replicas)
                eventually(lambda: len(self.ready_pods("roll")) == replicas, within=30)
        finally:
            stop.touch()
        out, complaints = load.communicate(timeout=60)
        self.assertEqual(load.returncode, 0, complaints)
        self.assertGreater(int(out), 5)

    def ready_pods(self, name):
        pods = json.loads(self.box.weft("get", "pods", "-n", "mesh", "-o", "json").stdout)["items"]
        return [pod for pod in pods if pod["metadata"]["name"].startswith(f"{name}-") and any(
            one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))]

    def test_tcp_routes_choose_the_destination(self):
        other = service("elsewhere", "mesh", {"app": "second"}, PORTS)
        routes = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta("who", "mesh"),
                  "spec": {"hosts": ["routed"], "tcp": [{"match": [{"port": 81}], "route": [
                      {"destination": {"host": "elsewhere", "port": {"number": 81}}}]}]}}
        self.settled(server("second", "mesh", "node-1", sa="web"), other, web_service("routed", "gate"))
        eventually(lambda: self.box.peer("c1", "ask_who", "routed.mesh", 81)["server"]["host"] == "web-1")
        self.settled(routes)
        eventually(lambda: self.box.peer("c1", "ask_who", "routed.mesh", 81)["server"]["host"] == "second")

    def test_the_command_makes_lists_and_takes_away(self):
        done = weft("waypoint", "apply", "--sandbox", self.box.name, "-n", "all", "--name", "mine", "--for", "service",
                    "--wait")
        self.assertIn("waypoint all/mine applied", done.stdout)
        listed = weft("waypoint", "list", "--sandbox", self.box.name, "-n", "all").stdout
        self.assertRegex(listed, r"mine +default +service +True")
        self.assertRegex(listed, r"every +default +all +True")
        self.assertRegex(weft("waypoint", "status", "mine", "--sandbox", self.box.name, "-n", "all").stdout,
                         r"mine +True +Programmed +Programmed")
        weft("waypoint", "delete", "mine", "--sandbox", self.box.name, "-n", "all")
        self.assertNotIn("mine", weft("waypoint", "list", "--sandbox", self.box.name, "-n", "all").stdout)
        self.assertIn("gatewayClassName: weft-waypoint", weft("waypoint", "generate", "--name", "x").stdout)


def weft(*args):
    return subprocess.run([harness.WEFT, *args], check=True, capture_output=True, text=True, timeout=120)


if __name__ == "__main__":
    harness.main()
