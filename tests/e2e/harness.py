"""A sandbox for a suite of tests, and what tests ask of it."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from eventually import eventually  # noqa: E402,F401: also what suites take from here

BIN = pathlib.Path(os.environ.get("WEFT_BIN", HERE.parent.parent / "build/dev/bin"))
WEFT = str(BIN / "weft")
PYTHON = "/usr/bin/python3"
PEER = str(HERE / "peer.py")
SKIPPED = 77  # ctest's SKIP_RETURN_CODE


def meta(name, ns=None, labels=None, annotations=None):
    out = {"name": name}
    if ns:
        out["namespace"] = ns
    if labels:
        out["labels"] = labels
    if annotations:
        out["annotations"] = annotations
    return out


def namespace(name, **labels):
    return {"apiVersion": "v1", "kind": "Namespace",
            "metadata": meta(name, labels={k.replace("__", "/"): v for k, v in labels.items()})}


def mesh_namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace",
            "metadata": meta(name, labels={"istio.io/dataplane-mode": "ambient"})}


def account(name, ns):
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(name, ns)}


def pod(name, ns, command, node=None, labels=None, sa=None, ports=(), env=(), probe=None, annotations=None, **probes):
    """A pod of one container; its service account has its name where none is given. `probe`: a TCP port that says
    that it is ready; others as the API has them: readinessProbe={..}."""
    container = {"name": "main", "image": "none", "command": [str(word) for word in command],
                 "ports": [{"containerPort": port} for port in ports], "env": list(env)}
    if probe:
        container["readinessProbe"] = {"tcpSocket": {"port": probe}, "periodSeconds": 1}
    container.update(probes)
    spec = {"serviceAccountName": sa or name, "terminationGracePeriodSeconds": 1,
            "containers": [container]}
    if node:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta(name, ns, labels or {"app": name}, annotations),
            "spec": spec}


def server(name, ns, node, **more):
    return pod(name, ns, [PYTHON, "-u", PEER, "serve"], node, probe=8080, **more)


def client(name, ns, node, **more):
    return pod(name, ns, ["sleep", "infinity"], node, **more)


def service(name, ns, selector, ports, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta(name, ns),
            "spec": {"selector": selector, "ports": [
                {"name": f"tcp-{port}", "port": port, "targetPort": target} for port, target in ports],
                **spec}}


def policy(name, ns, action, rules, selector=None):
    spec = {"action": action, "rules": rules}
    if selector:
        spec["selector"] = {"matchLabels": selector}
    return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": meta(name, ns), "spec": spec}


def peer_authentication(name, ns, mode):
    return {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
            "metadata": meta(name, ns), "spec": {"mtls": {"mode": mode}}}


def parse_access(line):
    """The keys of an access log line, and "level"; None for a line of another kind."""
    if "\taccess\t" not in line:
        return None
    entry = {"level": line.split("\t")[1]}
    for key, quoted, plain in re.findall(r'([\w.]+)=(?:"((?:[^"\\]|\\.)*)"|(\S+))', line):
        entry[key] = quoted or plain
    return entry


class Sandbox:
    def __init__(self, suite):
        self.name = f"e{suite}{os.getpid()}"[:20]
        self.run = pathlib.Path("/run/weft/sandbox") / self.name
        self.folder = tempfile.TemporaryDirectory(prefix="weft-e2e-")
        self._files = 0

    def weft(self, *args, check=True, input=None, timeout=60):
        """`weft sandbox ARGS` with this sandbox's name."""
        command, rest = args[0], args[1:]
        done = subprocess.run([WEFT, "sandbox", command, "--name", self.name, *map(str, rest)], input=input,
                              capture_output=True, text=True, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"weft sandbox {command} {rest}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def write(self, objects):
        self._files += 1
        path = pathlib.Path(self.folder.name) / f"{self._files}.yaml"
        path.write_text("".join(f"---\n{json.dumps(one)}\n" for one in objects))
        return str(path)

    def up(self, objects=(), mesh=True, nodes=2, ztunnel_flags="", more=()):
        """`more`: further arguments of `weft sandbox up`."""
        args = ["up", "--nodes", nodes, *more]
        if ztunnel_flags:
            args += ["--ztunnel-flags", ztunnel_flags]
        if not mesh:
            args.append("--no-mesh")
        if objects:
            args += ["-f", self.write(objects)]
        self.weft(*args)
        self.weft("wait", "--timeout", 60, timeout=90)

    def down(self):
        self.weft("down")
        self.folder.cleanup()

    def apply(self, *objects):
        return self.weft("apply", "-f", self.write(objects))

    def delete(self, kind, name, ns="default"):
        return self.weft("delete", kind, name, "-n", ns)

    def get(self, kind, name, ns="default"):
        return json.loads(self.weft("get", kind, name, "-n", ns, "-o", "json").stdout)

    def ip(self, name, ns):
        return self.get("pod", name, ns)["status"]["podIP"]

    def exec(self, name, *command, ns="mesh", input=None, check=False, timeout=60):
        interactive = ["-i"] if input is not None else []
        return self.weft("exec", *interactive, name, "-n", ns, "--", *command, input=input, check=check,
                         timeout=timeout)

    def curl(self, name, url, *args, ns="mesh", seconds=10):
        """The body; AssertionError where curl fails."""
        done = self.exec(name, "curl", "-sS", "-m", str(seconds), *args, url, ns=ns)
        if done.returncode != 0:
            raise AssertionError(f"curl {url} from {ns}/{name}: {done.returncode} {done.stderr}")
        return done.stdout

    def refused(self, name, url, ns="mesh", seconds=10):
        """curl's complaint; AssertionError where it got an answer."""
        done = self.exec(name, "curl", "-sS", "-m", str(seconds), url, ns=ns)
        if done.returncode == 0:
            raise AssertionError(f"{ns}/{name} got an answer from {url}: {done.stdout}")
        return done.stderr

    def peer(self, name, *args, ns="mesh", timeout=60):
        """What peer.py says as a client in a pod, as JSON."""
        done = self.exec(name, PYTHON, PEER, *map(str, args), ns=ns, timeout=timeout)
        if done.returncode != 0:
            raise AssertionError(f"peer {args} in {ns}/{name}: {done.stderr}")
        return json.loads(done.stdout)

    def start_peer(self, name, *args, ns="mesh"):
        """The same, going on: its standard input is a pipe."""
        return subprocess.Popen(
            [WEFT, "sandbox", "exec", "--name", self.name, "-i", name, "-n", ns, "--", PYTHON, "-u", PEER,
             *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def log(self, what):
        path = {"control": "control"}.get(what, what.replace("node/", "").replace("/", "-"))
        file = self.run / "logs" / f"{path}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def access(self, node, **wanted):
        """Access log entries of a node's ztunnel whose keys have the values given (dots as __)."""
        wanted = {key.replace("__", "."): value for key, value in wanted.items()}
        entries = [parse_access(line) for line in self.log(f"node/{node}/ztunnel").splitlines()]
        return [entry for entry in entries
                if entry and all(entry.get(key) == value for key, value in wanted.items())]

    def pids(self, *part):
        """Processes in a cgroup of the sandbox, and below."""
        root = cgroup2() / f"weft-{self.name}" / pathlib.Path(*part)
        found = []
        for file in [root / "cgroup.procs", *root.glob("**/cgroup.procs")]:
            found += [int(line) for line in file.read_text().split()]
        return sorted(set(found))

    def node_status(self, node):
        """What the node's agent says of itself, as `weft status` has it."""
        done = subprocess.run([WEFT, "status", "--sandbox", self.name, "-o", "json"], capture_output=True, text=True,
                              timeout=20)
        return json.loads(done.stdout)["nodes"][node]

    def on_node(self, node, cgroup, *command, **more):
        """A process in the node's network namespace, in a cgroup of the node's ("kubelet", or one that is made)."""
        folder = cgroup2() / f"weft-{self.name}" / node / cgroup
        folder.mkdir(exist_ok=True)

        def join():
            (folder / "cgroup.procs").write_text("0")

        return subprocess.Popen(["nsenter", f"--net=/run/netns/weft-{self.name}-{node}", *map(str, command)],
                                preexec_fn=join, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, **more)

    def state(self, process):
        """(times restarted, pid, what it is doing) of control, node-1-agent, .."""
        restarts, pid, state = (self.run / "processes" / process).read_text().strip().split(" ", 2)
        return int(restarts), int(pid), state


class Conversation:
    """An open connection from a pod to peer.py's port 7001, which says back what it is told."""

    def __init__(self, box, source, target, port=7001, ns="mesh"):
        self.process = box.start_peer(source, "converse", target, port, ns=ns)
        opened = self.process.stdout.readline()
        if opened != "open\n":
            self.process.kill()
            raise AssertionError(f"{source} does not reach {target}:{port}: {self.process.communicate()}")

    def say(self, word):
        """What comes back; "" or "ended" where the connection has ended."""
        try:
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return ""
        return self.process.stdout.readline().rstrip("\n")

    def goes_on(self, word="still here"):
        said = self.say(word)
        assert said == word, f"said {word!r}, heard {said!r}"

    def has_ended(self):
        return self.say("more") in ("ended", "")

    def end(self):
        """Ends it in good order; the client's exit status."""
        self.process.stdin.close()
        return self.process.wait(10)

    def close(self):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                pass


def runs(pid):
    """Whether a process is there and not merely waiting to be reaped."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def cgroup2():
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        fields = line.split()
        if fields[2] == "cgroup2":
            return pathlib.Path(fields[1])
    raise unittest.SkipTest("no cgroup2 is mounted")


def in_netns(netns, *command, timeout=30):
    return subprocess.run(["ip", "netns", "exec", netns, *command], capture_output=True, text=True, timeout=timeout)


class Suite(unittest.TestCase):
    """A suite's class sets what follows; self.box is its sandbox."""

    tag = "x"
    objects = ()
    mesh = True
    ztunnel_flags = ""
    more = ()

    @classmethod
    def setUpClass(cls):
        cls.box = Sandbox(cls.tag)
        try:
            cls.box.up(cls.objects, cls.mesh, ztunnel_flags=cls.ztunnel_flags, more=cls.more)
        except BaseException:
            cls.show_logs()
            cls.box.weft("down", check=False)
            raise

    @classmethod
    def tearDownClass(cls):
        cls.box.down()

    @classmethod
    def show_logs(cls):
        for file in sorted((cls.box.run / "logs").glob("*.log")):
            lines = file.read_text(errors="replace").splitlines()[-15:]
            print(f"--- {file.name}", *lines, sep="\n", file=sys.stderr)

    def converse(self, source, target, port=7001, ns="mesh"):
        """A Conversation, closed with the test."""
        talk = Conversation(self.box, source, target, port, ns)
        self.addCleanup(talk.close)
        return talk

    def in_background(self, call):
        """Runs call(), whose answer is a dictionary, in a thread; call the result for that."""
        found = {}

        def run():
            try:
                found.update(call())
            except Exception as problem:
                found["problem"] = problem
        thread = threading.Thread(target=run)
        thread.start()

        def result():
            thread.join()
            self.assertNotIn("problem", found)
            return found
        return result

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            print(f"--- logs at the end of {self.id()}", file=sys.stderr)
            self.show_logs()
        return result


def main():
    if os.geteuid() != 0:
        print("skipped: needs root (network namespaces, cgroups, BPF)")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
