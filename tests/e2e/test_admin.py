"""ztunnel's admin port and what the CLI makes of it, on live connections; and the keys of the access log."""

import json
import subprocess

import harness
from harness import Suite, account, client, eventually, mesh_namespace, namespace, policy, server, service

# Istio ztunnel's keys, in its order.
KEYS = ["src.addr", "src.workload", "src.namespace", "src.identity", "src.cluster", "dst.addr", "dst.hbone_addr",
        "dst.service", "dst.workload", "dst.namespace", "dst.identity", "dst.cluster", "direction", "bytes_sent",
        "bytes_recv", "duration", "error"]
EARLY_KEYS = ["src.addr", "dst.addr", "direction", "error"]


class Admin(Suite):
    tag = "admin"
    objects = [mesh_namespace("mesh"), namespace("plain"), *[account(name, "mesh") for name in ("s1", "s2", "c1")],
               server("s1", "mesh", "node-1"), server("s2", "mesh", "node-2"), client("c1", "mesh", "node-1"),
               client("stranger", "plain", "node-1"), server("outside", "plain", "node-2"),
               *[service(name, "mesh", {"app": name}, [(80, 8080), (7001, 7001)]) for name in ("s1", "s2")],
               service("empty", "mesh", {"app": "nobody"}, [(80, 8080)])]

    def config(self, what, *args):
        return subprocess.run([harness.WEFT, "ztunnel-config", what, "--sandbox", self.box.name, *args],
                              capture_output=True, text=True, timeout=30)

    def connections(self, node, pod):
        """(inbound, outbound) of a pod, as its node's ztunnel lists them."""
        done = self.config("connections", "--node", node, "-o", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        for entry in json.loads(done.stdout).values():
            if entry["info"]["name"] == pod:
                return entry["connections"]["inbound"], entry["connections"]["outbound"]
        self.fail(f"{pod} is not in {done.stdout}")

    def test_connections_are_listed_while_they_are_open(self):
        own, vip = self.box.ip("c1", "mesh"), self.box.get("service", "s2", "mesh")["spec"]["clusterIP"]
        talks = [self.converse("c1", target) for target in ("s1", "s2", self.box.ip("outside", "plain"))]
        _, outbound = self.connections("node-1", "c1")
        by_target = {one["actualDst"]: one for one in outbound}
        s1, s2, outside = (self.box.ip(*pod) for pod in (("s1", "mesh"), ("s2", "mesh"), ("outside", "plain")))
        self.assertEqual(set(by_target), {f"{s1}:7001", f"{s2}:15008", f"{outside}:7001"})
        remote = by_target[f"{s2}:15008"]
        self.assertEqual((remote["originalDst"], remote["protocol"]), (f"{vip}:7001", "HBONE"))
        self.assertTrue(remote["src"].startswith(own + ":"))
        self.assertEqual(by_target[f"{s1}:7001"]["protocol"], "TCP")  # the same node: not encrypted
        inbound, _ = self.connections("node-2", "s2")
        self.assertEqual([(one["actualDst"], one["originalDst"], one["protocol"]) for one in inbound],
                         [(f"{s2}:7001", "s2.mesh.svc.cluster.local", "HBONE")])
        self.assertEqual(len(self.connections("node-1", "s1")[0]), 1)
        table = self.config("connections", "--node", "node-1").stdout
        self.assertRegex(table, rf"c1\.mesh +Outbound +{own}:\d+ +{s2}:15008 +{vip}:7001 +HBONE")
        for talk in talks:
            talk.end()
        eventually(lambda: self.connections("node-1", "c1")[1] == [] and self.connections("node-2", "s2")[0] == [])

    def test_every_section_as_table_and_json(self):
        for what, head in (("workloads", "NAMESPACE"), ("services", "NAMESPACE"), ("policies", "NAMESPACE"),
                           ("certificates", "CERTIFICATE NAME"), ("connections", "WORKLOAD")):
            with self.subTest(what):
                self.assertIn(head, self.config(what, "--node", "node-1").stdout)
                both = json.loads(self.config(what, "-o", "json").stdout)
                self.assertEqual(set(both), {"node-1", "node-2"})
        dump = json.loads(self.config("all", "--node", "node-1", "-o", "json").stdout)
        self.assertEqual(set(dump), {"workloads", "services", "policies", "certificates", "workloadState",
                                     "stagedServices", "staticConfig", "version", "config"})
        self.assertEqual(dump["config"]["node"], "node-1")
        self.assertNotIn("PRIVATE KEY", json.dumps(dump))

    def admin(self, node, path, *args):
        return subprocess.run(["ip", "netns", "exec", f"weft-{self.box.name}-{node}-ztunnel", "curl", "-sS", "-m", "20",
                               "-w", "\n%{http_code}", *args, f"http://127.0.0.1:15000{path}"],
                              capture_output=True, timeout=30).stdout

    def test_cpu_profile(self):
        load = self.box.start_peer("c1", "echo_for", "s2", 7001, 4)
        self.addCleanup(load.communicate)
        self.addCleanup(load.kill)
        profile = self.admin("node-1", "/debug/pprof/profile?seconds=2&frequency=500")
        if profile.endswith(b"\n501"):
            self.skipTest(profile.decode())
        self.assertTrue(profile.endswith(b"\n200"), profile[-200:])
        # Its string table names what a ztunnel under load does.
        for name in (b"weft::", b"libcrypto", b"nanoseconds", b"weft-ztunnel"):
            self.assertIn(name, profile)

    def last_line(self, node, *words):
        lines = [line for line in self.box.log(f"node/{node}/ztunnel").splitlines()
                 if "\taccess\t" in line and all(word in line for word in words)]
        return lines[-1] if lines else None

    def check_keys(self, line, optional=()):
        keys = [key for key in harness.parse_access(line) if key != "level"]
        self.assertEqual(keys, [key for key in KEYS if key in keys], line)
        missing = [key for key in KEYS if key not in keys and key not in optional]
        self.assertEqual(missing, [], line)

    def test_access_log_keys(self):
        self.box.curl("c1", "http://s2/")
        # The labels that Istio's has on success; a service is known only where it was asked for.
        self.check_keys(eventually(lambda: self.last_line("node-1", "s2", "outbound", "bytes_sent")), {"error"})
        self.check_keys(eventually(lambda: self.last_line("node-2", "s2", "inbound", "bytes_sent")), {"error"})

        self.box.apply(policy("no-c1", "mesh", "DENY", [{"from": [{"source": {"principals": [
            "cluster.local/ns/mesh/sa/c1"]}}]}], {"app": "s2"}))
        self.addCleanup(self.box.delete, "authorizationpolicy", "no-c1", "mesh")
        eventually(lambda: self.box.refused("c1", "http://s2/"))
        # Refused by policy: ERROR, and the same keys.
        line = eventually(lambda: self.last_line("node-2", "explicitly denied by: mesh/no-c1"))
        self.check_keys(line)
        self.assertIn("\terror\taccess\tconnection complete ", line)
        self.check_keys(eventually(lambda: self.last_line("node-1", "http status: 401")), {"dst.identity"})

        # Nobody listens.
        self.box.refused("c1", f"http://{self.box.ip('s1', 'mesh')}:7999/")
        self.check_keys(eventually(lambda: self.last_line("node-1", ":7999", "inbound")),
                        {"dst.hbone_addr", "dst.service"})

        # Before it is known who talks to whom: WARN, and only these.
        self.box.refused("c1", "http://empty/")
        for line in (eventually(lambda: self.last_line("node-1", "no healthy upstream")),):
            self.assertIn("\twarn\taccess\tconnection failed ", line)
            self.assertEqual([key for key in harness.parse_access(line) if key != "level"], EARLY_KEYS)


if __name__ == "__main__":
    harness.main()
