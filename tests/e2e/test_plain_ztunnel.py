"""Our control with Istio's ztunnel as its client: the messages that it sends and takes, by istio_ztunnel.py."""

import datetime
import pathlib
import subprocess
import tempfile

import harness
from cryptography import x509
from harness import Suite, account, client, eventually, mesh_namespace, namespace, peer_authentication, policy, server, service
from istio_ztunnel import ADDRESS, AUTHORIZATION, Control, Discovery, Status, create_certificate

IDENTITY = "spiffe://cluster.local/ns/{}/sa/{}"


class PlainZtunnel(Suite):
    tag = "ist"
    objects = [mesh_namespace("mesh"), namespace("plain"), account("s1", "mesh"), account("c1", "mesh"),
               server("s1", "mesh", "node-1"), client("c1", "mesh", "node-2"), server("s2", "plain", "node-2"),
               service("s1", "mesh", {"app": "s1"}, [(80, 8080)]),
               peer_authentication("strict", "mesh", "STRICT"),
               policy("one", "mesh", "ALLOW", [{"from": [{"source": {"principals": ["cluster.local/ns/mesh/sa/c1"]}}],
                                                "to": [{"operation": {"ports": ["8080"]}}]}], {"app": "s1"})]

    def connect(self, node="node-1", token=None):
        command = pathlib.Path(f"/proc/{self.box.state(f'{node}-ztunnel')[1]}/cmdline").read_text().split("\0")
        flags = dict(zip(command[2::2], command[3::2]))
        host, port = flags["--control"].rsplit(":", 1)
        control = Control(f"weft-{self.box.name}-{node}-ztunnel", (host, int(port)), flags["--control-name"],
                          flags["--control-roots"], token or pathlib.Path(flags["--token"]).read_text().strip())
        self.addCleanup(control.close)
        return control

    def discover(self, earlier=None):
        seen = Discovery(self.connect(), "node-1", earlier)
        if not earlier:
            seen.until(lambda: {"s1", "c1", "s2"} <= set(seen.workloads()) and
                       "s1.mesh.svc.cluster.local" in seen.services() and seen.known[AUTHORIZATION])
        return seen

    def test_workloads_say_what_istios_say(self):
        seen = self.discover()
        s1 = seen.workloads()["s1"]
        address = bytes(int(part) for part in self.box.ip("s1", "mesh").split("."))
        self.assertEqual(s1["uid"], "Kubernetes//Pod/mesh/s1")
        self.assertEqual((s1["namespace"], s1["service_account"], s1["node"]), ("mesh", "s1", "node-1"))
        self.assertIn(address, s1["addresses"])
        eventually(lambda: self.discover().workloads()["s1"].get("tunnel_protocol") == 1, what="HBONE")
        self.assertEqual([(one["key"], one["value"]["ports"]) for one in s1["services"]],
                         [("mesh/s1.mesh.svc.cluster.local", [{"service_port": 80, "target_port": 8080}])])
        self.assertIn("mesh/one", s1["authorization_policies"])
        self.assertNotIn("tunnel_protocol", seen.workloads()["s2"])
        names = seen.known[ADDRESS]
        self.assertIn("Kubernetes//Pod/mesh/s1", names)
        self.assertIn("mesh/s1.mesh.svc.cluster.local", names)

    def test_services_say_what_istios_say(self):
        found = self.discover().services()["s1.mesh.svc.cluster.local"]
        vip = bytes(int(part) for part in self.box.get("service", "s1", "mesh")["spec"]["clusterIP"].split("."))
        self.assertEqual((found["name"], found["namespace"]), ("s1", "mesh"))
        self.assertEqual([one["address"] for one in found["addresses"]], [vip])
        self.assertEqual([(one["service_port"], one["target_port"]) for one in found["ports"]], [(80, 8080)])

    def test_policies_say_what_istios_say(self):
        seen = self.discover()
        one = seen.known[AUTHORIZATION]["mesh/one"]["value"]
        self.assertEqual((one["name"], one["namespace"], one["scope"]), ("one", "mesh", 2))
        self.assertNotIn("action", one)  # ALLOW, the default
        matches = [match for clause in one["rules"][0]["clauses"] for match in clause["matches"]]
        self.assertIn({"principals": [{"exact": "cluster.local/ns/mesh/sa/c1"}]}, matches)
        self.assertTrue(any(match.get("destination_ports") == bytes([0x90, 0x3f]) for match in matches), matches)
        strict = [entry["value"] for name, entry in seen.known[AUTHORIZATION].items() if name != "mesh/one"]
        self.assertTrue(any(entry.get("action") == 1 for entry in strict), "STRICT is a DENY of who proves nothing")

    def test_policies_come_before_the_addresses_that_need_them(self):
        seen = self.discover()
        self.box.apply(policy("two", "mesh", "ALLOW", [{"to": [{"operation": {"ports": ["8080"]}}]}], {"app": "s8"}),
                       server("s8", "mesh", "node-2"))
        seen.until(lambda: "mesh/two" in seen.workloads().get("s8", {}).get("authorization_policies", []))
        self.assertIn("mesh/two", seen.known[AUTHORIZATION])
        self.box.delete("authorizationpolicy", "two", "mesh")
        seen.until(lambda: "mesh/two" not in seen.known[AUTHORIZATION])
        self.assertNotIn("mesh/two", seen.workloads()["s8"].get("authorization_policies", []))
        self.box.delete("pod", "s8", "mesh")

    def test_only_changes_are_told(self):
        seen = self.discover()
        self.box.apply(server("s9", "plain", "node-2"))
        seen.until(lambda: "s9" in seen.workloads())
        type_url, came, gone = ADDRESS, ["?"], []
        before = set(seen.known[ADDRESS])
        self.box.delete("pod", "s9", "plain")
        while "Kubernetes//Pod/plain/s9" not in gone:
            type_url, came, gone = seen.next()
            self.assertTrue(set(came) <= {"Kubernetes//Pod/plain/s9"}, came)
        self.assertEqual(type_url, ADDRESS)
        self.assertEqual(before - set(seen.known[ADDRESS]), {"Kubernetes//Pod/plain/s9"})

    def test_what_is_known_is_not_sent_again(self):
        first = self.discover()
        count = sum(len(entries) for entries in first.known.values())
        first.control.close()
        first.known[ADDRESS]["Kubernetes//Pod/plain/never-was"] = {"version": "1", "value": {}}
        again = self.discover(first.known)
        came, gone = [], []
        for _ in range(2):
            try:
                _, more, less = again.next(within=2)
            except TimeoutError:
                break
            came, gone = came + more, gone + less
        self.assertLess(len(came), count)
        self.assertEqual(came, [])
        self.assertEqual(gone, ["Kubernetes//Pod/plain/never-was"], "what went meanwhile is told")

    def test_a_refusal_leaves_the_stream_as_it_is(self):
        seen = Discovery(self.connect(), "node-1")
        seen.next(refuse="unknown enum value")
        seen.until(lambda: "s1" in seen.workloads())

    def csr(self, identity):
        """As ztunnel makes it: P-256, no subject, one critical URI."""
        with tempfile.TemporaryDirectory() as folder:
            config = pathlib.Path(folder) / "csr.conf"
            config.write_text("[req]\ndistinguished_name=dn\nreq_extensions=ext\nprompt=no\n[dn]\n[ext]\n"
                              f"subjectAltName=critical,URI:{identity}\n")
            return subprocess.run(
                ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-keyout", "/dev/null", "-subj", "/", "-config", str(config)],
                capture_output=True, text=True, check=True).stdout

    def test_certificates_are_given_for_what_the_node_runs(self):
        identity = IDENTITY.format("mesh", "s1")
        chain = create_certificate(self.connect(), self.csr(identity), identity, 3600)
        self.assertGreaterEqual(len(chain), 2)
        leaf = x509.load_pem_x509_certificate(chain[0].encode())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        self.assertEqual(names.value.get_values_for_type(x509.UniformResourceIdentifier), [identity])
        self.assertTrue(names.critical)
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual({one._name for one in usage}, {"serverAuth", "clientAuth"})
        life = leaf.not_valid_after - datetime.datetime.utcnow()
        self.assertLessEqual(life, datetime.timedelta(seconds=3601))
        self.assertGreater(life, datetime.timedelta(seconds=3000))
        with tempfile.TemporaryDirectory() as folder:
            files = [pathlib.Path(folder) / f"{number}.pem" for number in range(len(chain))]
            for file, text in zip(files, chain):
                file.write_text(text)
            between = [word for file in files[1:-1] for word in ("-untrusted", str(file))]
            subprocess.run(["openssl", "verify", "-CAfile", files[-1], *between, files[0]], check=True,
                           capture_output=True)

    def test_certificates_are_not_given_for_anything_else(self):
        other, own = IDENTITY.format("mesh", "c1"), IDENTITY.format("mesh", "s1")
        for asked, csr, token in ((other, other, None), (own, other, None), (own, own, "not.a.token")):
            with self.subTest(asked=asked, csr=csr), self.assertRaises(Status) as refused:
                create_certificate(self.connect(token=token), self.csr(csr), asked, 3600)
            self.assertIn(refused.exception.args[0], (3, 7, 16), refused.exception)
        with self.assertRaises(Status):
            create_certificate(self.connect(), "no request", own, 3600)


if __name__ == "__main__":
    harness.main()
