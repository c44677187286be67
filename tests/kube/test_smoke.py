"""The way of a user in one go, on two nodes: install, enrol, the shop across nodes, a refusal, uninstall."""

import json
import unittest

import nodes
import release
from mesh import Mesh
from pods import container, pod
from processes import eventually
from release import NAMESPACE


class Smoke(unittest.TestCase):
    def setUp(self):
        self.mesh = Mesh().__enter__()
        self.addCleanup(self.mesh.close)

    def place(self, name, node):
        """Puts a deployment of the shop on one node."""
        spec = {"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": node}}}}}
        self.mesh.kubectl("patch", "deployment", name, "--patch", json.dumps(spec))

    def order(self, client):
        return self.mesh.curl(client, "http://order-service/orders/5001")

    def ordered(self, client):
        status, body = self.order(client)
        return body if status == 200 else None

    def roots(self):
        """What still holds the mesh's root, as kind/name."""
        found = self.mesh.kubectl("get", "secrets,configmaps", "-A", "-o", "name").split()
        return {one for one in found if one.endswith(("/weft-ca", "/istio-ca-root-cert"))}

    def the_authority_stays_until_it_is_purged(self):
        self.assertEqual(self.roots(), {"secret/weft-ca", "configmap/istio-ca-root-cert"})
        done = release.weft(self.mesh, "uninstall", "--purge")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"removed /api/v1/namespaces/{NAMESPACE}/secrets/weft-ca", done.stdout)
        self.assertEqual(self.roots(), set())

    def test_all(self):
        mesh = self.mesh
        mesh.apply(pod("there", "kn2", container(port=8080), namespace="default"))
        mesh.wait_pods("default")
        before = mesh.traces()

        mesh.install()
        mesh.enrol("default")
        mesh.apply_shop()
        for name, node in (("user-service", "kn1"), ("product-service", "kn2"), ("order-service", "kn1")):
            self.place(name, node)
        mesh.rollout("deployment/user-service", "deployment/product-service", "deployment/order-service")
        mesh.wait_captured("default")
        body = eventually(lambda: self.ordered("sleep"), what="an order")
        self.assertEqual(json.loads(body)["product"], {"name": "Laptop"})
        eventually(lambda: "sa/order-service" in mesh.access_log("kn2"), what="the call between nodes in the log")

        eventually(lambda: self.ordered("visitor"), what="an order of the visitor")
        mesh.policy("no-visitors", "default", action="DENY", selector={"matchLabels": {"app": "order-service"}},
                    rules=[{"from": [{"source": {"principals": ["cluster.local/ns/default/sa/visitor"]}}]}])
        eventually(lambda: self.order("visitor")[0] == 0, what="the visitor refused")
        self.assertEqual(self.order("sleep")[0], 200)
        self.assertIn("no-visitors", mesh.access_log("kn1"))

        mesh.uninstall()
        status, _ = self.order("sleep")
        self.assertEqual(status, 200)
        mesh.kubectl("delete", "deployment", "--all", "-n", "default")
        mesh.kubectl("delete", "pod", "sleep", "visitor", "-n", "default")
        eventually(lambda: len(mesh.get("pods", "-n", "default")["items"]) == 1, what="the pods gone")
        self.the_authority_stays_until_it_is_purged()
        mesh.kubectl("delete", "namespace", "outside", NAMESPACE)

        def left():
            return sorted(mesh.traces() - before)
        try:
            eventually(lambda: not left(), what="nodes as before", within=20)
        except AssertionError as problem:
            raise AssertionError(f"{problem}\nleft: {json.dumps(left(), indent=1)}") from problem


if __name__ == "__main__":
    nodes.main("helm")
