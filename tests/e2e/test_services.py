"""Services of every kind: which endpoint a connection goes to, what lies outside the cluster, what is refused."""

import subprocess

import harness
from harness import (PEER, PYTHON, Suite, account, client, eventually, mesh_namespace, meta, namespace, pod, server,
                     service)

NET = "networking.istio.io/v1"
WHO = 7006  # answers with the addresses that it sees, and its pod's name
NODE_SERVER = 9080


def of(kind, name, ns, spec, labels=None, **more):
    return {"apiVersion": NET, "kind": kind, "metadata": meta(name, ns, labels), "spec": spec, **more}


def entry(name, hosts, ns="mesh", ports=((80, 8080),), **spec):
    return of("ServiceEntry", name, ns, {
        "hosts": hosts, "ports": [{"number": port, "targetPort": target, "name": f"p{port}", "protocol": "TCP"}
                                  for port, target in ports], **spec})


def mesh_config(text):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("istio", "istio-system"), "data": {"mesh": text}}


def node(name, zone):
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta(name, labels={
        "topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": zone})}


def named_port(name, node_name, port):
    """A pod whose port "who" is its own."""
    made = server(name, "mesh", node_name, labels={"app": "named"}, sa="web")
    made["spec"]["containers"][0]["ports"] = [{"name": "who", "containerPort": port}]
    return made


def stubborn(name, node_name):
    """Serves on while it is asked to end."""
    made = pod(name, "mesh", ["sh", "-c", f"trap '' TERM; exec {PYTHON} -u {PEER} serve"], node_name,
               labels={"app": "stubborn"}, sa="web", probe=8080)
    made["spec"]["terminationGracePeriodSeconds"] = 60
    return made


def never_ready(name, node_name):
    made = server(name, "mesh", node_name, sa="web")
    made["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 9}, "periodSeconds": 1}
    return made


CLOSE = ("-H", "Connection: close")  # each request on a connection of its own
WEB = {"app": "web"}
PORTS = [(80, 8080), (81, WHO)]
OBJECTS = [
    mesh_namespace("mesh"), mesh_namespace("strict"), namespace("plain"), node("node-1", "east"), node("node-2", "west"),
    *[account(name, "mesh") for name in ("c1", "c2", "web")], account("c3", "strict"),
    client("c1", "mesh", "node-1"), client("c2", "mesh", "node-2"), client("c3", "strict", "node-1"),
    server("web-1", "mesh", "node-1", labels=WEB, sa="web"), server("web-2", "mesh", "node-2", labels=WEB, sa="web"),
    named_port("named-1", "node-1", WHO), named_port("named-2", "node-2", 7010),
    server("ext-1", "plain", "node-1", labels={"app": "ext"}), server("ext-2", "plain", "node-2", labels={"app": "ext"}),
    service("web", "mesh", WEB, PORTS),
    service("headless", "mesh", WEB, PORTS, clusterIP="None"),
    service("named", "mesh", {"app": "named"}, [(80, "who")]),
    service("sticky", "mesh", WEB, PORTS, sessionAffinity="ClientIP"),
    service("near", "mesh", WEB, PORTS, trafficDistribution="PreferSameNode"),
    service("zonal", "mesh", WEB, PORTS, trafficDistribution="PreferClose"),
    service("local", "mesh", WEB, PORTS, internalTrafficPolicy="Local"),
    service("only-2", "mesh", {"app": "c2"}, PORTS, internalTrafficPolicy="Local"),
    service("ext", "plain", {"app": "ext"}, PORTS, clusterIP="None"),
    {"apiVersion": "v1", "kind": "Service", "metadata": meta("alias", "mesh"),
     "spec": {"type": "ExternalName", "externalName": "web.mesh.svc.cluster.local"}},
]


class Services(Suite):
    tag = "svc"
    objects = OBJECTS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ext = [cls.box.ip("ext-1", "plain"), cls.box.ip("ext-2", "plain")]
        netns = f"weft-{cls.box.name}-node-1"
        cls.node_ip = "172.31.0.11"
        cls.on_node = subprocess.Popen(
            ["ip", "netns", "exec", netns, PYTHON, "-m", "http.server", str(NODE_SERVER), "--bind", cls.node_ip,
             "--directory", cls.box.folder.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.node_url = f"http://{cls.node_ip}:{NODE_SERVER}/"

    @classmethod
    def tearDownClass(cls):
        cls.on_node.terminate()
        cls.on_node.wait()
        super().tearDownClass()

    def whose(self, name, host, times=16, port=80, ns="mesh"):
        """The pods that answer a client."""
        urls = [f"http://{host}:{port}/"] * times
        text = self.box.curl(name, urls[0], "--fail", *CLOSE, *urls[1:], ns=ns, seconds=30)
        return {line.removeprefix("hello from ") for line in text.split("\n") if line}

    def who(self, name, host, port=81):
        return self.box.peer(name, "ask_who", host, port)

    def settled(self, *objects):
        """Applies, and takes away when the test ends."""
        self.box.apply(*objects)
        for one in objects:
            self.addCleanup(self.box.weft, "delete", one["kind"], one["metadata"]["name"], "-n",
                            one["metadata"]["namespace"], check=False)

    def error_of(self, node_name, address):
        """The access log's complaint about the last connection to an address."""
        lines = [line for line in self.box.access(node_name, direction="outbound", dst__addr=address) if "error" in line]
        return lines[-1]["error"] if lines else ""

    def vip_of(self, host):
        """By the pod's own resolver, that is the mesh's."""
        found = self.box.exec("c1", "getent", "ahostsv4", host).stdout.split()
        return found[0] if found else ""

    # Kubernetes Services.

    def test_all_endpoints_and_all_ports(self):
        self.assertEqual(self.whose("c1", "web", 32), {"web-1", "web-2"})
        self.assertEqual(self.who("c1", "web")["server"]["own"][1], WHO)

    def test_headless(self):
        addresses = {line.split()[0] for line in self.box.exec("c1", "getent", "ahostsv4", "headless").stdout.splitlines()}
        self.assertEqual(addresses, {self.box.ip("web-1", "mesh"), self.box.ip("web-2", "mesh")})
        for address in addresses:
            self.assertIn("hello from web-", self.box.curl("c1", f"http://{address}:8080/"))

    def test_a_named_port_is_each_pods_own(self):
        ports = {}
        def both():
            seen = self.who("c1", "named", 80)["server"]
            ports[seen["host"]] = seen["own"][1]
            return len(ports) == 2
        eventually(both, what="both pods answering")
        self.assertEqual(ports, {"named-1": WHO, "named-2": 7010})

    def test_not_ready_is_published_where_asked_for(self):
        unready = {"app": "unready"}
        one = never_ready("unready", "node-2")
        one["metadata"]["labels"] = unready
        self.settled(one, service("waits", "mesh", unready, PORTS),
                     service("hasty", "mesh", unready, PORTS, publishNotReadyAddresses=True))
        eventually(lambda: self.whose("c1", "hasty", 1) == {"unready"}, what="an answer of the unready pod")
        self.box.refused("c1", "http://waits/")
        vip = self.box.get("service", "waits", "mesh")["spec"]["clusterIP"]
        self.assertIn("no ready endpoint", self.error_of("node-1", f"{vip}:80"))

    def test_external_name_is_an_alias(self):
        self.assertEqual(self.whose("c1", "alias"), {"web-1", "web-2"})

    def test_affinity_stays(self):
        first = self.whose("c1", "sticky")
        self.assertEqual(len(first), 1)
        more = server("web-3", "mesh", "node-1", labels=WEB, sa="web")
        self.settled(more)
        eventually(lambda: "web-3" in self.whose("c1", "web", 32), what="the third endpoint in use")
        now = self.whose("c1", "sticky")
        self.assertEqual(len(now), 1)
        self.assertLessEqual(now, first | {"web-3"})
        self.assertEqual(now, self.whose("c1", "sticky"))

    def test_affinity_leaves_with_its_endpoint(self):
        victim = server("web-9", "mesh", "node-1", labels={"app": "nine"}, sa="web")
        other = server("web-8", "mesh", "node-2", labels={"app": "nine"}, sa="web")
        self.box.apply(victim, other, service("nine", "mesh", {"app": "nine"}, PORTS, sessionAffinity="ClientIP"))
        self.addCleanup(self.box.delete, "service", "nine", "mesh")
        eventually(lambda: len(self.whose("c1", "nine")) == 1, what="an answer")
        chosen = self.whose("c1", "nine").pop()
        left = ({"web-8", "web-9"} - {chosen}).pop()
        self.addCleanup(self.box.delete, "pod", left, "mesh")
        self.box.delete("pod", chosen, "mesh")
        eventually(lambda: self.whose("c1", "nine") == {left}, what="the other endpoint")

    def test_same_node_and_same_zone_are_preferred(self):
        for host in ("near", "zonal"):
            self.assertEqual(self.whose("c1", host), {"web-1"}, host)
            self.assertEqual(self.whose("c2", host), {"web-2"}, host)
        # Not what is not there.
        self.settled(service("far", "mesh", {"app": "web", "only": "far"}, PORTS, trafficDistribution="PreferSameNode"),
                     server("web-far", "mesh", "node-2", labels={"app": "x", "only": "far"} | WEB, sa="web"))
        eventually(lambda: self.whose("c1", "far") == {"web-far"}, what="the far endpoint")

    def test_local_is_strict(self):
        self.assertEqual(self.whose("c1", "local"), {"web-1"})
        self.assertEqual(self.whose("c2", "local"), {"web-2"})
        vip = self.box.get("service", "only-2", "mesh")["spec"]["clusterIP"]
        self.box.refused("c1", f"http://{vip}/")
        self.assertIn("keeps traffic near its client", self.error_of("node-1", f"{vip}:80"))

    def test_who_is_ending_serves_while_nobody_else_does(self):
        self.box.apply(stubborn("stubborn-1", "node-2"), service("ends", "mesh", {"app": "stubborn"}, PORTS))
        self.addCleanup(self.box.delete, "service", "ends", "mesh")
        eventually(lambda: self.whose("c1", "ends", 1) == {"stubborn-1"}, what="an answer")
        # `delete` waits for nothing: the pod has a minute.
        self.box.delete("pod", "stubborn-1", "mesh")
        eventually(lambda: self.box.get("pod", "stubborn-1", "mesh")["metadata"].get("deletionTimestamp"))
        for _ in range(3):
            self.assertEqual(self.whose("c1", "ends"), {"stubborn-1"})
        # It still calls others, too.
        self.assertIn("hello from web", self.box.curl("stubborn-1", "http://web/"))
        self.box.apply(server("fresh", "mesh", "node-1", labels={"app": "stubborn"}, sa="web"))
        self.addCleanup(self.box.delete, "pod", "fresh", "mesh")
        eventually(lambda: self.whose("c1", "ends") == {"fresh"}, what="the fresh pod alone")

    # What lies outside: ServiceEntry and WorkloadEntry.

    def test_static_by_its_allocated_address(self):
        self.settled(entry("static", ["static.example"], resolution="STATIC", endpoints=[
            {"address": self.ext[0]}, {"address": self.ext[1], "ports": {"p80": 8080}}]))
        vip = eventually(lambda: self.vip_of("static.example"), what="an address of static.example")
        self.assertTrue(vip.startswith("240.240."), vip)
        self.assertEqual(self.whose("c1", "static.example", 32), {"ext-1", "ext-2"})
        self.assertEqual(self.whose("c1", vip), {"ext-1", "ext-2"})
        line = self.box.access("node-1", direction="outbound", dst__service="static.example")[-1]
        self.assertNotIn("dst.identity", line)

    def test_a_dead_endpoint_costs_the_client_nothing(self):
        self.settled(entry("half", ["half.example"], resolution="STATIC", ports=((80, 8080),), endpoints=[
            {"address": self.ext[0]}, {"address": self.ext[1], "ports": {"p80": 9}}]))
        eventually(lambda: self.vip_of("half.example"), what="an address of half.example")
        self.assertEqual(self.whose("c1", "half.example", 32), {"ext-1"})

    def test_weights(self):
        self.settled(entry("weights", ["weights.example"], resolution="STATIC", endpoints=[
            {"address": self.ext[0], "weight": 9}, {"address": self.ext[1], "weight": 1}]))
        eventually(lambda: self.vip_of("weights.example"), what="an address of weights.example")
        text = self.box.curl("c1", "http://weights.example/", *CLOSE, *["http://weights.example/"] * 99, seconds=30)
        # Fewer than 70 of 100 at nine tenths: not once in a million million.
        self.assertGreater(text.count("ext-1"), 70)
        self.assertEqual(text.count("ext-1") + text.count("ext-2"), 100)

    def test_dns(self):
        # The cluster's DNS knows the headless Service: two addresses.
        self.settled(entry("byname", ["byname.example"], resolution="DNS",
                           endpoints=[{"address": "ext.plain.svc.cluster.local"}]))
        eventually(lambda: self.vip_of("byname.example"), what="an address of byname.example")
        self.assertEqual(self.whose("c1", "byname.example", 32), {"ext-1", "ext-2"})

    def test_dns_that_knows_no_such_name(self):
        self.settled(entry("lost", ["lost.example"], resolution="DNS"))
        vip = eventually(lambda: self.vip_of("lost.example"), what="an address of lost.example")
        self.box.refused("c1", "http://lost.example/")
        self.assertIn("looking up lost.example", self.error_of("node-1", f"{vip}:80"))

    def test_workload_entry_behind_a_service(self):
        self.settled(of("WorkloadEntry", "vm", "mesh", {"address": self.ext[1], "labels": {"app": "vm"},
                                                        "ports": {"tcp-80": 8080}}),
                     service("vm", "mesh", {"app": "vm"}, [(80, 9999)]))
        eventually(lambda: self.whose("c1", "vm", 1) == {"ext-2"}, what="the WorkloadEntry's answer")

    def test_selected_by_a_service_entry(self):
        self.settled(of("WorkloadEntry", "vm2", "mesh", {"address": self.ext[0], "labels": {"app": "mixed"}}),
                     server("mixed", "mesh", "node-2", labels={"app": "mixed"}, sa="web"),
                     entry("mixed", ["mixed.example"], resolution="STATIC", location="MESH_INTERNAL",
                           workloadSelector={"labels": {"app": "mixed"}}))
        eventually(lambda: self.whose("c1", "mixed.example", 32) == {"ext-1", "mixed"}, what="both kinds")

    # outboundTrafficPolicy.

    def test_registry_only(self):
        self.assertIn("<title>", self.box.curl("c1", self.node_url))
        self.settled(mesh_config("outboundTrafficPolicy: {mode: REGISTRY_ONLY}"))
        complaint = eventually(lambda: self.box.refused("c1", self.node_url, seconds=5), what="the refusal")
        self.assertNotIn("timed out", complaint)  # at once
        error = self.error_of("node-1", f"{self.node_ip}:{NODE_SERVER}")
        for part in ("REGISTRY_ONLY", f"{self.node_ip}:{NODE_SERVER}", "add a ServiceEntry"):
            self.assertIn(part, error)
        # What the mesh knows goes on.
        self.assertEqual(self.whose("c1", "web", 32), {"web-1", "web-2"})
        self.assertIn("hello from ext-1", self.box.curl("c1", f"http://{self.ext[0]}:8080/"))
        # NONE: to where the client wants to go, by a range of addresses; for this namespace only.
        self.settled(entry("nodes", ["*.nodes.example"], addresses=["172.31.0.0/24"], exportTo=["."],
                           ports=((NODE_SERVER, NODE_SERVER),)))
        eventually(lambda: "<title>" in self.box.curl("c1", self.node_url, seconds=2), what="an answer of the node")
        eventually(lambda: self.box.access("node-1", dst__service="*.nodes.example"), what="the service in the log")
        self.box.refused("c3", self.node_url, ns="strict")
        self.box.refused("c1", f"http://{self.node_ip}:22/")
        self.assertIn("has no port 22", self.error_of("node-1", f"{self.node_ip}:22"))
        self.box.delete("ServiceEntry", "nodes", "mesh")
        eventually(lambda: self.box.refused("c1", self.node_url, seconds=5), what="the refusal")
        self.box.delete("ConfigMap", "istio", "istio-system")
        eventually(lambda: "<title>" in self.box.curl("c1", self.node_url, seconds=2), what="any address again")

    def test_sidecar_of_one_namespace(self):
        self.settled(of("Sidecar", "default", "strict", {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}))
        eventually(lambda: self.box.refused("c3", self.node_url, ns="strict", seconds=5), what="the refusal")
        self.assertIn("<title>", self.box.curl("c1", self.node_url))
        self.assertEqual(self.whose("c3", "web.mesh", 32, ns="strict"), {"web-1", "web-2"})

    def test_mistakes_are_refused_by_name(self):
        done = self.box.weft("apply", "-f", self.box.write([entry("bad", ["bad.example"], resolution="STATIK")]),
                             check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("ServiceEntry/mesh/bad: spec.resolution", done.stderr)
        self.assertIn("did you mean STATIC?", done.stderr)
        done = self.box.weft("apply", "-f", self.box.write([mesh_config("outboundTrafficPolicy: {mode: NONE}")]),
                             check=False)
        self.assertIn("ConfigMap/istio-system/istio: data.mesh.outboundTrafficPolicy.mode", done.stderr)


if __name__ == "__main__":
    harness.main()
