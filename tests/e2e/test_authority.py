"""A CA that the operator brings, and its root rotated under load through a bundle of two."""

import json
import pathlib
import re
import tempfile

import harness
from certificates import Authority, write_cacerts
from harness import Suite, account, client, eventually, mesh_namespace, namespace, server, service

NODES = {"node-1": ("c1", "s1"), "node-2": ("s2",)}


class Rotation(Suite):
    tag = "auth"
    objects = [mesh_namespace("mesh"), namespace("plain"), *(account(name, "mesh") for name in ("s1", "s2", "c1")),
               server("s1", "mesh", "node-1"), server("s2", "mesh", "node-2"), client("c1", "mesh", "node-1"),
               client("stranger", "plain", "node-1"),
               *(service(name, "mesh", {"app": name}, [(80, 8080), (7001, 7001)]) for name in ("s1", "s2"))]

    @classmethod
    def setUpClass(cls):
        cls.keys = tempfile.TemporaryDirectory(prefix="weft-e2e-ca-")
        cls.addClassCleanup(cls.keys.cleanup)
        cls.old, cls.new = Authority(cls.keys.name, "old"), Authority(cls.keys.name, "new")
        cls.cacerts = pathlib.Path(cls.keys.name) / "cacerts"
        cls.cacerts.mkdir()
        write_cacerts(cls.cacerts, cls.old, [cls.old])
        cls.more = ("--ca-certs", cls.cacerts)
        super().setUpClass()

    def serials(self):
        """How many certificates each identity has had so far."""
        return {(node, name): len(re.findall(rf'certificate available identity="[^"]*/sa/{name}"',
                                             self.box.log(f"node/{node}/ztunnel")))
                for node, names in NODES.items() for name in names}

    def shown(self):
        """The issuers of the chain that s2's ztunnel shows to anyone who connects."""
        done = self.box.exec("stranger", "openssl", "s_client", "-connect", f"{self.box.ip('s2', 'mesh')}:15008",
                             "-alpn", "h2", "-showcerts", ns="plain", input="")
        return re.findall(r"^ *\d* *i: ?(.*)$", done.stdout, re.M)

    def phase(self, signer, roots):
        before = self.serials()
        write_cacerts(self.cacerts, signer, roots)
        eventually(lambda: all(count > before[key] for key, count in self.serials().items()), within=30,
                   what="new certificates for everyone")

    def test_every_phase_under_load(self):
        self.assertEqual(self.box.curl("c1", "http://s2/"), "hello from s2\n")
        talk = self.converse("c1", "s2")
        hammer = self.box.start_peer("c1", "hammer", "s2", 7001)
        self.addCleanup(hammer.kill)
        self.assertEqual(hammer.stdout.readline(), "open\n")

        talk.goes_on("before")
        self.phase(self.old, [self.old, self.new])
        talk.goes_on("both are trusted")
        self.phase(self.new, [self.old, self.new])
        talk.goes_on("the new one signs")
        self.phase(self.new, [self.new])
        talk.goes_on("the old one is gone")
        # Everything goes on under the new root alone, also what talks to control.
        self.box.apply(account("late", "mesh"), client("late", "mesh", "node-2"))
        self.box.weft("wait", "--timeout", 60, timeout=90)
        self.assertEqual(eventually(lambda: self.box.curl("late", "http://s1/")), "hello from s1\n")

        hammer.stdin.close()
        seen = json.loads(hammer.stdout.read())
        self.assertEqual(seen["failed"], [])
        self.assertGreater(seen["count"], 100)
        self.assertEqual(talk.end(), 0)
        errors = [entry for node in NODES for entry in self.box.access(node) if "error" in entry]
        self.assertEqual(errors, [])
        print(f"{seen['count']} connections over three phases, none failed")

    def test_a_wrong_set_is_named_and_changes_nothing(self):
        roots = (self.box.run / "control/roots.pem").read_text()
        good = (self.cacerts / "ca-key.pem").read_text()
        stranger = Authority(self.keys.name, "stranger")
        (self.cacerts / "ca-key.pem").write_text(stranger.text("ca.key"))
        self.addCleanup((self.cacerts / "ca-key.pem").write_text, good)
        eventually(lambda: "ca-key.pem does not belong to ca-cert.pem" in self.box.log("control"))
        self.assertEqual((self.box.run / "control/roots.pem").read_text(), roots)
        self.assertEqual(self.box.curl("c1", "http://s2/"), "hello from s2\n")

    def test_the_chain_leads_to_the_root(self):
        issuers = self.shown()
        self.assertEqual(len(issuers), 2)
        self.assertIn("intermediate", issuers[0])
        self.assertIn("root", issuers[1])


if __name__ == "__main__":
    harness.main()
