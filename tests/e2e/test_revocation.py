"""Certificates taken back by a CRL: at the handshake, and under connections that are open."""

import pathlib
import re
import tempfile
import time

import harness
from certificates import Authority, write_cacerts
from harness import Suite, account, client, eventually, in_netns, mesh_namespace, server, service


class Revocation(Suite):
    tag = "crl"
    objects = [mesh_namespace("mesh"), *(account(name, "mesh") for name in ("s2", "c1")),
               server("s2", "mesh", "node-2"), client("c1", "mesh", "node-1"),
               service("s2", "mesh", {"app": "s2"}, [(80, 8080), (7001, 7001)])]

    @classmethod
    def setUpClass(cls):
        keys = tempfile.TemporaryDirectory(prefix="weft-e2e-crl-")
        cls.addClassCleanup(keys.cleanup)
        cls.authority = Authority(keys.name, "ours")
        cls.crl = pathlib.Path(keys.name) / "revoked.crl"
        cls.authority.revoke([], cls.crl)
        cacerts = pathlib.Path(keys.name) / "cacerts"
        cacerts.mkdir()
        write_cacerts(cacerts, cls.authority, [cls.authority])
        cls.more = ("--ca-certs", cacerts)
        cls.ztunnel_flags = f"crl={cls.crl}"
        super().setUpClass()

    def tearDown(self):
        self.authority.revoke([], self.crl)
        eventually(lambda: self.box.curl("c1", "http://s2/") == "hello from s2\n")

    def serial(self, node, name):
        return re.findall(rf'certificate available identity="[^"]*/sa/{name}" serial=(\w+)',
                          self.box.log(f"node/{node}/ztunnel"))[-1]

    def flags(self, node, direction):
        """The response_flags under which a node's ztunnel has counted connections."""
        done = in_netns(f"weft-{self.box.name}-{node}-ztunnel", "curl", "-s", "http://127.0.0.1:15020/metrics")
        lines = [line for line in done.stdout.splitlines()
                 if line.startswith("istio_tcp_connections_failed_total") and f'reporter="{direction}"' in line]
        return {flag for line in lines for flag in re.findall(r'response_flags="([^"]*)"', line)}

    def ends(self, talk):
        """Seconds until the conversation ends."""
        began = time.monotonic()
        eventually(talk.has_ended)
        return time.monotonic() - began

    def test_a_revoked_client_is_cut_off_and_kept_out(self):
        talk = self.converse("c1", "s2")
        self.authority.revoke([self.serial("node-1", "c1")], self.crl)
        print(f"measured: {self.ends(talk):.2f} s from the CRL's file to the end of an open connection")
        inbound = eventually(lambda: [entry for entry in self.box.access("node-2", direction="inbound")
                                      if "revoked" in entry.get("error", "")])
        self.assertIn("sa/c1: the peer's certificate was revoked", inbound[-1]["error"])
        self.box.refused("c1", "http://s2/")
        outbound = eventually(lambda: [entry for entry in self.box.access("node-1", direction="outbound")
                                       if "certificate revoked" in entry.get("error", "")])
        self.assertIn("peer refused our certificate (alert: certificate revoked)", outbound[-1]["error"])
        self.assertIn("CERT_REVOKED", self.flags("node-2", "destination"))
        self.assertIn("TLS_FAILURE", self.flags("node-1", "source"))

    def test_a_revoked_server_is_left(self):
        talk = self.converse("c1", "s2")
        self.authority.revoke([self.serial("node-2", "s2")], self.crl)
        self.ends(talk)
        self.box.refused("c1", "http://s2/")
        outbound = eventually(lambda: [entry for entry in self.box.access("node-1", direction="outbound")
                                       if "sa/s2: the peer's certificate was revoked" in entry.get("error", "")])
        self.assertTrue(outbound)
        self.assertIn("CERT_REVOKED", self.flags("node-1", "source"))

    def test_a_bad_update_leaves_the_last_good_list(self):
        self.authority.revoke([self.serial("node-1", "c1")], self.crl)
        eventually(lambda: self.box.refused("c1", "http://s2/"))
        self.crl.write_text("nonsense")
        eventually(lambda: "the last good ones stay in force" in self.box.log("node/node-2/ztunnel"))
        self.box.refused("c1", "http://s2/")


if __name__ == "__main__":
    harness.main()
