"""The way of a byte: pods in the mesh on one node and on two, and pods outside it."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import harness
from harness import (HERE, Suite, account, client, eventually, in_netns, mesh_namespace, meta, namespace, pod, server,
                     service)

sys.path.insert(0, str(HERE.parent.parent / "scripts/lib"))
import wire  # noqa: E402

MIB = 1 << 20
ID = "spiffe://cluster.local/ns/mesh/sa/"

ACCOUNTS = [account(name, "mesh") for name in ("s1", "s2", "c1", "c2")]
PODS = [server("s1", "mesh", "node-1"), server("s2", "mesh", "node-2"), client("c1", "mesh", "node-1"),
        client("c2", "mesh", "node-2"), server("out", "plain", "node-1"), client("stranger", "plain", "node-2")]
PORTS = [(80, 8080)] + [(port, port) for port in range(7001, 7010)]
SERVICES = [service(name, ns, {"app": name}, PORTS) for name, ns in (("s1", "mesh"), ("s2", "mesh"), ("out", "plain"))]


class Capture:
    """What passes on a node's wire to the other node while the block runs."""

    def __init__(self, box, node="node-1"):
        self.netns = f"weft-{box.name}-{node}"

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = self.folder.name + "/wire.pcap"
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.netns, "tcpdump", "-Z", "root", "--immediate-mode", "-U", "-i", "eth0", "-w",
             self.path, "tcp and net 10.244.1.0/24 and net 10.244.2.0/24"], stderr=subprocess.PIPE, text=True)
        while "listening on" not in self.process.stderr.readline():
            assert self.process.poll() is None
        return self

    def __exit__(self, *_):
        # What was sent last is there once the file has stopped growing.
        size = -1
        while size != (size := pathlib.Path(self.path).stat().st_size):
            time.sleep(0.2)
        self.process.terminate()
        self.process.wait()
        self.process.stderr.close()
        self.segments = list(wire.tcp_segments(self.path))
        self.folder.cleanup()

    def ports(self):
        servers = {(to, port) for _, _, to, port, flags, _ in self.segments if flags & 0x12 == 0x02}
        return {port for _, port in servers}

    def versions(self):
        found = {wire.server_hello_version(payload) for *_, payload in self.segments}
        return found - {None}

    def has(self, text):
        return any(text.encode() in payload for *_, payload in self.segments)


class Mesh(Suite):
    tag = "mesh"
    objects = [mesh_namespace("mesh"), namespace("plain"), *ACCOUNTS, *PODS, *SERVICES]

    def test_http_on_one_node_and_across(self):
        for source in ("c1", "c2"):
            for target in ("s1", "s2"):
                self.assertEqual(self.box.curl(source, f"http://{target}/"), f"hello from {target}\n")

    def test_by_pod_address(self):
        for target in ("s1", "s2"):
            self.assertEqual(self.box.curl("c1", f"http://{self.box.ip(target, 'mesh')}:8080/"),
                             f"hello from {target}\n")

    def test_across_only_tls_13_to_15008(self):
        with Capture(self.box) as capture:
            self.assertIn("hello", self.box.curl("c1", "http://s2/secret-path"))
            self.assertIn("hello", self.box.curl("s1", "http://s2/secret-path"))
        # s1 has not called before: its tunnel's handshake is in the capture.
        self.assertEqual(capture.ports(), {15008})
        self.assertEqual(capture.versions(), {0x0304})
        for text in ("secret-path", "hello from"):
            self.assertFalse(capture.has(text))
        self.assertTrue(capture.segments)

    def test_to_a_pod_outside_it_is_plain(self):
        with Capture(self.box) as capture:
            self.assertIn("hello from out", self.box.curl("c2", "http://out.plain/plain-path"))
        self.assertEqual(capture.ports(), {8080})
        self.assertTrue(capture.has("plain-path"))

    def test_both_sides_see_the_original_addresses(self):
        for source in ("c1", "c2"):
            for target in ("s1", "s2"):
                vip = self.box.get("service", target, "mesh")["spec"]["clusterIP"]
                address = self.box.ip(target, "mesh")
                for asked in (vip, address):
                    seen = self.box.peer(source, "ask_who", asked, 7006)
                    self.assertEqual(seen["peer"], [asked, 7006])
                    self.assertEqual(seen["server"]["peer"][0], self.box.ip(source, "mesh"))
                    self.assertEqual(seen["server"]["own"], [address, 7006])

    def test_both_access_logs_name_both_ends(self):
        sides = {"node-1": "outbound", "node-2": "inbound"}

        def entries(node):
            return self.box.access(node, direction=sides[node], src__workload="c1", dst__workload="s2")

        before = {node: len(entries(node)) for node in sides}
        self.box.curl("c1", "http://s2/logged")
        outbound, inbound = (eventually(lambda node=node: entries(node)[before[node]:])[0] for node in sides)
        for entry in (outbound, inbound):
            self.assertEqual(entry["src.identity"], ID + "c1")
            self.assertEqual(entry["dst.identity"], ID + "s2")
            self.assertEqual(entry["dst.hbone_addr"], f"{self.box.ip('s2', 'mesh')}:8080")
            self.assertEqual(entry["dst.addr"], f"{self.box.ip('s2', 'mesh')}:15008")
            self.assertNotIn("error", entry)
        self.assertEqual(outbound["dst.service"], "s2.mesh.svc.cluster.local")
        self.assertEqual(outbound["bytes_sent"], inbound["bytes_recv"])

    def test_outside_callers_are_let_in_while_permissive(self):
        for target in ("s1", "s2"):
            self.assertEqual(self.box.curl("stranger", f"http://{target}.mesh/", ns="plain"), f"hello from {target}\n")
        entry = eventually(lambda: self.box.access("node-1", direction="inbound", src__workload="stranger"))[-1]
        self.assertNotIn("src.identity", entry)

    def test_outside_callers_who_send_while_the_application_is_connected_to(self):
        """What they send must not come to ztunnel's own connection to the application."""
        for target in ("s1", "s2"):
            address = self.box.ip(target, "mesh")
            self.box.peer("stranger", "uploads", address, 7003, 30, 4 * MIB, ns="plain")
            # A server that accepts only who has said something: that connection is being made until then.
            self.box.peer("stranger", "uploads", address, 7012, 1, MIB, 0.3, ns="plain")
            seen = self.box.peer("stranger", "ask_who", address, 7006, ns="plain")
            self.assertEqual(seen["server"]["peer"], seen["own"])

    def test_server_first(self):
        for target in ("s1", "s2", "out.plain"):
            self.assertEqual(self.box.peer("c1", "first_line", target, 7002), {"banner": "220 ready", "echo": "EHLO"})

    def test_half_close_from_the_client(self):
        for target in ("s1", "s2", "out.plain"):
            seen = self.box.peer("c1", "half_close", target, 7003, 3 * MIB + 7)
            self.assertEqual(seen["server"], [3 * MIB + 7, seen["sent"]])

    def test_half_close_from_the_server(self):
        for target in ("s1", "s2"):
            seen = self.box.peer("c2", "late_data", target, 7007, MIB + 1)
            self.assertEqual((seen["said"], seen["end"]), ("bye", True))
            read = eventually(lambda: self.box.exec(target, "cat", f"/tmp/.weft-e2e-{target}").stdout)
            self.assertEqual(json.loads(read), [MIB + 1, seen["sent"]])
            self.box.exec(target, "rm", f"/tmp/.weft-e2e-{target}")

    def test_reset_reaches_the_client(self):
        for target in ("s1", "s2", "out.plain"):
            self.assertEqual(self.box.peer("c1", "how_it_ends", target, 7005), {"end": "reset"}, target)

    def test_reset_reaches_the_server(self):
        for target in ("s1", "s2"):
            before = self.box.peer("c1", "read_all", target, 7009)
            self.box.peer("c1", "do_reset", target, 7008)
            ends = eventually(lambda: (now := self.box.peer("c1", "read_all", target, 7009)) != before and now)
            self.assertEqual(ends[len(before):], ["reset"], target)

    def test_large_bodies_whole_in_both_directions(self):
        for target in ("s1", "s2"):
            seen = self.box.peer("c1", "both_ways", target, 7001, 64 * MIB)
            self.assertEqual((seen["bytes"], seen["received"]), (64 * MIB, seen["sent"]))
            down = self.box.peer("c1", "download", target, 7004, 32 * MIB)
            self.assertEqual(down["bytes"], 32 * MIB)
        entry = eventually(lambda: self.box.access("node-2", direction="inbound", src__workload="c1",
                                                   bytes_recv=str(64 * MIB)))[-1]
        self.assertEqual(entry["bytes_sent"], str(64 * MIB))

    def test_many_connections_at_once(self):
        script = "for i in $(seq 60); do curl -sS -m 20 http://s2/ & done; wait"
        done = self.box.exec("c1", "sh", "-c", script)
        self.assertEqual(done.stdout.count("hello from s2\n"), 60, done.stderr)

    def test_nobody_listens(self):
        for target in ("s1", "s2"):
            address = self.box.ip(target, "mesh")
            self.assertTrue(self.box.refused("c1", f"http://{address}:9/"))

    def test_a_client_that_is_nc(self):
        done = self.box.exec("c1", "nc", "-N", "s2", "7001", input="through the mesh\n")
        self.assertEqual(done.stdout, "through the mesh\n")

    def test_metrics_and_readiness(self):
        self.box.curl("c1", "http://s2/counted")
        netns = f"weft-{self.box.name}-node-1-ztunnel"
        ready = in_netns(netns, "curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}",
                         "http://127.0.0.1:15021/healthz/ready")
        self.assertEqual(ready.stdout, "200")
        # From another pod, as a Prometheus would.
        text = eventually(lambda: (out := self.box.curl("stranger", "http://10.244.1.2:15020/metrics", ns="plain"))
                          and "istio_tcp_connections_closed_total{" in out and out)
        wanted = [line for line in text.splitlines() if line.startswith("istio_tcp_connections_opened_total{")
                  and 'source_workload="c1"' in line and 'destination_service="s2.mesh.svc.cluster.local"' in line]
        self.assertEqual(len(wanted), 1, text)
        for label in ('connection_security_policy="mutual_tls"', f'source_principal="{ID}c1"',
                      f'destination_principal="{ID}s2"', 'destination_workload="s2"'):
            self.assertIn(label, wanted[0])

    def test_same_node_is_not_reported_as_encrypted(self):
        self.box.curl("c1", "http://s1/")
        text = eventually(lambda: self.box.curl("stranger", "http://10.244.1.2:15020/stats/prometheus", ns="plain"))
        for line in text.splitlines():
            if 'source_workload="c1"' in line and 'destination_workload="s1"' in line:
                self.assertNotIn("mutual_tls", line)

    def test_status(self):
        done = subprocess.run([harness.WEFT, "status", "--sandbox", self.box.name, "-o", "json"], capture_output=True,
                              text=True, timeout=10)
        self.assertEqual(done.returncode, 0, done.stderr)
        status = json.loads(done.stdout)
        self.assertTrue(status["control"]["ready"])
        captured = {entry["name"]: entry["state"] for node in status["nodes"].values() for entry in node["pods"]}
        for name in ("s1", "s2", "c1", "c2"):
            self.assertEqual(captured[name], "captured")
        self.assertNotIn("out", captured)
        table = subprocess.run([harness.WEFT, "status", "--sandbox", self.box.name], capture_output=True, text=True,
                               timeout=10)
        self.assertEqual(table.returncode, 0)
        self.assertRegex(table.stdout, r"captured +mesh/s1")

    def test_a_second_port_forward_into_the_mesh(self):
        forward = subprocess.Popen([harness.WEFT, "sandbox", "port-forward", "--name", self.box.name, "-n", "mesh",
                                    "svc/s2", ":80"], stdout=subprocess.PIPE, text=True)
        try:
            port = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline()).group(1)
            got = subprocess.run(["curl", "-sS", "-m", "5", f"http://127.0.0.1:{port}/"], capture_output=True, text=True)
            self.assertEqual(got.stdout, "hello from s2\n")
        finally:
            forward.kill()
            forward.wait()
            forward.stdout.close()


class Enrolment(Suite):
    """Into the mesh and out of it by labels, on running pods."""

    tag = "enrol"
    objects = [mesh_namespace("mesh"), namespace("plain"), *ACCOUNTS,
               server("s2", "mesh", "node-2"), client("c1", "mesh", "node-1"), service("s2", "mesh", {"app": "s2"}, PORTS),
               account("w", "plain"), server("w", "plain", "node-2"), service("w", "plain", {"app": "w"}, PORTS)]

    def annotated(self, name, ns):
        folder = self.box.run / "objects/.annotations"
        for file in folder.glob(f"{ns}.{name}.*.json"):
            if "enabled" in file.read_text():
                return True
        return False

    def captured(self, name):
        done = subprocess.run([harness.WEFT, "status", "--sandbox", self.box.name, "-o", "json"], capture_output=True,
                              text=True, timeout=10)
        nodes = json.loads(done.stdout)["nodes"].values()
        return any(one["name"] == name and one["state"] == "captured" for node in nodes for one in node.get("pods", []))

    def security(self, target, identity):
        """Whether calls from c1 reach the target by mutual TLS, seen on the wire."""
        with Capture(self.box) as capture:
            self.assertIn("hello", self.box.curl("c1", f"http://{target}/visible"))
        return "tls" if not capture.has("visible") and capture.ports() <= {15008} else "plain"

    def test_a_label_on_a_running_pod_enrols_and_withdraws(self):
        uid = self.box.get("pod", "w", "plain")["metadata"]["uid"]
        first = self.box.pids("node-2", "pods", f"pod{uid}", "main")
        talk = self.converse("c1", "w.plain")
        self.assertEqual(self.security("w.plain", "w"), "plain")

        self.box.apply(server("w", "plain", "node-2",
                              labels={"app": "w", "istio.io/dataplane-mode": "ambient"}))
        eventually(lambda: self.captured("w"))
        eventually(lambda: self.security("w.plain", "w") == "tls")
        # Nothing was restarted, and what was open goes on.
        self.assertEqual(self.box.pids("node-2", "pods", f"pod{uid}", "main"), first)
        talk.goes_on()

        self.box.apply(server("w", "plain", "node-2", labels={"app": "w"}))
        eventually(lambda: not self.captured("w"))
        eventually(lambda: self.security("w.plain", "w") == "plain")
        self.assertEqual(self.box.pids("node-2", "pods", f"pod{uid}", "main"), first)
        talk.goes_on("and still")

    def test_a_label_on_a_namespace(self):
        self.box.apply(namespace("later"), account("n", "later"), server("n", "later", "node-2"),
                       service("n", "later", {"app": "n"}, PORTS))
        self.box.weft("wait")
        self.assertFalse(self.captured("n"))
        self.box.apply(mesh_namespace("later"))
        eventually(lambda: self.captured("n"))
        eventually(lambda: self.security("n.later", "n") == "tls")
        self.box.apply(namespace("later"))
        eventually(lambda: not self.captured("n"))
        eventually(lambda: self.security("n.later", "n") == "plain")
        self.box.delete("namespace", "later")

    def test_sidecar_injection_label_enrols_too(self):
        self.box.apply({"apiVersion": "v1", "kind": "Namespace",
                        "metadata": meta("injected", labels={"istio-injection": "enabled"})},
                       account("i", "injected"), server("i", "injected", "node-2"),
                       service("i", "injected", {"app": "i"}, PORTS))
        self.box.weft("wait")
        self.assertTrue(self.captured("i"))
        eventually(lambda: self.security("i.injected", "i") == "tls")
        self.box.delete("namespace", "injected")

    def test_none_keeps_a_pod_out(self):
        self.box.apply(server("aside", "mesh", "node-2", labels={"app": "aside", "istio.io/dataplane-mode": "none"}),
                       service("aside", "mesh", {"app": "aside"}, PORTS))
        self.box.weft("wait")
        self.assertFalse(self.captured("aside"))
        self.assertEqual(self.security("aside.mesh", "aside"), "plain")
        self.box.delete("pod", "aside", "mesh")

    def test_a_new_pod_is_in_the_mesh_from_its_first_moment(self):
        # Its container starts only once capture is live: its very first connection is mutual TLS.
        with Capture(self.box) as capture:
            self.box.apply(account("eager", "mesh"), pod("eager", "mesh", [
                "sh", "-c", "curl -sS -m 10 http://s2/first-words; exec sleep infinity"], "node-1"))
            eventually(lambda: "hello from s2" in self.box.weft("logs", "eager", "-n", "mesh", check=False).stdout)
        self.assertFalse(capture.has("first-words"))
        entry = eventually(lambda: self.box.access("node-2", direction="inbound", src__workload="eager"))[0]
        self.assertEqual(entry["src.identity"], ID + "eager")
        self.box.delete("pod", "eager", "mesh")


if __name__ == "__main__":
    harness.main()
