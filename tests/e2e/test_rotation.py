"""Certificates that live for seconds: rotated again and again under traffic, on the epoll backend."""

import re

import harness
from harness import Suite, account, client, eventually, mesh_namespace, server, service


class Rotation(Suite):
    tag = "rot"
    # A certificate is renewed at half life; this one is past it when it comes, so it is renewed as
    # often as ztunnel ever does.
    ztunnel_flags = "certificate-ttl=30,backend=epoll"
    objects = [mesh_namespace("mesh"), *(account(name, "mesh") for name in ("s2", "c1")),
               server("s2", "mesh", "node-2"), client("c1", "mesh", "node-1"),
               service("s2", "mesh", {"app": "s2"}, [(80, 8080), (7001, 7001)])]

    def serials(self, node, name):
        return re.findall(rf'certificate available identity="spiffe://cluster.local/ns/mesh/sa/{name}" serial=(\w+)',
                          self.box.log(f"node/{node}/ztunnel"))

    def test_no_connection_is_dropped(self):
        talk = self.converse("c1", "s2")
        before = {"c1": len(self.serials("node-1", "c1")), "s2": len(self.serials("node-2", "s2"))}
        said = 0

        def rotated():
            nonlocal said
            said += 1
            talk.goes_on(f"line {said}")
            self.assertEqual(self.box.curl("c1", "http://s2/"), "hello from s2\n")
            return (len(self.serials("node-1", "c1")) >= before["c1"] + 4
                    and len(self.serials("node-2", "s2")) >= before["s2"] + 4)

        eventually(rotated, within=60, what="four new certificates on both sides")
        self.assertEqual(len(set(self.serials("node-1", "c1"))), len(self.serials("node-1", "c1")))
        failed = [entry for node in ("node-1", "node-2") for entry in self.box.access(node) if "error" in entry]
        self.assertEqual(failed, [])

    def test_it_runs_on_epoll(self):
        self.assertRegex(self.box.log("node/node-1/ztunnel"), "started role=node .*backend=epoll")


if __name__ == "__main__":
    harness.main()
