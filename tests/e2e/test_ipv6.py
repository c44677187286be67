"""IPv6 and dual stack: the way of a byte by either family, and nothing that slips past by the other."""

import ipaddress

from harness import (Suite, account, client, eventually, main, mesh_namespace, namespace, peer_authentication, server,
                     service)

ID = "spiffe://cluster.local/ns/mesh/sa/"
PORTS = [(80, 8080)] + [(port, port) for port in range(7001, 7011)]
NAMES = (("s1", "mesh", "node-1"), ("s2", "mesh", "node-2"), ("out", "plain", "node-1"), ("strict", "strict", "node-2"))


def objects(**families):
    """Servers and clients, in the mesh on both nodes and outside it, with a Service each."""
    pods = [server(name, ns, node) for name, ns, node in NAMES]
    pods += [client("c1", "mesh", "node-1"), client("c2", "mesh", "node-2"), client("stranger", "plain", "node-2")]
    return [mesh_namespace("mesh"), mesh_namespace("strict"), namespace("plain"),
            peer_authentication("default", "strict", "STRICT"),
            *[account(name, ns) for name, ns in (("s1", "mesh"), ("s2", "mesh"), ("c1", "mesh"), ("c2", "mesh"),
                                                 ("strict", "strict"))],
            *pods, *[service(name, ns, {"app": name}, PORTS, **families) for name, ns, _ in NAMES]]


def is_v6(address):
    return ipaddress.ip_address(address).version == 6


class Families(Suite):
    """What suites of one and of two families share."""

    families = (4, 6)

    def ip_of(self, name, ns, family):
        ips = [one["ip"] for one in self.box.get("pod", name, ns)["status"]["podIPs"]]
        return next(ip for ip in ips if is_v6(ip) == (family == 6))

    def vip_of(self, name, ns, family):
        ips = self.box.get("service", name, ns)["spec"]["clusterIPs"]
        return next(ip for ip in ips if is_v6(ip) == (family == 6))

    def test_http_on_one_node_and_across(self):
        for family in self.families:
            for source in ("c1", "c2"):
                for target in ("s1", "s2"):
                    self.assertEqual(self.box.curl(source, f"http://{target}/", f"-{family}"), f"hello from {target}\n")

    def test_both_sides_see_the_original_addresses(self):
        for family in self.families:
            for source in ("c1", "c2"):
                for target in ("s1", "s2"):
                    address = self.ip_of(target, "mesh", family)
                    for asked in (self.vip_of(target, "mesh", family), address):
                        seen = self.box.peer(source, "ask_who", asked, 7006)
                        self.assertEqual(seen["peer"], [asked, 7006])
                        self.assertEqual(seen["own"][0], self.ip_of(source, "mesh", family))
                        self.assertEqual(seen["server"]["peer"][0], self.ip_of(source, "mesh", family))
                        self.assertEqual(seen["server"]["own"], [address, 7006])

    def test_across_by_mutual_tls(self):
        for family in self.families:
            address = self.ip_of("s2", "mesh", family)
            asked = f"[{address}]:8080" if family == 6 else f"{address}:8080"

            def entries(node, direction):
                return self.box.access(node, direction=direction, src__workload="c1", dst__workload="s2",
                                       dst__hbone_addr=asked)

            before = len(entries("node-2", "inbound"))
            self.assertIn("hello", self.box.curl("c1", f"http://{asked}/"))
            entry = eventually(lambda: entries("node-2", "inbound")[before:])[0]
            self.assertEqual(entry["src.identity"], ID + "c1")
            self.assertEqual(entry["dst.addr"], asked.replace(":8080", ":15008"))
            self.assertTrue(entries("node-1", "outbound"))

    def test_to_and_from_outside_the_mesh(self):
        for family in self.families:
            for source in ("c1", "c2"):
                self.assertIn("hello from out", self.box.curl(source, "http://out.plain/", f"-{family}"))
            for target in ("s1", "s2"):
                self.assertIn(f"hello from {target}",
                              self.box.curl("stranger", f"http://{target}.mesh/", f"-{family}", ns="plain"))
                seen = self.box.peer("stranger", "ask_who", self.ip_of(target, "mesh", family), 7006, ns="plain")
                self.assertEqual(seen["server"]["peer"], seen["own"], "address and port of the client itself")

    def test_strict_refuses_plain_text_and_takes_mutual_tls(self):
        for family in self.families:
            address = self.ip_of("strict", "strict", family)
            url = f"http://[{address}]:8080/" if family == 6 else f"http://{address}:8080/"
            self.box.refused("stranger", url, ns="plain")
            self.assertIn("hello from strict", self.box.curl("c1", url))

    def test_a_pod_reaches_itself(self):
        for family in self.families:
            loopback = "[::1]" if family == 6 else "127.0.0.1"
            own = self.ip_of("strict", "strict", family)
            own = f"[{own}]" if family == 6 else own
            for host in (loopback, own):
                self.assertIn("hello from strict", self.box.curl("strict", f"http://{host}:8080/", ns="strict"))
            # Its own Service: through the proxy, as itself.
            self.assertIn("hello from strict",
                          self.box.curl("strict", "http://strict.strict/", f"-{family}", ns="strict"))

    def test_big_and_half_closed(self):
        for family in self.families:
            for target in ("s1", "s2"):
                seen = self.box.peer("c1", "half_close", self.vip_of(target, "mesh", family), 7003, (3 << 20) + 7)
                self.assertEqual(seen["server"], [(3 << 20) + 7, seen["sent"]])

    def test_many_connections(self):
        for family in self.families:
            seen = self.box.peer("c2", "many", self.vip_of("s1", "mesh", family), 7001, 300, 30)
            self.assertEqual(seen["failed"], [])


class DualStack(Families):
    tag = "dual"
    objects = objects(ipFamilyPolicy="RequireDualStack") + [
        service("six", "mesh", {"app": "s2"}, PORTS, ipFamilies=["IPv6"]),
        service("four", "mesh", {"app": "s2"}, PORTS)]
    more = ("--ip-families", "dual")

    def test_pods_and_services_have_both(self):
        pod = self.box.get("pod", "s1", "mesh")
        self.assertEqual([is_v6(one["ip"]) for one in pod["status"]["podIPs"]], [False, True])
        self.assertEqual(pod["status"]["podIP"], pod["status"]["podIPs"][0]["ip"])
        spec = self.box.get("service", "s1", "mesh")["spec"]
        self.assertEqual([is_v6(ip) for ip in spec["clusterIPs"]], [False, True])
        self.assertEqual(spec["ipFamilies"], ["IPv4", "IPv6"])

    def test_service_of_one_family(self):
        self.assertEqual(self.box.get("service", "six", "mesh")["spec"]["ipFamilies"], ["IPv6"])
        for name, good, bad in (("six", "-6", "-4"), ("four", "-4", "-6")):
            for source, ns in (("c1", "mesh"), ("stranger", "plain")):
                self.assertIn("hello from s2", self.box.curl(source, f"http://{name}.mesh/", good, ns=ns))
                done = self.box.exec(source, "curl", "-sS", "-m", "10", bad, f"http://{name}.mesh/", ns=ns)
                self.assertIn(done.returncode, (6, 7), "the name has no address of that family")

    def test_v4_mapped_sockets(self):
        for target in ("s1", "s2"):
            vip, address = self.vip_of(target, "mesh", 4), self.ip_of(target, "mesh", 4)
            seen = self.box.peer("c1", "ask_who_mapped", vip, 7006)
            self.assertEqual(seen["peer"], [f"::ffff:{vip}", 7006])
            self.assertEqual(seen["server"]["peer"][0], self.ip_of("c1", "mesh", 4))
            # A server that takes both families by one socket.
            seen = self.box.peer("c1", "ask_who", vip, 7010)
            self.assertEqual(seen["server"]["own"], [f"::ffff:{address}", 7010])
            self.assertEqual(seen["server"]["peer"][0], f"::ffff:{self.ip_of('c1', 'mesh', 4)}")
            seen = self.box.peer("c1", "ask_who", self.vip_of(target, "mesh", 6), 7010)
            self.assertEqual(seen["server"]["own"], [self.ip_of(target, "mesh", 6), 7010])


class Ipv6Only(Families):
    tag = "six"
    objects = objects()
    more = ("--ip-families", "ipv6")
    families = (6,)

    def test_there_is_no_ipv4(self):
        pod = self.box.get("pod", "s1", "mesh")
        self.assertEqual([is_v6(one["ip"]) for one in pod["status"]["podIPs"]], [True])
        done = self.box.exec("c1", "curl", "-sS", "-m", "10", "http://10.96.0.10:53/")
        self.assertEqual(done.returncode, 7, "unreachable at once")


del Families  # has no sandbox of its own
if __name__ == "__main__":
    main()
