"""A real Kubernetes API server with etcd and controllers, in namespaces of its own.

    with Cluster() as cluster:
        cluster.kubectl("create", "namespace", "shop")
        agent = cluster.start("agent", [BIN / "weft-agent", ..])

It is at https://172.30.0.1:6443 of its own network namespace, so several may run at once; what talks to
it runs in there: by start(), which puts a program under the cluster's own init, by enter(), which gives a
command that does, or by call(), which asks the API from this process. No node and no network of pods:
nodes.py adds these. Without them pods are only objects, whose status a test writes itself.
"""

import base64
import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest

from pki import Pki
from processes import Namespaces, Process, eventually

HERE = pathlib.Path(__file__).resolve().parent
KUBERNETES = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "weft/kube-1.36.3/bin"
ADDRESS = "172.30.0.1"
PORT = 6443
SERVICES = "10.96.0.0/16"
PODS = "10.244.0.0/16"
SKIPPED = 77  # ctest's SKIP_RETURN_CODE
CLONE_NEWNET = 0x40000000

# Without nodes these would evict, or delete, the pods that a test makes by hand.
NO_NODE_CONTROLLERS = ("*", "-node-lifecycle-controller", "-pod-garbage-collector-controller",
                       "-node-ipam-controller")


def missing(*programs):
    """What keeps a cluster from starting here, in words; None where nothing does."""
    if os.geteuid() != 0:
        return "needs root, for namespaces"
    if not shutil.which("etcd"):
        return "needs etcd: run scripts/setup"
    wanted = ("kube-apiserver", "kube-controller-manager", "kubectl", *programs)
    done = subprocess.run([HERE / "binaries", "--check", *wanted], capture_output=True, text=True)
    return done.stderr.strip() or f"{HERE / 'binaries'} failed" if done.returncode else None


def remove_stale():
    """Removes the folders of tests that were killed; their processes died with them."""
    for folder in pathlib.Path(tempfile.gettempdir()).glob("weft-kube-*-*"):
        owner = folder.name.split("-")[2]
        if owner.isdigit() and not pathlib.Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


class ApiError(Exception):
    """The API server's refusal: status is HTTP's, body the Status object (or text) that it sent."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body.get('message', body) if isinstance(body, dict) else body}")
        self.status, self.body = status, body


class Cluster:
    """etcd, kube-apiserver and kube-controller-manager; with scheduler=True kube-scheduler too."""

    def __init__(self, users=None, api_flags=(), controllers=NO_NODE_CONTROLLERS, scheduler=False):
        """users: names -> groups of users who have a static token; api_flags: more flags of kube-apiserver."""
        remove_stale()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"weft-kube-{os.getpid()}-"))
        self._users = {"admin": ("system:masters",), **(users or {})}
        self._tokens = {user: base64.b16encode(os.urandom(16)).decode() for user in self._users}
        self._api_flags, self._controllers, self._with_scheduler = list(api_flags), controllers, scheduler
        self._processes, self._local = [], threading.local()
        self.scheduler = None

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends everything in the cluster's namespaces and removes its folder (WEFT_KEEP=1 keeps it)."""
        if hasattr(self, "namespaces"):
            self.namespaces.close()
        for process in self._processes:
            process.forget()
        self.forget_connection()
        if not os.environ.get("WEFT_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    # What a test asks of it.

    def kubectl(self, *arguments, input=None, config=None, check=True, within=60):
        """kubectl's standard output, or, with check=False, the whole CompletedProcess.

        input: text, or objects (one or a list) for `-f -`; config: a kubeconfig other than the administrator's.
        """
        if input is not None and not isinstance(input, str):
            items = input if isinstance(input, list) else [input]
            input = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        done = subprocess.run(self.enter(KUBERNETES / "kubectl", "--kubeconfig", config or self.admin,
                                         "--cache-dir", self.folder / "kubectl", *arguments),
                              input=input, capture_output=True, text=True, timeout=within)
        if not check:
            return done
        assert done.returncode == 0, f"kubectl {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout

    def apply(self, objects):
        """kubectl apply --server-side of one object or a list of them."""
        return self.kubectl("apply", "--server-side", "-f", "-", input=objects)

    def get(self, *arguments):
        """kubectl get -o json, read."""
        return json.loads(self.kubectl("get", "-o", "json", *arguments))

    def call(self, method, path, body=None, content="application/json"):
        """Asks the API directly, as administrator: hundreds a second, where kubectl needs 0.1 s for each.

        Returns the object (text where it is none); raises ApiError where the server refuses.
        """
        connection = self._connection()
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None,
                               {"Authorization": "Bearer " + self._tokens["admin"], "Content-Type": content})
            response = connection.getresponse()
            raw = response.read()
        except BaseException:
            self.forget_connection()
            raise
        is_json = "json" in (response.getheader("Content-Type") or "")
        answer = json.loads(raw) if is_json else raw.decode()
        if response.status >= 300:
            raise ApiError(response.status, answer)
        return answer

    def lines(self, path):
        """The lines of a watch, as administrator, until the API server ends it."""
        connection = http.client.HTTPSConnection(ADDRESS, PORT)
        connection.sock = self._secured()
        connection.sock.settimeout(None)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Authorization": "Bearer " + self._tokens["admin"]})
            yield from connection.getresponse()

    def enter(self, *command):
        """The command that runs command in the cluster's network namespace (only)."""
        return self.namespaces.enter(*command)

    def start(self, name, command, env=None):
        """Starts a program inside; it ends with the cluster at the latest. Its log is log(name)."""
        return self._process(name, *command, env=env).start()

    def log_path(self, name):
        return self.folder / "log" / f"{name}.log"

    def token_of(self, user):
        """The static token of a user named in users."""
        return self._tokens[user]

    def kubeconfig(self, user, groups=None, token=None):
        """A kubeconfig with a client certificate for user in groups, or with a token."""
        if token is not None:
            return self.pki.kubeconfig(user.replace(":", "-"), {"token": token})
        return self.pki.client(user, groups or ())

    def token(self, account, namespace="default", audience=None, seconds=3600, pod=None):
        """A service account's token by TokenRequest (at least 600 s), bound to a pod where one is named."""
        arguments = ["create", "token", account, "-n", namespace, f"--duration={seconds}s"]
        if audience:
            arguments.append(f"--audience={audience}")
        if pod:
            uid = self.get("pod", pod, "-n", namespace)["metadata"]["uid"]
            arguments += ["--bound-object-kind=Pod", f"--bound-object-name={pod}", f"--bound-object-uid={uid}"]
        return self.kubectl(*arguments).strip()

    def account_folder(self, account, namespace="default", **options):
        """A folder as a pod has it at /var/run/secrets/kubernetes.io/serviceaccount: token, ca.crt, namespace."""
        folder = self.folder / "accounts" / namespace / account
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "token").write_text(self.token(account, namespace, **options))
        (folder / "namespace").write_text(namespace)
        shutil.copy(self.pki.ca, folder / "ca.crt")
        return folder

    @contextlib.contextmanager
    def port_forward(self, what, port, namespace="default"):
        """`kubectl port-forward` while the block runs; gives the port at 127.0.0.1 of the cluster's namespace."""
        command = self.enter(KUBERNETES / "kubectl", "--kubeconfig", self.admin, "port-forward", "-n", namespace,
                             what, f":{port}")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as forward:
            try:
                said = forward.stdout.readline()
                found = re.match(r"Forwarding from 127.0.0.1:(\d+)", said)
                assert found, f"port-forward of {what}: {said}{'' if found else forward.stdout.read()}"
                yield int(found.group(1))
            finally:
                forward.kill()

    def wait_ready(self, within=60):
        """Until the API server says that it is ready, e.g. after api_server.start()."""
        def ready():
            assert self.api_server.running(), f"kube-apiserver ended: {self.api_server.text()[-3000:]}"
            try:
                return self.call("GET", "/readyz") == "ok"
            except (ApiError, http.client.HTTPException) as problem:
                raise AssertionError(str(problem)) from problem
        eventually(ready, within, "API server ready")

    def wait_account(self, namespace="default", account="default"):
        """Until the controllers have made a namespace's account: before that no pod can be made there."""
        eventually(lambda: self.kubectl("get", "serviceaccount", account, "-n", namespace, check=False).returncode
                   == 0, what=f"account {namespace}/{account}")

    def wait_kinds(self):
        """Until what kubectl finds out about the cluster has every kind of its CRDs: some moments after each is
        Established."""
        self.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")

        def served():
            known = set(self.kubectl("api-resources", "-o", "name").split())
            return all(crd["metadata"]["name"] in known for crd in self.get("crd")["items"])
        eventually(served, what="kinds of the CRDs in discovery")

    def compact(self):
        """Compacts etcd to its newest revision. The API server's own watch cache stays: a watch is told
        410 only when that begins anew, by api_server.stop() and start(). Returns the revision."""
        revision = int(self.etcd_call("range", {"key": "AA=="})["header"]["revision"])
        self.etcd_call("compaction", {"revision": revision, "physical": True})
        return revision

    # How it starts.

    def _start(self):
        for name in ("log", "etcd"):
            (self.folder / name).mkdir()
        self.namespaces = Namespaces()
        for command in (("link", "set", "lo", "up"), ("link", "add", "br0", "type", "bridge"),
                        ("addr", "add", f"{ADDRESS}/24", "dev", "br0"), ("link", "set", "br0", "up")):
            self.namespaces.run("ip", *command)
        self.etcd = self._process(
            "etcd", "etcd", "--data-dir", self.folder / "etcd", "--unsafe-no-fsync",
            "--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
            "--listen-peer-urls", "http://127.0.0.1:2380").start()
        self._make_keys()
        self.api_server = self._process("kube-apiserver", KUBERNETES / "kube-apiserver", *self._api_server_flags())
        self.api_server.start()
        self.controllers = self._process(
            "kube-controller-manager", KUBERNETES / "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig('system:kube-controller-manager')}",
            "--use-service-account-credentials=true", f"--root-ca-file={self.pki.ca}",
            f"--service-account-private-key-file={self.pki.folder / 'sa.key'}", "--leader-elect=false",
            "--allocate-node-cidrs=true", f"--cluster-cidr={PODS}", "--bind-address=127.0.0.1",
            "--controllers=" + ",".join(self._controllers))
        if self._with_scheduler:
            self.scheduler = self._process(
                "kube-scheduler", KUBERNETES / "kube-scheduler", "--leader-elect=false",
                "--bind-address=127.0.0.1", f"--kubeconfig={self.kubeconfig('system:kube-scheduler')}")
        self._prepare()
        self.wait_ready()
        self.controllers.start()
        if self.scheduler:
            self.scheduler.start()
        self.wait_account()

    def _prepare(self):
        """What a kind of cluster makes while the API server starts."""

    def _process(self, name, *command, env=None):
        self._processes.append(Process(self.namespaces, name, command, self.log_path(name), env))
        return self._processes[-1]

    def _make_keys(self):
        self.pki = Pki(self.folder / "pki", f"https://{ADDRESS}:{PORT}")
        names = ",".join([f"DNS:kubernetes{tail}" for tail in ("", ".default", ".default.svc",
                                                               ".default.svc.cluster.local")]
                         + ["DNS:localhost", "IP:10.96.0.1", "IP:127.0.0.1", f"IP:{ADDRESS}"])
        self.pki.issue("apiserver", "/CN=kube-apiserver", names)
        self.pki.issue("kubelet-client", "/O=system:masters/CN=apiserver-kubelet-client")
        self.admin = self.pki.client("administrator", ["system:masters"])
        rows = [f'{self._tokens[user]},{user},{user},"{",".join(groups)}"' for user, groups in self._users.items()]
        (self.pki.folder / "tokens.csv").write_text("\n".join(rows) + "\n")

    def _api_server_flags(self):
        keys = self.pki.folder
        return [
            "--etcd-servers=http://127.0.0.1:2379", f"--secure-port={PORT}", f"--advertise-address={ADDRESS}",
            f"--tls-cert-file={keys / 'apiserver.crt'}", f"--tls-private-key-file={keys / 'apiserver.key'}",
            f"--client-ca-file={self.pki.ca}", f"--kubelet-client-certificate={keys / 'kubelet-client.crt'}",
            f"--kubelet-client-key={keys / 'kubelet-client.key'}",
            f"--kubelet-certificate-authority={self.pki.ca}", "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={keys / 'sa.pub'}",
            f"--service-account-signing-key-file={keys / 'sa.key'}", f"--token-auth-file={keys / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
            f"--service-cluster-ip-range={SERVICES}", "--allow-privileged=true",
            # A webhook's Service is reached at its endpoints: no kube-proxy runs where the API server does.
            "--enable-aggregator-routing=true", *self._api_flags]

    def _connection(self):
        """This thread's connection to the API server, its socket made in the cluster's namespace."""
        if getattr(self._local, "connection", None) is None:
            connection = http.client.HTTPSConnection(ADDRESS, PORT, timeout=60)
            connection.sock = self._secured()
            self._local.connection = connection
        return self._local.connection

    def _secured(self):
        context = ssl.create_default_context(cafile=str(self.pki.ca))
        return context.wrap_socket(self.dial(ADDRESS, PORT), server_hostname=ADDRESS)

    def forget_connection(self):
        """Closes this thread's connection; the next call() makes another."""
        if getattr(self._local, "connection", None) is not None:
            self._local.connection.close()
            self._local.connection = None

    def dial(self, address, port):
        """A connected TCP socket of the cluster's network namespace."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as home, open(f"/proc/{self.namespaces.init}/ns/net") as there:
            assert libc.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                made = socket.create_connection((address, port), timeout=60)
                # A request is two writes: with Nagle the second would wait 40 ms for the first one's ACK.
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return made
            finally:
                libc.setns(home.fileno(), CLONE_NEWNET)

    def etcd_call(self, verb, request):
        """Asks etcd past the API server: range, put, txn, compaction, by its JSON gateway."""
        connection = http.client.HTTPConnection("127.0.0.1", 2379)
        connection.sock = self.dial("127.0.0.1", 2379)
        with contextlib.closing(connection):
            connection.request("POST", f"/v3/kv/{verb}", json.dumps(request))
            answer = json.loads(connection.getresponse().read())
        assert "error" not in answer, f"etcd {verb}: {answer}"
        return answer


def main(*programs, lack=None):
    """unittest.main() of a suite, which is skipped where something that it needs is missing."""
    lack = lack or missing(*programs)
    if lack:
        print(f"skipped: {lack}")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
