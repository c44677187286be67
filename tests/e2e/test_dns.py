"""DNS of pods in the mesh: what the mesh knows, and what a resolver knows; with dig, the C library and sockets."""

import json
import os
import re
import signal
import subprocess
import threading
import time

import harness
from harness import (HERE, PYTHON, Suite, account, client, eventually, in_netns, mesh_namespace, meta, namespace, pod,
                     runs, server, service)

DNS_PEER = str(HERE / "dns_peer.py")
CLUSTER_DNS = "10.96.0.10"
TTL = 30


def dns_server(name, ns, node):
    return pod(name, ns, [PYTHON, "-u", DNS_PEER, "serve"], node, probe=53)


def stateful(name, ns, node, app, subdomain):
    made = server(name, ns, node, labels={"app": app}, sa="db")
    made["spec"]["hostname"] = name
    made["spec"]["subdomain"] = subdomain
    return made


def parse_dig(text):
    """Header flags, status, and the answer section's records as (name, ttl, type, data)."""
    status = re.search(r"status: (\w+)", text)
    flags = re.search(r"flags: ([a-z ]*);", text)
    section = re.search(r";; ANSWER SECTION:\n(.*?)\n\n", text, re.S)
    records = []
    for line in section.group(1).splitlines() if section else []:
        name, ttl, _, kind, data = line.split(None, 4)
        records.append((name, int(ttl), kind, data))
    return {"status": status.group(1) if status else None, "flags": set(flags.group(1).split()) if flags else set(),
            "answer": records, "text": text}


def with_annotation(made, key, value):
    made["metadata"]["annotations"] = {key: value}
    return made


class Dns(Suite):
    tag = "dns"
    objects = [mesh_namespace("mesh"), namespace("plain"),
               *[account(name, "mesh") for name in ("c1", "s1", "db", "own")],
               client("c1", "mesh", "node-1"), server("s1", "mesh", "node-2"),
               with_annotation(client("raw", "mesh", "node-1", sa="c1"), "ambient.istio.io/dns-capture", "false"),
               stateful("db-0", "mesh", "node-1", "db", "db"), stateful("db-1", "mesh", "node-2", "db", "db"),
               dns_server("r1", "plain", "node-1"), dns_server("r2", "plain", "node-2"),
               dns_server("own", "mesh", "node-1"), client("stranger", "plain", "node-1"),
               service("s1", "mesh", {"app": "s1"}, [(80, 8080)]),
               service("db", "mesh", {"app": "db"}, [(80, 8080)], clusterIP="None")]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.r1 = cls.box.ip("r1", "plain")
        cls.r2 = cls.box.ip("r2", "plain")
        cls.vip = cls.box.get("service", "s1", "mesh")["spec"]["clusterIP"]
        # The proxy answers: a name of the mesh, asked of a resolver that does not have it.
        eventually(lambda: cls.dig_once("s1.mesh.svc.cluster.local", server=cls.r1)["answer"][0][3] == cls.vip)

    @classmethod
    def dig_once(cls, name, kind="A", *options, server=CLUSTER_DNS, pod_name="c1", ns="mesh"):
        done = cls.box.exec(pod_name, "dig", f"@{server}", "+tries=1", "+time=8", *options, name, kind, ns=ns)
        return parse_dig(done.stdout)

    def dig(self, name, kind="A", *options, **more):
        return self.dig_once(name, kind, *options, **more)

    def data(self, answer):
        return sorted(record[3] for record in answer["answer"])

    def resolver_log(self, name):
        lines = self.box.weft("logs", name, "-n", "plain").stdout.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def peer(self, *args, pod_name="c1", ns="mesh"):
        done = self.box.exec(pod_name, PYTHON, DNS_PEER, *args, ns=ns)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    # What the mesh knows.

    def test_a_service_over_udp_and_tcp(self):
        for options in ((), ("+tcp",), ("+noedns",), ("+bufsize=4096",), ("+dnssec",), ("+nocookie",)):
            with self.subTest(options=options):
                answer = self.dig("s1.mesh.svc.cluster.local", "A", *options, server=self.r1)
                self.assertEqual(answer["status"], "NOERROR")
                self.assertLessEqual({"qr", "aa", "rd", "ra"}, answer["flags"])
                self.assertEqual(answer["answer"], [("s1.mesh.svc.cluster.local.", TTL, "A", self.vip)])
                self.assertEqual("OPT PSEUDOSECTION" in answer["text"], options != ("+noedns",))
                self.assertNotIn("malformed", answer["text"])

    def test_the_other_family_has_no_data(self):
        for options in ((), ("+tcp",)):
            answer = self.dig("s1.mesh.svc.cluster.local", "AAAA", *options, server=self.r1)
            self.assertEqual((answer["status"], answer["answer"]), ("NOERROR", []))
            self.assertRegex(answer["text"], rf"cluster\.local\.\s+{TTL}\s+IN\s+SOA\s")

    def test_search_domains_and_case(self):
        self.assertEqual(self.data(self.dig("S1.mesh.SVC.cluster.local", server=self.r1)), [self.vip])
        found = self.dig("s1.mesh.mesh.svc.cluster.local", server=self.r1)
        self.assertEqual([record[2:] for record in found["answer"]],
                         [("CNAME", "s1.mesh.svc.cluster.local."), ("A", self.vip)])

    def test_headless_and_its_pods(self):
        ips = {name: self.box.ip(name, "mesh") for name in ("db-0", "db-1")}
        found = self.dig("db.mesh.svc.cluster.local", server=self.r1)
        self.assertEqual(self.data(found), sorted(ips.values()))
        for name, ip in ips.items():
            self.assertEqual(self.data(self.dig(f"{name}.db.mesh.svc.cluster.local", server=self.r1)), [ip])
        dashed = ips["db-0"].replace(".", "-")
        self.assertEqual(self.data(self.dig(f"{dashed}.db.mesh.svc.cluster.local", server=self.r1)), [ips["db-0"]])

    def test_srv(self):
        found = self.dig("_tcp-80._tcp.s1.mesh.svc.cluster.local", "SRV", server=self.r1)
        self.assertEqual(self.data(found), ["0 100 80 s1.mesh.svc.cluster.local."])
        self.assertIn(f"IN\tA\t{self.vip}", found["text"])
        found = self.dig("_tcp-80._tcp.db.mesh.svc.cluster.local", "SRV", server=self.r1)
        self.assertEqual(self.data(found), [f"0 100 8080 db-{i}.db.mesh.svc.cluster.local." for i in (0, 1)])

    def test_the_c_library(self):
        done = self.box.exec("c1", "getent", "ahostsv4", "s1")
        self.assertIn(self.vip, done.stdout)
        done = self.box.exec("c1", PYTHON, "-c", "import socket; print(socket.getaddrinfo('s1.mesh', 80)[0][4][0])")
        self.assertEqual(done.stdout.strip(), self.vip, done.stderr)
        done = self.box.exec("c1", "getent", "hosts", "nothing.mesh")
        self.assertEqual(done.returncode, 2)
        self.assertTrue(self.box.curl("c1", "http://s1/"))

    def test_external_name(self):
        out = service("out", "mesh", {}, [], type="ExternalName", externalName="web.example.test")
        inside = service("inside", "mesh", {}, [], type="ExternalName", externalName="s1.mesh.svc.cluster.local")
        for made in (out, inside):
            del made["spec"]["selector"], made["spec"]["ports"]
        self.box.apply(out, inside)
        for options in ((), ("+tcp",)):
            found = eventually(lambda: self.dig("out.mesh.svc.cluster.local", "A", *options, server=self.r1)["answer"])
            self.assertEqual([record[2] for record in found], ["CNAME", "A"])
            self.assertEqual(found[0][3], "web.example.test.")
        self.assertEqual(self.data(self.dig("inside.mesh.svc.cluster.local", server=self.r1)),
                         [self.vip, "s1.mesh.svc.cluster.local."])

    def test_service_entries_and_wildcards(self):
        entries = [{"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": meta(name, "mesh"),
                    "spec": {"hosts": [host], "addresses": addresses, "location": "MESH_EXTERNAL",
                             "resolution": "STATIC", "endpoints": [{"address": "192.0.2.9"}],
                             "ports": [{"number": 80, "name": "http", "protocol": "TCP"}]}}
                   for name, host, addresses in (("api", "api.example.test", ["240.1.0.1"]),
                                                 ("any", "*.wild.test", ["240.1.0.2"]),
                                                 ("many", "many.example.test",
                                                  [f"240.2.0.{i}" for i in range(1, 121)]))]
        self.box.apply(*entries)
        eventually(lambda: self.data(self.dig("api.example.test", server=self.r1)) == ["240.1.0.1"])
        found = self.dig("api.example.test.mesh.svc.cluster.local", server=self.r1)
        self.assertEqual(self.data(found), ["240.1.0.1", "api.example.test."])
        eventually(lambda: self.data(self.dig("a.b.wild.test", server=self.r1)) == ["240.1.0.2"])
        self.assertEqual(self.box.exec("c1", "getent", "ahostsv4", "api.example.test").stdout.split()[0], "240.1.0.1")
        # Too long for a datagram: cut, and whole over TCP.
        eventually(lambda: self.data(self.dig("many.example.test", "A", "+tcp", server=self.r1)))
        for options, most in ((("+noedns", "+ignore"), 29), (("+bufsize=4096", "+ignore"), 75)):
            cut = self.dig("many.example.test", "A", *options, server=self.r1)
            self.assertIn("tc", cut["flags"])
            self.assertLessEqual(len(cut["answer"]), most)
        self.assertEqual(len(self.dig("many.example.test", server=self.r1)["answer"]), 120)

    # What others know.

    def test_the_rest_is_asked_of_whom_the_pod_asked(self):
        found = self.dig("www.example.test", "A", "+edns", "+nsid", "+bufsize=1400", server=self.r1)
        self.assertEqual(found["answer"], [("www.example.test.", 77, "A", "192.0.2.53")])
        asked = [query for query in self.resolver_log("r1") if query["name"] == "www.example.test."][-1]
        self.assertEqual((asked["transport"], asked["payload"]), ("udp", 1400))
        self.assertIn(3, asked["options"])
        found = self.dig("www.example.test", "A", "+tcp", server=self.r2)
        self.assertEqual(self.data(found), ["192.0.2.153"])
        self.assertEqual(self.dig("nowhere.example.test", server=self.r1)["status"], "NXDOMAIN")
        self.assertEqual(self.data(self.dig("x.example.test", "TXT", server=self.r1)), ['"forwarded"'])
        # A type that the mesh does not know of a name that it does.
        self.assertEqual(self.data(self.dig("s1.mesh.svc.cluster.local", "TXT", server=self.r1)), ['"forwarded"'])

    def test_the_sandboxs_own_resolver(self):
        self.assertEqual(self.dig("unknown.mesh.svc.cluster.local")["status"], "NXDOMAIN")
        self.assertEqual(self.dig("unknown.mesh.svc.cluster.local", "A", "+tcp")["status"], "NXDOMAIN")

    def test_a_long_answer_of_a_resolver(self):
        self.assertIn("tc", self.dig("long.example.test", "A", "+ignore", server=self.r1)["flags"])
        self.assertEqual(len(self.dig("long.example.test", server=self.r1)["answer"]), 200)
        whole = self.dig("long.example.test", "A", "+bufsize=8000", "+ignore", server=self.r1)
        self.assertEqual((len(whole["answer"]), "tc" in whole["flags"]), (200, False))

    def test_several_queries_over_one_connection(self):
        known = ("s1.mesh.svc.cluster.local", "A")
        done = self.box.exec("c1", "dig", f"@{self.r1}", "+tcp", "+keepopen", "+short", *known, "www.example.test", "A",
                             *known)
        self.assertEqual(done.stdout.split(), [self.vip, "192.0.2.153", self.vip])

    def test_a_dead_resolver_is_told_in_time(self):
        for name, at_least, at_most in (("silent.example.test", 4, 5), ):
            begin = time.monotonic()
            answer = self.dig(name, server=self.r1)
            took = time.monotonic() - begin
            self.assertEqual(answer["status"], "SERVFAIL", answer["text"])
            self.assertTrue(at_least < took < at_most + 1, took)
        begin = time.monotonic()
        answer = self.dig("www.example.test", server=self.box.ip("s1", "mesh"))  # nobody listens
        self.assertEqual(answer["status"], "SERVFAIL", answer["text"])
        self.assertLess(time.monotonic() - begin, 2)

    def counts(self):
        done = in_netns(f"weft-{self.box.name}-node-1-ztunnel", "curl", "-s", "http://127.0.0.1:15020/metrics")
        return {name: float(value) for name, value in re.findall(r"^(istio_dns_\w+) (\S+)$", done.stdout, re.M)}

    def test_metrics(self):
        before = self.counts()
        self.dig("s1.mesh.svc.cluster.local", server=self.r1)
        self.dig("www.example.test", server=self.r1)
        self.dig("www.example.test", server=self.box.ip("s1", "mesh"))
        after = self.counts()
        grown = {name.removeprefix("istio_dns_"): after[name] - before[name] for name in after}
        self.assertEqual((grown["requests_total"], grown["upstream_requests_total"], grown["upstream_failures_total"],
                          grown["upstream_request_duration_seconds_count"]), (3, 2, 1, 2))

    # How clients ask.

    def test_one_socket_to_several_resolvers(self):
        for name, expected in (("s1.mesh.svc.cluster.local", self.vip), ("www.example.test", "192.0.2.53")):
            seen = self.peer("unconnected", name, self.r1, self.r2)
            self.assertEqual({one["from"] for one in seen}, {self.r1, self.r2})
            for one in seen:
                self.assertEqual((one["from"], one["port"], one["addresses"]), (one["meant"], 53, [expected]))

    def test_a_connected_socket(self):
        self.assertEqual(self.peer("connected", "s1.mesh.svc.cluster.local", self.r1), [self.vip])
        self.assertEqual(self.peer("connected", "www.example.test", self.r1), ["192.0.2.53"])

    def test_the_next_resolver_of_resolv_conf(self):
        uid = self.box.get("pod", "c1", "mesh")["metadata"]["uid"]
        file = next(self.box.run.glob(f"**/{uid}/resolv.conf"))
        before = file.read_text()
        self.addCleanup(file.write_text, before)
        dead = self.box.ip("s1", "mesh")
        file.write_text(before.replace(f"nameserver {CLUSTER_DNS}", f"nameserver {dead}\nnameserver {self.r2}"))
        for name, expected in (("s1", self.vip), ("www.example.test", "192.0.2.53")):
            done = self.box.exec("c1", "getent", "ahostsv4", name)
            self.assertIn(expected, done.stdout)

    def test_a_pod_may_be_a_dns_server_itself(self):
        own = self.box.ip("own", "mesh")
        self.assertEqual(self.data(self.dig("www.example.test", server=own, pod_name="stranger", ns="plain")),
                         ["192.0.2.53"])
        found = self.dig("www.example.test", server="127.0.0.1", pod_name="own")
        self.assertEqual(self.data(found), ["192.0.2.53"])

    def test_a_pod_outside_the_mesh_asks_by_itself(self):
        answer = self.dig("s1.mesh.svc.cluster.local", server=self.r1, pod_name="stranger", ns="plain")
        self.assertEqual(self.data(answer), ["192.0.2.53"])

    def test_a_pod_that_is_not_to_be_answered(self):
        for options, expected in (((), "192.0.2.53"), (("+tcp",), "192.0.2.153")):
            answer = self.dig("s1.mesh.svc.cluster.local", "A", *options, server=self.r1, pod_name="raw")
            self.assertEqual(self.data(answer), [expected])

    def test_more_queries_than_may_wait(self):
        told = self.peer("flood", "silent.example.test", self.r1, 1500)
        self.assertGreaterEqual(told["servfail"], 1500 - 1024, told)
        self.assertLess(told["seconds"], 3, told)
        # What needs no resolver is answered meanwhile; the others when those have given up.
        self.assertEqual(self.data(self.dig("s1.mesh.svc.cluster.local", server=self.r1)), [self.vip])
        eventually(lambda: self.data(self.dig("www.example.test", server=self.r1)) == ["192.0.2.53"])

    def test_a_zone_transfer_is_carried_as_it_is(self):
        done = self.box.exec("c1", "dig", f"@{self.r1}", "+tries=1", "+time=5", "example.test", "AXFR")
        self.assertIn("Transfer failed", done.stdout)
        asked = [query for query in self.resolver_log("r1") if query["type"] == "AXFR"]
        self.assertEqual(asked[-1]["transport"], "tcp")

    # Restarts.

    def kill_ztunnel(self):
        restarts, pid, _ = self.box.state("node-1-ztunnel")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not runs(pid))
        return restarts

    def ztunnel_is_back(self, restarts):
        eventually(lambda: (now := self.box.state("node-1-ztunnel"))[0] > restarts and now[2] == "running")

    def start_dns_peer(self, *args):
        peer = subprocess.Popen(
            [harness.WEFT, "sandbox", "exec", "--name", self.box.name, "-i", "c1", "-n", "mesh", "--", PYTHON, "-u",
             DNS_PEER, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(peer.stdout.close)
        self.addCleanup(peer.wait)
        self.addCleanup(peer.kill)
        return peer

    @staticmethod
    def end_of(peer):
        peer.stdin.write("stop\n")
        peer.stdin.close()
        return json.loads(peer.stdout.readline())

    def test_a_query_waits_for_the_next_ztunnel(self):
        for name, expected in (("s1.mesh.svc.cluster.local", self.vip), ("www.example.test", "192.0.2.53")):
            with self.subTest(name=name):
                peer = self.start_dns_peer("again", name, self.r1, 10)
                self.assertEqual(peer.stdout.readline(), "sending\n")
                restarts = self.kill_ztunnel()
                peer.stdin.write("go\n")
                peer.stdin.close()
                self.assertEqual(peer.stdout.readline(), "sent\n")
                self.assertEqual(json.loads(peer.stdout.readline()), [expected])
                self.ztunnel_is_back(restarts)

    def test_killed_while_queries_come(self):
        peers = [self.start_dns_peer("steady", name, self.r1)
                 for name in ("s1.mesh.svc.cluster.local", "www.example.test")]
        for peer in peers:
            self.assertEqual(peer.stdout.readline(), "asking\n")
        for _ in range(2):
            self.ztunnel_is_back(self.kill_ztunnel())
        for told in map(self.end_of, peers):
            self.assertEqual(told["lost"], 0, told)
            self.assertLess(told["slowest"], 5, told)

    def test_an_upgrade_loses_no_query(self):
        peers = [self.start_dns_peer("steady", name, self.r1)
                 for name in ("s1.mesh.svc.cluster.local", "www.example.test")]
        for peer in peers:
            self.assertEqual(peer.stdout.readline(), "asking\n")
        self.box.weft("rollout", "restart", "ztunnel", timeout=90)
        for told in map(self.end_of, peers):
            self.assertEqual((told["lost"], told["sent_again"]), (0, 0), told)

    def test_without_a_ztunnel_resolvers_are_asked_directly(self):
        stop = threading.Event()

        def hold_down():
            while not stop.wait(0.02):
                _, pid, _ = self.box.state("node-1-ztunnel")
                if pid and runs(pid):
                    os.kill(pid, signal.SIGKILL)

        holder = threading.Thread(target=hold_down)
        holder.start()
        try:
            eventually(lambda: self.data(self.dig("s1.mesh.svc.cluster.local", server=self.r1)) == ["192.0.2.53"])
        finally:
            stop.set()
            holder.join()
        eventually(lambda: self.data(self.dig("s1.mesh.svc.cluster.local", server=self.r1)) == [self.vip], within=40)


class DnsOfBothFamilies(Suite):
    tag = "dns6"
    more = ("--ip-families", "dual")
    objects = [mesh_namespace("mesh"), namespace("plain"), account("c1", "mesh"), account("s1", "mesh"),
               client("c1", "mesh", "node-1"), server("s1", "mesh", "node-2"), dns_server("r1", "plain", "node-2"),
               service("s1", "mesh", {"app": "s1"}, [(80, 8080)], ipFamilyPolicy="RequireDualStack"),
               service("four", "mesh", {"app": "s1"}, [(80, 8080)], ipFamilies=["IPv4"]),
               service("bare", "mesh", {"app": "s1"}, [(80, 8080)], ipFamilyPolicy="RequireDualStack",
                       clusterIP="None")]

    def dig(self, name, kind, server, *options):
        done = self.box.exec("c1", "dig", f"@{server}", "+tries=1", "+time=8", *options, name, kind)
        return sorted(record[3] for record in parse_dig(done.stdout)["answer"])

    def test_by_either_family_for_either_family(self):
        ips = {kind: [one["ip"] for one in self.box.get("pod", "s1", "mesh")["status"]["podIPs"]
                      if (":" in one["ip"]) == (kind == "AAAA")] for kind in ("A", "AAAA")}
        vips = {kind: [ip for ip in self.box.get("service", "s1", "mesh")["spec"]["clusterIPs"]
                       if (":" in ip) == (kind == "AAAA")] for kind in ("A", "AAAA")}
        resolvers = [one["ip"] for one in self.box.get("pod", "r1", "plain")["status"]["podIPs"]]
        self.assertEqual(sorted(":" in ip for ip in resolvers), [False, True])
        eventually(lambda: self.dig("s1.mesh.svc.cluster.local", "A", resolvers[0]) == vips["A"])
        for resolver in resolvers:
            for options in ((), ("+tcp",)):
                for kind in ("A", "AAAA"):
                    with self.subTest(resolver=resolver, options=options, kind=kind):
                        self.assertEqual(self.dig("s1.mesh.svc.cluster.local", kind, resolver, *options), vips[kind])
                        self.assertEqual(self.dig("bare.mesh.svc.cluster.local", kind, resolver, *options), ips[kind])
                self.assertEqual(self.dig("four.mesh.svc.cluster.local", "AAAA", resolver, *options), [])
                forwarded = "192.0.2.153" if options else "192.0.2.53"
                self.assertEqual(self.dig("www.example.test", "A", resolver, *options), [forwarded])

    def test_v4_mapped_sockets_and_one_socket_to_both(self):
        vip = self.box.get("service", "s1", "mesh")["spec"]["clusterIPs"]
        v4 = next(ip for ip in vip if ":" not in ip)
        resolvers = [one["ip"] for one in self.box.get("pod", "r1", "plain")["status"]["podIPs"]]
        mapped = ["::ffff:" + ip if ":" not in ip else ip for ip in resolvers]
        for name, expected in (("s1.mesh.svc.cluster.local", v4), ("www.example.test", "192.0.2.53")):
            done = self.box.exec("c1", PYTHON, DNS_PEER, "unconnected", name, *mapped)
            self.assertEqual(done.returncode, 0, done.stderr)
            seen = json.loads(done.stdout)
            self.assertEqual({one["from"] for one in seen}, set(mapped))
            for one in seen:
                self.assertEqual((one["from"], one["port"], one["addresses"]), (one["meant"], 53, [expected]))


if __name__ == "__main__":
    harness.main()
