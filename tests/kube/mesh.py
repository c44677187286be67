"""Nodes with Weft installed by Helm, as its users install it, of the programs that were just built.

    with Mesh() as mesh:
        mesh.install()
        mesh.enrol("default")
"""

import json

import image
import release
from nodes import Nodes, is_ready
from processes import eventually
from release import BIN, CHART, NAMESPACE, ROOT

SHOP = ROOT / "scripts/shop"
CAPTURED = "ambient.istio.io/redirection"  # the annotation by which a node says that a pod is captured


def chart_version():
    for line in (CHART / "Chart.yaml").read_text().splitlines():
        if line.startswith("appVersion:"):
            return line.split(":", 1)[1].strip().strip('"')
    raise AssertionError("Chart.yaml has no appVersion")


class Mesh(Nodes):
    """Two nodes that know the images of Weft and of the shop; nothing is installed yet."""

    def __init__(self, **options):
        images = {**image.weft(BIN, chart_version()), **image.shop(SHOP), **options.pop("images", {})}
        super().__init__(images=images, **options)

    def install(self, *values, verb="install"):
        """helm install (or upgrade), values as `name=value`; returns when all of it is ready."""
        release.install(self, *values, verb=verb)
        self.wait_installed()

    def wait_installed(self):
        try:
            self.rollout("deployment/weft-control", "daemonset/weft-agent", "daemonset/weft-ztunnel",
                         namespace=NAMESPACE, within=60)
        except AssertionError as problem:
            raise AssertionError(f"{problem}\n{self.explain(NAMESPACE)}") from problem

    def uninstall(self):
        release.uninstall(self, "--wait")

    def enrol(self, namespace="default", **labels):
        """Labels a namespace as in the mesh."""
        words = [f"{name}={value}" for name, value in (labels or {"istio.io/dataplane-mode": "ambient"}).items()]
        self.kubectl("label", "namespace", namespace, "--overwrite", *words)

    def wait_captured(self, namespace="default", selector=None, within=60):
        """Until every pod is Ready and says that its node captured it; returns the pods."""
        def captured():
            pods = self.wait_pods(namespace, selector, within=1)
            waiting = [pod["metadata"]["name"] for pod in pods
                       if pod["metadata"].get("annotations", {}).get(CAPTURED) != "enabled"]
            assert not waiting, f"not captured: {waiting}"
            return pods
        try:
            return eventually(captured, within, f"pods of {namespace} captured", pause=0.2)
        except AssertionError as problem:
            raise AssertionError(f"{problem}\n{self.explain(namespace)}\n{self.explain(NAMESPACE)}") from problem

    def apply_shop(self, *but):
        """kubectl apply of the shop's manifests as they are, without the files named."""
        for file in sorted((SHOP / "manifests").glob("*.yaml")):
            if file.name not in ("no-visitors.yaml", *but):
                self.kubectl("apply", "-f", file)

    def policy(self, name, namespace, **spec):
        """An AuthorizationPolicy with this spec."""
        self.apply({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                    "metadata": {"name": name, "namespace": namespace}, "spec": spec})

    def mutual_tls(self, namespace, mode):
        """The PeerAuthentication of a namespace."""
        self.apply({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
                    "metadata": {"name": "default", "namespace": namespace}, "spec": {"mtls": {"mode": mode}}})

    def curl(self, pod, url, *flags, namespace="default"):
        """curl in a pod: (status, body); status 0 where there was no answer at all, and body is curl's error."""
        done = self.kubectl("exec", "-n", namespace, pod, "--", "curl", "-sS", "--max-time", "10",
                            "-w", "\n%{http_code}", *flags, url, check=False)
        body, _, status = done.stdout.rpartition("\n")
        return (int(status), body) if done.returncode == 0 else (0, done.stderr)

    def weft_pods(self, name, node=None):
        """The pods of weft-control, weft-agent or weft-ztunnel, on one node where it is named."""
        pods = self.get("pods", "-n", NAMESPACE, "-l", f"app.kubernetes.io/name={name}")["items"]
        return [pod for pod in pods if node is None or pod["spec"].get("nodeName") == node]

    def access_log(self, node):
        """What the ztunnels of a node have written."""
        return "".join(self.kubectl("logs", "-n", NAMESPACE, pod["metadata"]["name"], "--tail=-1")
                       for pod in self.weft_pods("weft-ztunnel", node) if is_ready(pod))

    def explain(self, namespace):
        """What one would look at when pods do not come up: events, and the last words of each container."""
        said = [self.kubectl("get", "pods", "-n", namespace, "-o", "wide", check=False).stdout]
        events = self.kubectl("get", "events", "-n", namespace, "--field-selector=type=Warning", "-o",
                              "custom-columns=:involvedObject.name,:reason,:message", check=False).stdout
        said.append("\n".join(events.splitlines()[-15:]))
        for pod in json.loads(self.kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]:
            if not is_ready(pod) or namespace == NAMESPACE:
                for flag in ((), ("--previous",)):
                    log = self.kubectl("logs", "-n", namespace, pod["metadata"]["name"], "--tail=15",
                                       "--all-containers", *flag, check=False)
                    said.append(f"--- {pod['metadata']['name']} {' '.join(flag)}\n{log.stdout or log.stderr}")
        return "\n".join(said)

    def traces(self):
        """What could be of Weft on the nodes, in lines, for a comparison of before and after."""
        look = ("find /sys/fs/bpf/ /run/weft /var/lib/weft /opt/cni/bin /etc/cni/net.d 2>/dev/null; "
                "grep -l weft /etc/cni/net.d/*; ip rule; nft list tables; ")
        pods = "for ns in /run/netns/*; do nsenter --net=$ns ip rule; nsenter --net=$ns ss -Htln; done; "
        lines = {line for node in self.nodes for line in
                 (f"{node.name}: {said}" for said in node.run("sh", "-c", look + pods + "true").splitlines())}
        kernel = json.loads(self.nodes[0].run("bpftool", "-j", "link", "list"))
        cgroups = {node.cgroup().stat().st_ino: node.name for node in self.nodes}
        return lines | {f"{cgroups[link['cgroup_id']]}: {link['attach_type']}" for link in kernel
                        if link.get("cgroup_id") in cgroups}
