"""weft-ztunnel beside Istio's istio-cni: no sockets come with a pod, netfilter redirects, and the ztunnel opens its
ports itself. node-2's own agent stands still meanwhile; what istio-cni does is in istio_cni.py."""

import os
import pathlib
import signal
import subprocess
import types

import harness
import istio_cni
from harness import Suite, account, client, eventually, mesh_namespace, namespace, peer_authentication, server, service

WHO, ECHO, WEB = 7006, 7001, 8080
PORTS = {15001, 15006, 15008, 15053}
NODE_2 = ("s2", "c2", "s3")
KNOWN = {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
         "metadata": {"name": "known", "namespace": "mesh"},
         "spec": {"hosts": ["only.mesh.test"], "addresses": ["10.96.200.1"], "resolution": "STATIC",
                  "location": "MESH_INTERNAL", "workloadSelector": {"labels": {"app": "s1"}},
                  "ports": [{"number": 80, "name": "tcp", "protocol": "TCP", "targetPort": WEB}]}}


class PlainZds(Suite):
    tag = "zds"
    objects = [mesh_namespace("mesh"), namespace("cni"), namespace("plain"), KNOWN,
               *(account(name, "mesh") for name in ("s1", "c1")), *(account(name, "cni") for name in NODE_2),
               server("s1", "mesh", "node-1"), client("c1", "mesh", "node-1"),
               server("s2", "cni", "node-2"), client("c2", "cni", "node-2"), server("s3", "cni", "node-2"),
               client("out", "plain", "node-1"), service("near", "mesh", {"app": "s1"}, [(80, WEB)]),
               service("far", "cni", {"app": "s2"}, [(80, WEB)])]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.kill(cls.box.state("node-2-agent")[1], signal.SIGSTOP)
        cls.box.apply(mesh_namespace("cni"))  # not before: that agent would have captured its pods
        cls.pods = {name: cls.pod_of(name) for name in NODE_2}
        for pod in cls.pods.values():
            istio_cni.redirect(pod.netns)
        cls.agent = istio_cni.Agent(cls.box.run / "istio-cni.sock")
        cls.start_ztunnel()
        cls.agent.accept()
        for pod in cls.pods.values():
            cls.agent.add(pod)
        cls.agent.snapshot_sent()
        for name in NODE_2:
            cls.announce(name)
        for source, target, ns in (("c1", "s2", "mesh"), ("c2", "s1", "cni")):
            eventually(lambda: cls.ask(source, target, ns) and cls.entries(
                direction="inbound", dst__workload=target, src__identity=f"spiffe://cluster.local/ns/{ns}/sa/{source}"),
                       what=f"a tunnel from {source} to {target}")

    @classmethod
    def pod_of(cls, name):
        uid = cls.box.get("pod", name, "cni")["metadata"]["uid"]
        names = [f"weft-{cls.box.name}-pod-cni-{name}", f"weft-{cls.box.name}-pod-{uid}"]
        netns = next(one for one in names if os.path.exists(f"/run/netns/{one}"))
        return types.SimpleNamespace(uid=uid, name=name, namespace="cni", account=name, netns=netns)

    @classmethod
    def announce(cls, name):
        """As istio-cni does it once the ztunnel has acknowledged a pod."""
        pod = cls.box.get("pod", name, "cni")
        pod["metadata"].setdefault("annotations", {})["ambient.istio.io/redirection"] = "enabled"
        cls.box.apply(pod)

    @classmethod
    def start_ztunnel(cls):
        """Another one on node-2, with the flags of the first but for where it hears of pods."""
        flags = pathlib.Path(f"/proc/{cls.box.state('node-2-ztunnel')[1]}/cmdline").read_text().split("\0")[:-1]
        flags[flags.index("--zds-socket") + 1] = str(cls.agent.path)
        flags[flags.index("--snapshot") + 1] = str(cls.box.run / "plain-zds-snapshot")
        cls.log_file = cls.box.run / "logs/plain-zds-ztunnel.log"
        cls.ztunnel = cls.box.on_node("node-2", "other-ztunnel", "sh", "-c", 'log=$1; shift; exec "$@" >"$log" 2>&1',
                                      "sh", cls.log_file, *flags)

    @classmethod
    def tearDownClass(cls):
        cls.ztunnel.terminate()
        cls.ztunnel.communicate(timeout=20)
        cls.agent.close()
        os.kill(cls.box.state("node-2-agent")[1], signal.SIGCONT)
        super().tearDownClass()

    @classmethod
    def address(cls, name):
        return cls.box.ip(name, "cni" if name in NODE_2 else "plain" if name == "out" else "mesh")

    @classmethod
    def ask(cls, source, target, ns, port=WHO):
        """What the server and the client saw of each other."""
        return cls.box.peer(source, "ask_who", cls.address(target), port, ns=ns)

    @classmethod
    def entries(cls, **wanted):
        """Access log entries of both ztunnels concerned."""
        lines = cls.log_file.read_text(errors="replace") + cls.box.log("node/node-1/ztunnel")
        entries = [entry for entry in map(harness.parse_access, lines.splitlines()) if entry]
        wanted = {key.replace("__", "."): value for key, value in wanted.items()}
        return [entry for entry in entries if all(entry.get(key) == value for key, value in wanted.items())]

    def test_connections_are_tunnelled_both_ways_with_both_identities(self):
        for source, target, ns, to_ns in (("c1", "s2", "mesh", "cni"), ("c2", "s1", "cni", "mesh")):
            with self.subTest(source=source):
                seen = self.ask(source, target, ns)
                self.assertEqual(seen["server"]["peer"][0], self.address(source), "the client's own address")
                self.assertEqual(seen["server"]["own"], [self.address(target), WHO])
                self.assertEqual(seen["peer"], [self.address(target), WHO], "what the client asked for")
                found = self.entries(direction="inbound", dst__workload=target, src__workload=source)
                self.assertTrue(found)
                self.assertEqual(found[-1]["src.identity"], f"spiffe://cluster.local/ns/{ns}/sa/{source}")
                self.assertEqual(found[-1]["dst.identity"], f"spiffe://cluster.local/ns/{to_ns}/sa/{target}")
                self.assertEqual(found[-1]["dst.hbone_addr"], f"{self.address(target)}:{WHO}")

    def test_service_addresses_work_both_ways(self):
        self.assertEqual(self.box.curl("c1", "http://far.cni/", ns="mesh"), "hello from s2\n")
        self.assertEqual(self.box.curl("c2", "http://near.mesh/", ns="cni"), "hello from s1\n")

    def test_much_data_goes_through_whole(self):
        for source, target, ns in (("c1", "s2", "mesh"), ("c2", "s1", "cni")):
            seen = self.box.peer(source, "half_close", self.address(target), 7003, 8 << 20, ns=ns)
            self.assertTrue(seen)

    def test_pods_of_one_node_reach_each_other(self):
        seen = self.ask("c2", "s3", "cni")
        self.assertEqual(seen["server"]["peer"][0], self.address("c2"))
        self.assertTrue(self.entries(direction="inbound", dst__workload="s3", src__workload="c2"))

    def test_plain_text_comes_in_with_its_source_and_obeys_policy(self):
        seen = self.ask("out", "s2", "plain")
        self.assertEqual(seen["server"]["peer"][0], self.address("out"))
        self.assertEqual(seen["server"]["own"], [self.address("s2"), WHO])
        self.box.apply(peer_authentication("strict", "cni", "STRICT"))
        try:
            eventually(lambda: self.is_refused("out", f"http://{self.address('s2')}:{WEB}/"), what="STRICT")
            self.assertEqual(self.box.curl("c1", f"http://{self.address('s2')}:{WEB}/", ns="mesh"), "hello from s2\n")
        finally:
            self.box.delete("peerauthentication", "strict", "cni")
        eventually(lambda: not self.is_refused("out", f"http://{self.address('s2')}:{WEB}/"), what="PERMISSIVE again")

    def is_refused(self, name, url):
        return self.box.exec(name, "curl", "-sS", "-m", "5", url, ns="plain").returncode != 0

    def test_names_that_only_the_mesh_knows_are_answered(self):
        for transport in ("+notcp", "+tcp"):
            said = self.box.exec("c2", "dig", "+short", "+time=3", "+tries=1", transport, "only.mesh.test", ns="cni")
            self.assertEqual(said.stdout.strip(), "10.96.200.1", said)
        # What it does not know goes to the resolver, past the redirection.
        said = self.box.exec("c2", "dig", "+time=3", "+tries=1", "nowhere.example.test", ns="cni")
        self.assertRegex(said.stdout, "status: (NXDOMAIN|REFUSED|SERVFAIL|NOERROR)")

    def test_the_ports_of_the_ztunnel_lead_nowhere(self):
        own = self.address("s3")
        for port in PORTS:
            for source, ns in (("out", "plain"), ("c1", "mesh")):
                self.assertNotEqual(
                    self.box.exec(source, "curl", "-sS", "-m", "5", f"http://{own}:{port}/", ns=ns).returncode, 0)
            for address in ("127.0.0.1", own):
                done = self.box.exec("s3", "curl", "-sS", "-m", "5", f"http://{address}:{port}/", ns="cni")
                self.assertNotIn(done.returncode, (0, 28), f"{address}:{port}: {done}")  # 28: timed out
        self.assertEqual(self.ask("c1", "s3", "mesh")["server"]["peer"][0], self.address("c1"), "works on")

    def test_a_pod_that_goes_is_let_go_of_at_once_and_one_that_comes_back_is_served(self):
        pod = self.pods["s3"]
        talk = self.box.start_peer("c1", "watch_end", self.address("s3"), ECHO, ns="mesh")
        self.assertEqual(talk.stdout.readline(), "open\n")
        self.assertEqual(self.listening("s3") & PORTS, PORTS)
        self.agent.delete(pod.uid)
        out, _ = talk.communicate(timeout=10)  # not drained: its network is about to go
        self.assertIn(out, ("end\n", "reset\n"))
        self.assertEqual(self.listening("s3") & PORTS, set())
        self.agent.add(pod)
        self.assertTrue(self.is_served("s3"))

    def listening(self, name):
        """The ports of the pod at which somebody listens, TCP and UDP."""
        said = subprocess.run(["nsenter", f"--net=/run/netns/{self.pods[name].netns}", "ss", "-Hltun"], check=True,
                              capture_output=True, text=True).stdout
        return {int(line.split()[4].rsplit(":", 1)[1]) for line in said.splitlines()}

    def is_served(self, name):
        try:
            return self.ask("c1", name, "mesh")
        except AssertionError:
            return False

    def test_pods_that_an_agent_does_not_name_again_are_let_go_of(self):
        talk = self.box.start_peer("c1", "converse", self.address("s2"), ECHO, ns="mesh")
        self.assertEqual(talk.stdout.readline(), "open\n")
        self.agent.hang_up()
        self.agent.accept()
        self.agent.keep(self.pods["s2"].uid)
        self.agent.add(self.pods["c2"])
        with self.assertRaisesRegex(istio_cni.Refused, "nobody"):
            self.agent.keep("nobody")
        self.agent.snapshot_sent()
        eventually(lambda: self.listening("s3") & PORTS == set(), what="the ports' end")
        talk.stdin.write("still here\n")
        talk.stdin.flush()
        self.assertIn("still here", talk.stdout.readline())
        talk.stdin.close()
        talk.wait(10)
        self.agent.add(self.pods["s3"])
        self.assertTrue(self.is_served("s3"))

    def test_a_pod_whose_ports_are_taken_is_refused_and_tried_again(self):
        pod = self.pods["s3"]
        self.agent.delete(pod.uid)
        holder = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{pod.netns}", "python3", "-c",
             "import socket; s = socket.create_server(('', 15006)); print('holds', flush=True); input()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertEqual(holder.stdout.readline(), "holds\n")
        with self.assertRaisesRegex(istio_cni.Refused, "port 15006 in the pod"):
            self.agent.add(pod)
        holder.communicate("\n")
        eventually(lambda: self.is_served("s3"), what="the pod, without another word of the agent", within=20)


if __name__ == "__main__":
    harness.main()
