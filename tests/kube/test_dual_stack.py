"""Nodes, pods and Services with IPv4 and IPv6: both are captured, and neither is a way around policy."""

import nodes
from pods import NS, container, pod, service
from processes import eventually
from suite import MeshSuite

BOTH = {"ipFamilyPolicy": "RequireDualStack"}


class DualStack(MeshSuite):
    dual_stack = True
    objects = [pod("web", "kn2", container(port=8080)), service("web", 80, 8080, **BOTH), pod("ask", "kn1"),
               pod("near", "kn2"), pod("outside", "kn1", namespace="default")]

    def addresses(self, name, namespace=NS):
        """The pod's addresses as they stand in a URL, the one of IPv4 first."""
        found = [one["ip"] for one in self.get(name, namespace)["status"]["podIPs"]]
        return [f"[{one}]" if ":" in one else one for one in found]

    def test_pods_see_each_other_s_addresses_on_both_families(self):
        for client in ("ask", "near"):
            for mine, theirs in zip(self.addresses(client), self.addresses("web"), strict=True):
                self.assertEqual(self.ask(client, f"http://{theirs}:8080/"), (200, mine.strip("[]")))
        for theirs in self.addresses("web"):
            eventually(lambda: f"{theirs}:8080" in self.mesh.access_log("kn2"), what=f"{theirs} in the access log")

    def test_a_service_on_both_families(self):
        for flag, address in zip(("-4", "-6"), self.addresses("ask"), strict=True):
            def answered():
                return self.mesh.curl("ask", "http://web/", flag, namespace=NS) == (200, address.strip("[]"))
            eventually(answered, what=f"the service by curl {flag}")

    def test_strict_holds_on_both(self):
        """And the kubelet's probes pass."""
        self.mesh.mutual_tls(NS, "STRICT")
        self.addCleanup(self.mesh.kubectl, "delete", "peerauthentication", "default", "-n", NS)
        for theirs in self.addresses("web"):
            url = f"http://{theirs}:8080/"
            eventually(lambda: self.ask("outside", url, "default")[0] == 0, what=f"{url} refused in plain text")
            self.assertEqual(self.ask("ask", url)[0], 200)
        self.assertTrue(nodes.is_ready(self.get("web")))


if __name__ == "__main__":
    nodes.main("helm")
