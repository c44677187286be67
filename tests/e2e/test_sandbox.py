"""The sandbox by itself: no part of the mesh runs."""

import json
import pathlib
import signal
import subprocess
import unittest

import harness
from harness import (PYTHON, WEFT, Sandbox, Suite, cgroup2, client, eventually, meta, namespace, pod, runs, server,
                     service)

NS = "plain"


def deployment(name, replicas, word, **spec):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(name, NS),
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                     "template": {"metadata": {"labels": {"app": name}},
                                  "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                                      {"name": "main", "image": "none", "command": ["sleep", word]}], **spec}}}}


def leftovers(name):
    """Everything on the machine that carries a sandbox's name."""
    namespaces = [one.name for one in pathlib.Path("/run/netns").glob(f"weft-{name}-*")]
    mounts = [line for line in pathlib.Path("/proc/mounts").read_text().splitlines() if f"/{name}" in line]
    groups = [str(one) for one in cgroup2().glob(f"weft-{name}*")]
    files = [str(one) for one in pathlib.Path("/run/weft/sandbox").glob(f"{name}*")]
    processes = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            group = (entry / "cgroup").read_text()
        except OSError:
            continue
        if words == [""]:
            continue  # dead, and not yet noticed by the machine's init
        if f"weft-{name}/" in group or (name in words and "sandbox" in words):
            processes.append(" ".join(words))
    return namespaces + mounts + groups + files + processes


class SandboxAlone(Suite):
    tag = "box"
    mesh = False
    objects = [
        namespace(NS), server("web1", NS, "node-1", labels={"app": "web"}),
        server("web2", NS, "node-2", labels={"app": "web"}), client("c1", NS, "node-1"), client("c2", NS, "node-2"),
        service("web", NS, {"app": "web"}, [(80, 8080), (7006, 7006)]),
        service("empty", NS, {"app": "nobody"}, [(80, 8080)]),
        service("headless", NS, {"app": "web"}, [(80, 8080)], clusterIP="None"),
    ]

    def exec(self, name, *command, **more):
        return self.box.exec(name, *command, ns=NS, **more)

    def curl(self, name, url, *args):
        return self.box.curl(name, url, *args, ns=NS)

    def test_every_pod_reaches_every_pod_and_keeps_its_address(self):
        for source in ("c1", "c2"):
            for target in ("web1", "web2"):
                seen = self.box.peer(source, "ask_who", self.box.ip(target, NS), 7006, ns=NS)
                self.assertEqual(seen["server"]["peer"][0], self.box.ip(source, NS))

    def test_a_service_balances_over_both_nodes(self):
        for source in ("c1", "c2"):
            answers = {self.curl(source, "http://web/") for _ in range(40)}
            self.assertEqual(answers, {"hello from web1\n", "hello from web2\n"})

    def test_a_pod_reaches_itself_through_its_service(self):
        answers = {self.curl("web1", "http://web/") for _ in range(40)}
        self.assertEqual(answers, {"hello from web1\n", "hello from web2\n"})

    def test_names(self):
        vip = self.box.get("service", "web", NS)["spec"]["clusterIP"]
        for name in ("web", f"web.{NS}", f"web.{NS}.svc", f"web.{NS}.svc.cluster.local"):
            self.assertEqual(self.exec("c1", "getent", "ahostsv4", name).stdout.split()[0], vip)
        both = {line.split()[0] for line in
                self.exec("c2", "getent", "ahostsv4", "headless").stdout.splitlines()}
        self.assertEqual(both, {self.box.ip("web1", NS), self.box.ip("web2", NS)})
        self.assertEqual(self.exec("c1", "getent", "hosts", "nobody.example").returncode, 2)

    def test_names_over_tcp(self):
        query = ("import socket,struct;q=b'\\x12\\x34\\x01\\0\\0\\1\\0\\0\\0\\0\\0\\0'+b'\\3web\\5plain\\3svc\\7cluster"
                 "\\5local\\0\\0\\1\\0\\1';s=socket.create_connection(('10.96.0.10',53),5);"
                 "s.sendall(struct.pack('>H',len(q))+q);a=s.recv(4096);print(socket.inet_ntoa(a[-4:]))")
        vip = self.box.get("service", "web", NS)["spec"]["clusterIP"]
        self.assertEqual(self.exec("c1", PYTHON, "-c", query).stdout.strip(), vip)

    def test_a_service_without_endpoints_refuses_at_once(self):
        self.assertIn("Couldn't connect", self.box.refused("c1", "http://empty/", ns=NS, seconds=5))

    def test_exec_passes_input_exit_code_and_environment(self):
        done = self.exec("c1", "sh", "-c", "cat; echo $HOSTNAME; hostname; exit 7", input="typed\n")
        self.assertEqual(done.returncode, 7)
        self.assertEqual(done.stdout, "typed\nc1\nc1\n")
        self.assertEqual(self.exec("c1", "no-such-program").returncode, 127)
        # Without -i there is no input.
        quiet = subprocess.run([WEFT, "sandbox", "exec", "--name", self.box.name, "c1", "-n", NS, "--", "cat"],
                               input="x", capture_output=True, text=True, timeout=10)
        self.assertEqual((quiet.returncode, quiet.stdout), (0, ""))

    def test_exec_passes_signals(self):
        running = subprocess.Popen([WEFT, "sandbox", "exec", "--name", self.box.name, "-i", "c1", "-n", NS, "--",
                                    "sh", "-c", "echo up; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(running.stdout.readline(), b"up\n")
        running.send_signal(signal.SIGTERM)
        self.assertEqual(running.wait(10), -signal.SIGTERM)
        running.stdin.close()
        running.stdout.close()

    def test_a_pod_cannot_see_the_sandbox_or_change_its_network(self):
        self.assertEqual(self.exec("c1", "ls", "/run/weft").stdout, "")
        self.assertNotEqual(self.exec("c1", "ip", "link", "set", "eth0", "down").returncode, 0)
        self.assertNotEqual(self.exec("c1", "ip", "route", "flush", "all").returncode, 0)
        self.assertEqual(self.exec("c1", "ls", "/sys/fs/cgroup").stdout, "")

    def test_each_pod_is_in_a_cgroup_of_its_own(self):
        own = self.exec("c1", "cat", "/proc/self/cgroup").stdout
        uid = self.box.get("pod", "c1", NS)["metadata"]["uid"]
        self.assertIn(f"/weft-{self.box.name}/node-1/pods/pod{uid}/main", own)

    def test_logs(self):
        # curl's request makes a line.
        self.curl("c1", f"http://{self.box.ip('web1', NS)}:8080/logged")
        text = eventually(lambda: "GET /logged" in (out := self.box.weft("logs", "web1", "-n", NS).stdout) and out)
        last = self.box.weft("logs", "web1", "-n", NS, "--tail", 1).stdout
        self.assertTrue(text.endswith(last) and last.count("\n") == 1)

    def test_port_forward(self):
        forward = subprocess.Popen([WEFT, "sandbox", "port-forward", "--name", self.box.name, "-n", NS, "svc/web",
                                    ":80"], stdout=subprocess.PIPE, text=True)
        try:
            line = forward.stdout.readline()
            self.assertRegex(line, r"^Forwarding from 127\.0\.0\.1:\d+ -> 80$")
            port = line.split(" -> ")[0].rsplit(":", 1)[1]
            for _ in range(3):
                got = subprocess.run(["curl", "-sS", "-m", "5", f"http://127.0.0.1:{port}/"], capture_output=True,
                                     text=True, timeout=10)
                self.assertRegex(got.stdout, "hello from web[12]")
            taken = self.box.weft("port-forward", "-n", NS, "svc/web", f"{port}:80", check=False)
            self.assertEqual(taken.returncode, 1)
            self.assertIn("in use", taken.stderr)
        finally:
            forward.kill()
            forward.wait()
            forward.stdout.close()

    def test_a_container_that_ends_is_started_again(self):
        self.box.apply(pod("phoenix", NS, ["sh", "-c", "echo born; exec sleep infinity"], "node-1"))
        self.box.weft("wait")
        uid = self.box.get("pod", "phoenix", NS)["metadata"]["uid"]
        subprocess.run(["kill", "-9", str(self.box.pids("node-1", "pods", f"pod{uid}", "main")[0])], check=True)
        statuses = eventually(lambda: (found := self.box.get("pod", "phoenix", NS)["status"]["containerStatuses"])
                              [0]["restartCount"] == 1 and found[0]["ready"] and found)
        self.assertIn("running", statuses[0]["state"])
        self.assertEqual(self.box.weft("logs", "phoenix", "-n", NS).stdout, "born\nborn\n")
        self.box.delete("pod", "phoenix", NS)

    def test_restart_policy_never(self):
        job = pod("job", NS, ["sh", "-c", "exit 3"], "node-2")
        job["spec"]["restartPolicy"] = "Never"
        self.box.apply(job)
        status = eventually(lambda: (found := self.box.get("pod", "job", NS)["status"])["phase"] == "Failed" and found)
        self.assertEqual(status["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3)
        self.box.delete("pod", "job", NS)

    def test_environment(self):
        self.box.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("settings", NS),
                        "data": {"colour": "green"}},
                       pod("env", NS, ["sleep", "infinity"], "node-1", env=[
                           {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
                           {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                           {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                           {"name": "BOTH", "value": "$(COLOUR) at $(NODE) $$(NODE) $(NOBODY)"}]))
        self.box.weft("wait")
        got = self.exec("env", "sh", "-c", "echo $COLOUR $IP $NODE; echo $BOTH").stdout
        self.assertEqual(got, f"green {self.box.ip('env', NS)} node-1\ngreen at node-1 $(NODE) $(NOBODY)\n")
        self.box.delete("pod", "env", NS)

    def test_a_deployment_spreads_scales_and_changes(self):
        def pods():
            items = json.loads(self.box.weft("get", "pods", "-n", NS, "-o", "json").stdout)["items"]
            return [one for one in items if one["metadata"].get("labels", {}).get("app") == "many"]
        self.box.apply(deployment("many", 4, "1000"))
        self.box.weft("wait")
        self.assertEqual(sorted(one["spec"]["nodeName"] for one in pods()), ["node-1"] * 2 + ["node-2"] * 2)
        self.box.apply(deployment("many", 2, "1000"))
        eventually(lambda: len(pods()) == 2)
        before = {one["metadata"]["uid"] for one in pods()}
        self.box.apply(deployment("many", 2, "2000"))
        eventually(lambda: len(pods()) == 2 and not before & {one["metadata"]["uid"] for one in pods()})
        self.box.delete("deployment", "many", NS)
        eventually(lambda: not pods())

    def test_a_pod_for_no_node_says_why(self):
        self.box.apply(client("lost", NS, "node-9"))
        eventually(lambda: "0/2 nodes match" in self.box.weft("get", "pods", "-n", NS).stdout)
        self.box.delete("pod", "lost", NS)
        eventually(lambda: "lost" not in self.box.weft("get", "pods", "-n", NS).stdout)

    def test_a_mistake_changes_nothing(self):
        before = self.box.weft("get", "pods", "-A", "-o", "json").stdout
        good = client("new", NS, "node-1")
        for bad, message in [
            ({**service("bad", NS, {"a": "b"}, [(80, 80)]), "specs": {}}, "Service/plain/bad: specs: unknown field"),
            (client("bad", "nowhere", "node-1"), "Pod/nowhere/bad: metadata.namespace: there is no namespace"),
            (deployment("bad", -1, "1"), "Deployment/plain/bad: spec.replicas: "),
            (service("bad", NS, {"a": "b"}, [(80, 80)], clusterIP="1.2.3.4"), "Service/plain/bad: spec.clusterIP: "),
        ]:
            done = self.box.weft("apply", "-f", self.box.write([good, bad]), check=False)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(message, done.stderr)
        self.assertEqual(self.box.weft("get", "pods", "-A", "-o", "json").stdout, before)

    def test_an_image_that_stands_for_nothing(self):
        imaged = client("imaged", NS, "node-1")
        del imaged["spec"]["containers"][0]["command"]
        done = self.box.weft("apply", "-f", self.box.write([imaged]), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("Pod/plain/imaged: spec.containers[0].image: \"none\" stands for no local command", done.stderr)
        self.assertIn("images.yaml", done.stderr)

    def test_command_line_mistakes(self):
        for words, message in [(["sandbox", "aply"], 'did you mean "apply"'), (["sandbox", "up", "--nods", "1"], "--nods"),
                               (["statsu"], 'did you mean "status"'), (["sandbox", "up", "--nodes", "99"], "nodes"),
                               (["sandbox", "up", "--name", "a/b"], "sandbox name"),
                               (["sandbox", "get", "widgets", "--name", self.box.name], "widgets")]:
            done = subprocess.run([WEFT, *words], capture_output=True, text=True, timeout=10)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn(message, done.stderr)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)

    def test_up_while_up(self):
        done = self.box.weft("up", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is up already", done.stderr)
        self.assertIn("hello", self.curl("c1", "http://web/"))

    def test_without_root(self):
        done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", WEFT, "sandbox",
                               "up", "--name", "nobody"], capture_output=True, text=True, timeout=10)
        if "Permission denied" in done.stderr and "setpriv" in done.stderr:
            self.skipTest("the build folder cannot be entered without root")
        self.assertEqual(done.returncode, 1)
        self.assertIn("needs root", done.stderr)


class Ends(unittest.TestCase):
    """Sandboxes that come and go."""

    objects = [namespace(NS), server("web", NS, "node-1"), client("c", NS, "node-2"),
               service("web", NS, {"app": "web"}, [(80, 8080)])]

    def setUp(self):
        self.box = Sandbox("end")
        self.addCleanup(self.box.folder.cleanup)
        self.addCleanup(self.box.weft, "down", check=False)
        self.links = self.machine()

    @staticmethod
    def machine():
        """What a sandbox must not change on the machine itself."""
        out = []
        for command in (["ip", "-o", "link"], ["ip", "rule"], ["ip", "route", "show", "table", "all"],
                        ["nft", "list", "ruleset"]):
            out.append(subprocess.run(command, capture_output=True, text=True).stdout)
        return out

    def test_down_leaves_nothing(self):
        self.box.up(self.objects, mesh=False)
        self.assertTrue(leftovers(self.box.name))
        self.box.weft("down")
        self.assertEqual(leftovers(self.box.name), [])
        self.assertEqual(self.machine(), self.links)
        again = self.box.weft("down")
        self.assertIn("there is no sandbox", again.stdout)

    def test_twice_in_a_row(self):
        for _ in range(2):
            self.box.up(self.objects, mesh=False)
            self.assertEqual(self.box.curl("c", "http://web/", ns=NS), "hello from web\n")
            self.box.weft("down")
        self.assertEqual(leftovers(self.box.name), [])

    def kill(self, *part):
        pids = self.box.pids(*part)
        for pid in pids:
            subprocess.run(["kill", "-9", str(pid)])
        # Until it is dead a process holds its files, and with them its locks.
        eventually(lambda: not any(runs(pid) for pid in pids))

    def test_down_after_the_supervisor_was_killed(self):
        self.box.up(self.objects, mesh=False)
        self.kill("supervisor")
        # Its lock goes with the last of its threads, which may be after its first one is seen to be dead.
        def lost():
            said = self.box.weft("get", "pods", check=False)
            return said.returncode == 1 and said.stderr
        self.assertIn("weft sandbox down", eventually(lost))
        self.box.weft("down")
        self.assertEqual(leftovers(self.box.name), [])

    def test_up_cleans_up_after_everything_was_killed(self):
        self.box.up(self.objects, mesh=False)
        self.kill()
        self.assertTrue(leftovers(self.box.name))
        said = self.box.weft("up", "--no-mesh", "-f", self.box.write(self.objects)).stdout
        self.assertIn("left behind", said)
        self.box.weft("wait")
        self.assertEqual(self.box.curl("c", "http://web/", ns=NS), "hello from web\n")
        self.box.weft("down")
        self.assertEqual(leftovers(self.box.name), [])

    def test_up_with_a_mistake_leaves_nothing(self):
        broken = self.box.write([{**namespace(NS), "specs": 1}])
        done = self.box.weft("up", "--no-mesh", "-f", broken, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("Namespace/plain: specs: ", done.stderr)
        self.assertEqual(leftovers(self.box.name), [])


if __name__ == "__main__":
    harness.main()
