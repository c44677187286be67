"""Both DaemonSets and control replaced under load, by a real controller: nobody in the mesh notices."""

import nodes
import release
from pods import NS, load, pod, served, service
from processes import eventually
from release import NAMESPACE, RELEASE
from suite import MeshSuite


class Rollouts(MeshSuite):
    objects = served()

    def restart(self, *what):
        for one in what:
            self.mesh.kubectl("rollout", "restart", one, "-n", NAMESPACE)
        self.mesh.rollout(*what, namespace=NAMESPACE, within=150)

    def test_ztunnels(self):
        with load(self.mesh):
            self.restart("daemonset/weft-ztunnel")

    def test_agents(self):
        with load(self.mesh):
            self.restart("daemonset/weft-agent")

    def test_helm_upgrade_and_rollback(self):
        def drain():
            """What the ztunnels that run were told."""
            return {argument for one in self.mesh.weft_pods("weft-ztunnel") for argument in
                    one["spec"]["containers"][0]["args"] if argument.startswith("--drain-time")}
        before = drain()
        with load(self.mesh):
            self.mesh.install("ztunnel.drainSeconds=12", verb="upgrade")
            eventually(lambda: drain() == {"--drain-time=12"}, what="ztunnels of the new release only")
            release.helm(self.mesh, "rollback", RELEASE, "-n", NAMESPACE)
            self.mesh.wait_installed()
            eventually(lambda: drain() == before, what="ztunnels of the old release only")

    def test_a_deployment_of_the_user(self):
        """Its pods are replaced while they answer: what they have begun they finish, and nobody is sent to one that ends."""
        spec = pod("rolled", "kn1")["spec"]
        del spec["nodeSelector"]
        spec = {**spec, "terminationGracePeriodSeconds": 8, "containers": served()[0]["spec"]["containers"]}
        labels = {"app": "rolled"}
        self.mesh.apply([service("rolled", 80, 8080), {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "rolled", "namespace": NS},
            "spec": {"replicas": 3, "selector": {"matchLabels": labels},
                     "template": {"metadata": {"labels": labels}, "spec": spec}}}])
        self.mesh.wait_captured(NS, "app=rolled")
        with load(self.mesh, "http://rolled"):
            self.mesh.kubectl("rollout", "restart", "deployment/rolled", "-n", NS)
            self.mesh.rollout("deployment/rolled", namespace=NS)
            eventually(lambda: len(self.mesh.get("pods", "-n", NS, "-l", "app=rolled")["items"]) == 3,
                       what="the old ones gone")

    def test_all_at_once(self):
        with load(self.mesh):
            self.restart("daemonset/weft-agent", "daemonset/weft-ztunnel", "deployment/weft-control")
        self.new_pod_is_captured()


if __name__ == "__main__":
    nodes.main("helm")
