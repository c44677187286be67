"""Every edge of capture: odd sockets, a pod that calls itself, what is left out by annotations."""

import json
import subprocess
import time

import harness
from harness import (HERE, PEER, PYTHON, Suite, account, client, eventually, mesh_namespace, namespace, pod, service,
                     server)

EDGES = str(HERE / "edges.py")
WHO = 7006
QUIC = 443
SERVE = [PYTHON, "-u", PEER, "serve"]
PORTS = [(80, 8080)] + [(port, port) for port in range(7001, 7010)]
ACCOUNTS = [account(name, "mesh") for name in ("s1", "s2", "c1", "c2")]
SIDECAR = "traffic.sidecar.istio.io/"


class Edges(Suite):
    tag = "edge"
    objects = [mesh_namespace("mesh"), namespace("plain"), *ACCOUNTS, server("s1", "mesh", "node-1"),
               server("s2", "mesh", "node-2"), client("c1", "mesh", "node-1"), client("c2", "mesh", "node-2"),
               server("out", "plain", "node-1"), client("stranger", "plain", "node-1"),
               *(service(name, ns, {"app": name}, PORTS) for name, ns in (("s1", "mesh"), ("s2", "mesh"),
                                                                          ("out", "plain")))]

    def setUp(self):
        self.counts = self.capture()

    def capture(self, node="node-1"):
        return self.box.node_status(node)["capture"]

    def grown(self, name):
        """By how much a capture counter of node-1 has grown in this test."""
        return self.capture()[name] - self.counts[name]

    def ask(self, name, *args, ns="mesh"):
        done = self.box.exec(name, PYTHON, EDGES, *args, ns=ns)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def address(self, name, ns="mesh"):
        return self.box.ip(name, ns)

    # Sockets.

    def test_bound_to_a_device_with_the_right_to_unbind_is_captured(self):
        for target in ("s1", "s2"):
            seen = self.ask("c1", "on_device", self.address(target), WHO, "eth0", 0)
            self.assertEqual(seen["server"]["host"], target)
        self.assertEqual(self.grown("outbound_unbound"), 2)
        self.assertEqual(self.grown("outbound_captured"), 2)

    def test_bound_to_a_device_without_it_is_refused(self):
        seen = self.ask("c1", "on_device", self.address("s2"), WHO, "eth0", 65534)
        self.assertEqual(seen["error"], "EPERM")
        self.assertEqual(self.grown("outbound_device"), 1)

    def test_without_waiting(self):
        for target in ("s1", "s2"):
            seen = self.ask("c1", "without_waiting", self.address(target), WHO)
            self.assertEqual((seen["first"], seen["ready"], seen["last"]), ("EINPROGRESS", True, "0"))
            self.assertEqual(seen["server"]["peer"][0], self.address("c1"))
        self.assertEqual(self.grown("outbound_captured"), 2)

    def test_one_socket_connected_again(self):
        """Captured, to itself (which is not), captured."""
        own = self.address("s1")
        seen = self.ask("s1", "again", self.address("s2"), WHO, own, WHO, self.address("s2"), WHO)
        self.assertEqual([one["server"]["host"] for one in seen], ["s2", "s1", "s2"])
        self.assertEqual((self.grown("outbound_captured"), self.grown("outbound_local")), (2, 1))

    def hand_over(self, taker_command):
        """A socket made in c1 is connected by somebody else."""
        path = f"/tmp/.weft-{self.box.name}-socket"
        giver = subprocess.Popen([harness.WEFT, "sandbox", "exec", "--name", self.box.name, "c1", "-n", "mesh", "--",
                                  PYTHON, EDGES, "give", path], stdout=subprocess.PIPE, text=True)
        try:
            self.assertEqual(giver.stdout.readline(), "made\n")
            return taker_command(path)
        finally:
            giver.communicate(timeout=10)

    def test_a_socket_passed_to_a_pod_outside_the_mesh_is_captured(self):
        seen = self.hand_over(lambda path: self.ask("stranger", "take", path, self.address("s2"), WHO, ns="plain"))
        self.assertEqual(seen["server"]["peer"][0], self.address("c1"))
        self.assertEqual(self.grown("outbound_captured"), 1)
        eventually(lambda: self.box.access("node-2", direction="inbound", src__workload="c1",
                                           src__identity="spiffe://cluster.local/ns/mesh/sa/c1"))

    def test_a_socket_passed_to_the_node_is_captured(self):
        def take(path):
            process = self.box.on_node("node-1", "outsider", PYTHON, EDGES, "take", path, self.address("s2"), WHO)
            return json.loads(process.communicate(timeout=20)[0])
        self.assertEqual(self.hand_over(take)["server"]["peer"][0], self.address("c1"))
        self.assertEqual(self.grown("outbound_captured"), 1)

    # Itself.

    def test_itself_by_loopback_and_by_its_own_address(self):
        own = self.address("s1")
        for asked in ("127.0.0.1", "127.9.9.9", "localhost", own):
            self.assertEqual(self.box.curl("s1", f"http://{asked}:8080/"), "hello from s1\n")
        seen = self.ask("s1", "from_address", own, WHO, "127.0.0.1")
        self.assertEqual(seen["server"]["peer"][0], "127.0.0.1")
        seen = self.ask("s1", "from_address", "127.0.0.1", WHO, own)
        self.assertEqual(seen["server"]["peer"][0], own)
        self.assertEqual(self.grown("outbound_captured"), 0)
        self.assertEqual(self.grown("inbound_captured"), 0)

    def test_itself_by_its_service(self):
        for name, node in (("s1", "node-1"), ("s2", "node-2")):
            # Its short name is its own address, by its hosts file.
            self.assertEqual(self.box.curl(name, f"http://{name}.mesh/"), f"hello from {name}\n")
            entry = eventually(lambda name=name, node=node: self.box.access(
                node, direction="outbound", src__workload=name, dst__workload=name))[-1]
            self.assertEqual(entry["dst.service"], f"{name}.mesh.svc.cluster.local")
            seen = self.box.peer(name, "ask_who", f"{name}.mesh", WHO)
            self.assertEqual(seen["server"]["peer"][0], self.address(name))

    # What is no TCP, or not to the mesh.

    def test_datagrams_to_443_are_not_touched(self):
        for target in ("s1", "s2"):
            address = self.address(target)
            echo = {name: [name, [address, QUIC]] for name in ("unconnected", "connected")}
            self.assertEqual(self.ask("c1", "datagrams", address, QUIC), echo)

    def test_dns_over_tcp_is_captured_and_answered(self):
        done = self.box.exec("c1", "dig", "+tcp", "+short", "+time=5", "@10.96.0.10", "s2.mesh.svc.cluster.local")
        self.assertEqual(done.stdout.strip(), self.box.get("service", "s2", "mesh")["spec"]["clusterIP"], done.stderr)
        self.assertGreaterEqual(self.grown("outbound_captured"), 1)

    def test_a_port_that_nobody_serves_fails_soon(self):
        for target in ("s1", "s2"):
            seen = self.ask("c1", "again", self.address(target), 9)[0]
            self.assertIn(seen.get("error"), ("ECONNREFUSED", "ECONNRESET"), seen)
            self.assertLess(seen["seconds"], 3)
        seen = self.ask("c1", "again", self.address("out", "plain"), 9)[0]
        self.assertIn(seen.get("error"), ("ECONNREFUSED", "ECONNRESET"), seen)

    def test_the_server_speaks_first(self):
        for target in ("s1", "s2", "out.plain"):
            done = self.box.exec("c1", "nc", "-w", "3", target, "7002", input="")
            self.assertIn("220 ready", done.stdout)

    def test_many_short_connections(self):
        for target in ("s1", "s2"):
            seen = self.box.peer("c1", "many", self.address(target), 7001, 1500, 48, timeout=120)
            self.assertEqual(seen["failed"], [])

    def test_the_servers_see_the_clients_address_and_port(self):
        for source, target in (("c1", "s1"), ("c1", "s2"), ("c2", "s1"), ("c1", "out.plain")):
            host, _, ns = target.partition(".")
            seen = self.box.peer(source, "ask_who", self.address(host, ns or "mesh"), WHO)
            if ns:  # leaves by ztunnel's own connection, from the pod's address
                self.assertEqual(seen["server"]["peer"][0], seen["own"][0])
            else:
                self.assertEqual(seen["server"]["peer"], seen["own"])
        # Plain, from outside the mesh.
        seen = self.box.peer("stranger", "ask_who", self.address("s1"), WHO, ns="plain")
        self.assertEqual(seen["server"]["peer"], seen["own"])


class Exclusions(Suite):
    """What pods' annotations leave out of capture, changed on running pods."""

    tag = "excl"
    strict = {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
              "metadata": harness.meta("strict", "mesh"),
              "spec": {"selector": {"matchLabels": {"mode": "strict"}}, "mtls": {"mode": "STRICT"}}}
    objects = [mesh_namespace("mesh"), namespace("plain"), strict, *ACCOUNTS, server("s1", "mesh", "node-1"),
               server("s2", "mesh", "node-2"), client("c1", "mesh", "node-1"),
               server("out", "plain", "node-1"), client("stranger", "plain", "node-2"),
               pod("guarded", "mesh", SERVE, "node-1", {"app": "guarded", "mode": "strict"}, sa="s1", probe=8080,
                   annotations={SIDECAR + "excludeInboundPorts": "7006, 9090"})]

    def notes(self, name, node="node-1"):
        pods = [one for one in self.box.node_status(node)["pods"] if one["name"] == name]
        return pods[0].get("notes", []) if pods else []

    def annotate(self, **annotations):
        """c1 with these annotations and no others; returns when its agent has taken notice."""
        before = self.box.node_status("node-1")["capture"]
        self.box.apply(client("c1", "mesh", "node-1", annotations={
            SIDECAR + name: value for name, value in annotations.items()}))
        return before

    def is_direct(self, asked, port):
        """Whether a connection from c1 goes past ztunnel: nothing else may, and it must arrive in either way."""
        before = self.box.node_status("node-1")["capture"]
        self.box.peer("c1", "ask_who", asked, port)
        now = self.box.node_status("node-1")["capture"]
        grown = {name: now[name] - before[name] for name in ("outbound_captured", "outbound_excluded")}
        self.assertEqual(sum(grown.values()), 1, grown)
        return grown["outbound_excluded"] == 1

    def test_outbound_live(self):
        s2, out = self.box.ip("s2", "mesh"), self.box.ip("out", "plain")
        self.annotate()
        eventually(lambda: not self.is_direct(s2, WHO))
        self.annotate(excludeOutboundPorts="7006,3306")
        eventually(lambda: self.is_direct(s2, WHO))
        # s2 gets it as plain text, and ztunnel has no record of it on the way out.
        direct = eventually(lambda: [entry for entry in self.box.access("node-2", direction="inbound")
                                     if entry["src.workload"] == "c1" and "src.identity" not in entry])
        port = direct[-1]["src.addr"].rsplit(":", 1)[1]
        self.assertFalse([entry for entry in self.box.access("node-1", direction="outbound")
                          if entry["src.addr"].endswith(f":{port}")])
        self.annotate(excludeOutboundIPRanges=f"{out}/32")
        eventually(lambda: not self.is_direct(s2, WHO))
        self.assertTrue(self.is_direct(out, WHO))
        self.annotate(includeOutboundIPRanges=f"{s2}/32")
        eventually(lambda: self.is_direct(self.box.ip("s1", "mesh"), WHO))
        self.assertFalse(self.is_direct(s2, WHO))
        self.annotate(includeOutboundIPRanges="", includeOutboundPorts=str(WHO))
        eventually(lambda: not self.is_direct(out, WHO))
        self.annotate(includeOutboundIPRanges="*")
        eventually(lambda: not self.is_direct(s2, WHO))

    def test_what_is_open_goes_on_when_it_is_excluded(self):
        self.annotate()
        s2 = self.box.ip("s2", "mesh")
        eventually(lambda: not self.is_direct(s2, WHO))
        talk = self.converse("c1", s2)
        self.annotate(excludeOutboundPorts=f"7001,{WHO}")
        eventually(lambda: self.is_direct(s2, WHO))
        talk.goes_on()

    def test_inbound_ports_under_strict(self):
        guarded = self.box.ip("guarded", "mesh")
        seen = self.box.peer("stranger", "ask_who", guarded, WHO, ns="plain")
        self.assertEqual(seen["server"]["peer"], seen["own"])
        self.assertTrue(self.box.refused("stranger", f"http://{guarded}:8080/", ns="plain"))
        self.assertEqual(self.box.curl("c1", f"http://{guarded}:8080/"), "hello from guarded\n")
        # The mesh's own connections come by mutual TLS as before, to that port as well.
        self.box.peer("s2", "ask_who", guarded, WHO)
        entry = eventually(lambda: self.box.access("node-1", direction="inbound", dst__hbone_addr=f"{guarded}:{WHO}"))
        self.assertEqual(entry[-1]["src.identity"], "spiffe://cluster.local/ns/mesh/sa/s2")

    def test_bypass_of_inbound_capture(self):
        name = "edge"
        def edge(**annotations):
            return pod(name, "mesh", SERVE, "node-1", {"app": name, "mode": "strict"}, sa="s1", probe=8080,
                       annotations=annotations)
        self.box.apply(edge(**{"ambient.istio.io/bypass-inbound-capture": "true"}))
        self.box.weft("wait")
        address = self.box.ip(name, "mesh")
        self.assertEqual(self.box.curl("stranger", f"http://{address}:8080/", ns="plain"), "hello from edge\n")
        self.assertEqual(self.box.curl("s2", f"http://{address}:8080/"), "hello from edge\n")
        eventually(lambda: self.box.access("node-1", direction="inbound", dst__hbone_addr=f"{address}:8080"))
        self.assertEqual(self.box.curl(name, f"http://{self.box.ip('s2', 'mesh')}:8080/"), "hello from s2\n")
        eventually(lambda: self.box.access("node-1", direction="outbound", src__workload=name))
        self.box.apply(edge())
        eventually(lambda: self.box.refused("stranger", f"http://{address}:8080/", ns="plain"))
        self.box.delete("pod", name, "mesh")

    def test_a_mistake_is_told_and_captures_all(self):
        s2 = self.box.ip("s2", "mesh")
        self.annotate(excludeOutboundPorts=f"{WHO},http", excludeOutboundIPRanges="10.0.0.0")
        notes = eventually(lambda: self.notes("c1"))
        self.assertFalse(self.is_direct(s2, WHO))
        self.assertTrue(any('excludeOutboundPorts: "http" is no port' in note for note in notes), notes)
        self.assertTrue(any("10.0.0.0/32" in note for note in notes), notes)
        self.assertIn("excludeOutboundPorts", self.box.log("node/node-1/agent"))
        shown = subprocess.run([harness.WEFT, "status", "--sandbox", self.box.name], capture_output=True, text=True,
                               timeout=10).stdout
        self.assertRegex(shown, r"mesh/c1\n +note: annotation traffic.sidecar.istio.io/excludeOutboundPorts: ")
        self.annotate()
        eventually(lambda: not self.notes("c1"))

    def test_exclusions_outlive_the_agent(self):
        s2 = self.box.ip("s2", "mesh")
        self.annotate(excludeOutboundPorts=str(WHO))
        eventually(lambda: self.is_direct(s2, WHO))
        restarts, agent, _ = self.box.state("node-1-agent")
        subprocess.run(["kill", "-KILL", str(agent)], check=True)
        self.box.peer("c1", "ask_who", s2, WHO)
        eventually(lambda: self.box.state("node-1-agent")[0] > restarts and self.box.state("node-1-agent")[1] > 0)
        eventually(lambda: "capture" in self.box.node_status("node-1"))
        eventually(lambda: self.is_direct(s2, WHO))
        self.annotate()
        eventually(lambda: not self.is_direct(s2, WHO))


if __name__ == "__main__":
    harness.main()
