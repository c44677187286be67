"""Nodes for a Cluster: each a kubelet, containerd and kube-proxy in namespaces and cgroups of its own.

    with Nodes() as cluster:
        cluster.load({"local.test/app:1": (["/app"], [layer])})
        cluster.apply(..)

Nodes kn1 and kn2 are on the cluster's bridge at 172.30.0.11 and .12, their pods in 10.244.1.0/24 and
10.244.2.0/24, reached by routes; with dual_stack also at fd00:172:30::11 and in fd00:10:244:1::/64, and so on.
A node sees its sub-tree of every cgroup hierarchy as the root, as kind's nodes do, and writes /etc, /opt, /var
and /run to memory (node_init.sh). All of it goes with the test; what a killed one left of cgroups, the next
start removes.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess

import cluster
import image
import node_config
from cluster import ADDRESS, HERE, KUBERNETES, PODS, SERVICES, Cluster
from processes import Namespaces, Process, eventually

INIT = HERE / "node_init.sh"
CGROUPS = pathlib.Path("/sys/fs/cgroup")
PROGRAMS = ("kube-scheduler", "kubelet", "kube-proxy", "coredns")
COREDNS = "local.test/coredns:1"
GATEWAYS = (ADDRESS, "fd00:172:30::1")
PODS_V6, SERVICES_V6 = "fd00:10:244::/48", "fd00:10:96::/112"
STATIC_PODS = "/etc/kubernetes/manifests"


def missing(*programs):
    """What keeps nodes from starting here, in words; None where nothing does."""
    lack = cluster.missing(*PROGRAMS, *programs)
    if lack:
        return lack
    for program in ("containerd", "runc", "/usr/lib/cni/bridge", "conntrack"):
        if subprocess.run(["sh", "-c", f"command -v {program}"], stdout=subprocess.DEVNULL).returncode:
            return f"needs {program}: run scripts/setup"
    if not (CGROUPS / "unified/cgroup.procs").exists():
        return "needs the cgroup2 hierarchy at /sys/fs/cgroup/unified, beside those of cgroup v1"
    return None


def remove_stale_cgroups():
    """Removes the cgroups of nodes whose test is gone."""
    for folder in CGROUPS.glob("*/weft-kube-*"):
        owner = re.match(r"weft-kube-(\d+)-", folder.name).group(1)
        if not pathlib.Path("/proc", owner).exists():
            remove_cgroup(folder)


def remove_cgroup(folder):
    """Removes a cgroup and all below it, once its processes are gone. True when it is."""
    for path, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(path)
        except OSError:
            return False
    return True


class Node:
    """One node. Entering it: run(), start(); its programs: containerd, kubelet, proxy."""

    def __init__(self, owner, number):
        self.name, self.number, self.cluster = f"kn{number}", number, owner
        families = 2 if owner.dual_stack else 1
        self.addresses = (f"172.30.0.1{number}", f"fd00:172:30::1{number}")[:families]
        self.subnets = (f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64")[:families]
        self.address = self.addresses[0]
        self.folder = owner.folder / self.name
        self._cgroup = f"weft-kube-{os.getpid()}-{owner.folder.name.rsplit('-', 1)[1]}-{self.name}"
        self._processes = []

    def boot(self):
        """Its namespaces, network and container runtime; kubelet and proxy are started by join()."""
        (self.folder / "conf").mkdir(parents=True, exist_ok=True)
        (self.folder / "booted").unlink(missing_ok=True)
        (self.folder / "conf/10-pods.conflist").write_text(node_config.network(self.subnets))
        (self.folder / "containerd.toml").write_text(node_config.CONTAINERD)
        self.namespaces = Namespaces(["-u", "-i", "-C"], [INIT, "boot", self.folder, self.name],
                                     before=[INIT, "join", self._cgroup])
        eventually((self.folder / "booted").exists, what=f"node {self.name} booted", pause=0.01)
        self._network()
        self.containerd = self.program("containerd", "containerd", "-c", self.folder / "containerd.toml").start()
        eventually(lambda: self.run("ctr", "version"), what=f"containerd of {self.name}")

    def join(self):
        """Starts what makes it a node of the cluster."""
        pki = self.cluster.pki
        pki.issue(self.name, f"/CN={self.name}", f"DNS:{self.name},IP:{self.address}")
        config = pki.client(f"system:node:{self.name}", ["system:nodes"])
        (self.folder / "kubelet.json").write_text(node_config.kubelet(pki.folder, self.name, STATIC_PODS))
        (self.folder / "proxy.json").write_text(
            node_config.proxy(self.cluster.kubeconfig("system:kube-proxy"), self.name,
                              ",".join((PODS, PODS_V6)[:len(self.subnets)])))
        self.kubelet = self.program(
            "kubelet", KUBERNETES / "kubelet", f"--config={self.folder / 'kubelet.json'}",
            f"--kubeconfig={config}", f"--hostname-override={self.name}", f"--node-ip={','.join(self.addresses)}",
            "-v=2").start()
        self.proxy = self.program("kube-proxy", KUBERNETES / "kube-proxy",
                                  f"--config={self.folder / 'proxy.json'}").start()

    def load(self, archive):
        """Imports an OCI archive (image.py)."""
        self.run("ctr", "-n", "k8s.io", "images", "import", "--snapshotter", "overlayfs", archive)

    def program(self, name, *command):
        """A Process on the node, not started, in a cgroup of its own below system, as a node's services are."""
        process = Process(self.namespaces, name, command, self.cluster.log_path(f"{self.name}-{name}"),
                          before=[INIT, "join", f"{self._cgroup}/system/{name}"])
        self._processes.append(process)
        return process

    def run(self, *command, check=True, input=None, within=60):
        """Runs a command as root of the node and returns its output, or with check=False the CompletedProcess."""
        done = subprocess.run([str(INIT), "join", f"{self._cgroup}/user", *self.namespaces.enter_all(*command)],
                              capture_output=True, text=True, input=input, timeout=within)
        if not check:
            return done
        assert done.returncode == 0, f"{self.name}: {' '.join(map(str, command))}: {done.stderr or done.stdout}"
        return done.stdout

    def path(self, path):
        """Where this process sees a file of the node."""
        return pathlib.Path(f"/proc/{self.namespaces.init}/root") / path.lstrip("/")

    def cgroup(self):
        """The node's cgroup2 root, as this process sees it."""
        return CGROUPS / "unified" / self._cgroup

    def reboot(self):
        """Kills all that runs and forgets what was in memory: /run, cgroups, the kernel's programs and pins."""
        self.close()
        self.boot()
        self.join()

    def close(self):
        """Ends it at once. What its disk holds (images, the kubelet's state) stays for a boot()."""
        if not hasattr(self, "namespaces"):
            return
        self.namespaces.close()
        for process in self._processes:
            process.forget()
        self._processes = []
        self.cluster.namespaces.run("sh", "-c", f"ip link del n{self.number} 2>/dev/null || true")
        for folder in CGROUPS.glob(f"*/{self._cgroup}"):
            eventually(lambda: remove_cgroup(folder), what=f"{folder} empty")

    def _network(self):
        outside, link = self.cluster.namespaces, f"n{self.number}"
        outside.run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0",
                    "netns", f"/proc/{self.namespaces.init}/ns/net")
        outside.run("ip", "link", "set", link, "master", "br0", "up")
        self.namespaces.run("ip", "link", "set", "eth0", "up")
        for i, (address, subnet) in enumerate(zip(self.addresses, self.subnets)):
            ip, bits = (("ip", "-4"), 24) if i == 0 else (("ip", "-6"), 64)
            outside.run(*ip, "route", "replace", subnet, "via", address)
            self.namespaces.run(*ip, "addr", "add", f"{address}/{bits}", "dev", "eth0")
            self.namespaces.run(*ip, "route", "add", "default", "via", GATEWAYS[i])
            for other in self.cluster.nodes:
                if other is not self:
                    self.namespaces.run(*ip, "route", "replace", other.subnets[i], "via", other.addresses[i])
        self.namespaces.run("nft", "-f", "-", input=node_config.masquerade(PODS))


class Nodes(Cluster):
    """A Cluster with nodes, scheduler and CoreDNS."""

    def __init__(self, nodes=2, dns=True, images=None, dual_stack=False):
        """images: more for load() before the nodes join; dual_stack: IPv6 beside IPv4, for pods and Services."""
        remove_stale_cgroups()
        ranges = [f"--service-cluster-ip-range={SERVICES},{SERVICES_V6}"] if dual_stack else []
        super().__init__(controllers=("*", "-node-ipam-controller"), scheduler=True, api_flags=ranges)
        self.dual_stack = dual_stack
        self.nodes = [Node(self, number + 1) for number in range(nodes)]
        self._dns, self._images, self._archives = dns, dict(images or {}), 0

    def __getitem__(self, name):
        return next(node for node in self.nodes if node.name == name)

    def __enter__(self):
        super().__enter__()
        try:
            self._start_nodes()
        except BaseException:
            self.close()
            raise
        return self

    def close(self):
        for node in self.nodes:
            node.close()
        super().close()

    def load(self, images, nodes=None):
        """Makes images (names -> what image.write() takes) known to every node, or to those given."""
        archive = self.folder / f"images{self._archives}.tar"
        self._archives += 1
        image.write(archive, images)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.load(archive), nodes or self.nodes))
        archive.unlink()

    def wait_pods(self, namespace, selector=None, within=60):
        """Until every pod of a namespace (that a label selector names) is Ready; returns them."""
        def ready():
            pods = self.get("pods", "-n", namespace, *(["-l", selector] if selector else []))["items"]
            waiting = [pod["metadata"]["name"] for pod in pods if not is_ready(pod)]
            assert pods and not waiting, f"not ready: {waiting or 'no pod'}"
            return pods
        return eventually(ready, within, f"pods of {namespace}", pause=0.2)

    def rollout(self, *what, namespace="default", within=90):
        """Until `kubectl rollout status` says that these, e.g. "deployment/web", are complete."""
        for one in what:
            self.kubectl("rollout", "status", one, "-n", namespace, f"--timeout={within}s", within=within + 10)

    def _prepare(self):
        if self.dual_stack:
            self.namespaces.run("ip", "-6", "addr", "add", f"{GATEWAYS[1]}/64", "dev", "br0", "nodad")
        for node in self.nodes:
            node.boot()
        self.load({**image.pause(), **self._images})
        if self._dns:
            server = image.Layer().add("coredns", KUBERNETES / "coredns").add("tmp/.keep", b"")
            self.load({COREDNS: (["/coredns"], [server])}, self.nodes[:1])

    def _start_nodes(self):
        self.kubectl("create", "clusterrolebinding", "kube-proxy", "--clusterrole=system:node-proxier",
                     "--user=system:kube-proxy", check=False)
        for node in self.nodes:
            node.join()
        if self._dns:
            self.apply(node_config.coredns(COREDNS, self.nodes[0].name))
        for node in self.nodes:
            eventually(lambda: is_ready(self.get("node", node.name)), what=f"node {node.name} ready", pause=0.2)
        if self._dns:
            self.rollout("deployment/coredns", namespace="kube-system")


def is_ready(item):
    """Whether a pod or a node says of itself that it is Ready."""
    conditions = item.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def main(*programs):
    """unittest.main() of a suite on nodes, which is skipped where something that it needs is missing."""
    cluster.main(lack=missing(*programs))
