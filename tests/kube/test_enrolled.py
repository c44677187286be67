"""Pods of all kinds that a real kubelet starts, in the mesh: what Kubernetes promises of them still holds."""

import json

import nodes
from mesh import CAPTURED
from pods import NS, container, pod, service
from processes import eventually
from suite import MeshSuite


class Enrolled(MeshSuite):
    objects = [pod("web", "kn2", container(port=8080, ports=[{"containerPort": 8080, "hostPort": 18080}])),
               service("web", 80, 8080), pod("ask", "kn1"), pod("near", "kn2"),
               pod("outside", "kn1", namespace="default")]

    def pins(self):
        """How many pods of kn2 are captured, by what is pinned for them."""
        return int(self.mesh["kn2"].run("sh", "-c", "ls /sys/fs/bpf/weft/kn2 | grep -c ^deliver"))

    def test_between_nodes_over_hbone_with_the_client_s_address(self):
        self.assertEqual(self.ask(), (200, self.address("ask")))
        address = self.address("web")

        def logged():
            lines = self.mesh.access_log("kn2").splitlines()
            return [line for line in lines if f"{address}:15008" in line and f"ns/{NS}/sa/default" in line]
        self.assertIn('direction="inbound"', eventually(logged, what="the access log")[-1])

    def test_on_one_node(self):
        self.assertEqual(self.ask("near"), (200, self.address("near")))

    def test_from_outside_the_mesh(self):
        url = f"http://{self.address('web')}:8080/"
        self.assertEqual(self.ask("outside", url, "default"), (200, self.address("outside", "default")))

    def test_logs_and_exec(self):
        self.ask(url="http://web/logged")
        eventually(lambda: "asked /logged" in self.mesh.kubectl("logs", "-n", NS, "web"), what="the log")
        said = self.mesh.kubectl("exec", "-n", NS, "-i", "web", "--", "cat", input="through standard input")
        self.assertEqual(said, "through standard input")

    def test_host_port(self):
        said = self.mesh["kn1"].run("curl", "-sS", "--max-time", "5", "http://172.30.0.12:18080/")
        self.assertEqual(said, "172.30.0.11")

    def test_host_network_pod_is_left_alone_and_reaches_services(self):
        self.mesh.apply(pod("host", "kn1", hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"))
        self.mesh.wait_pods(NS, "app=host")
        self.works("host")
        self.assertNotIn(CAPTURED, self.get("host")["metadata"].get("annotations", {}))

    def test_init_containers_are_in_the_mesh(self):
        """The first process of a pod is captured: it waits for nothing, and its call is as the pod's."""
        first = container("first", command=["curl", "-sS", "--fail", "--max-time", "10", "http://web/first"])
        beside = container("beside", port=7001, restartPolicy="Always", startupProbe={"tcpSocket": {"port": 7001}})
        del beside["readinessProbe"]
        self.mesh.apply(pod("starts", "kn1", container("a", 7002), container("b", 7003), initContainers=[first, beside]))
        ready = self.mesh.wait_captured(NS, "app=starts")[0]
        self.assertEqual(len(ready["status"]["containerStatuses"]), 2)
        self.assertEqual(self.mesh.kubectl("logs", "-n", NS, "starts", "-c", "first"), ready["status"]["podIP"])
        for port in (7001, 7002, 7003):
            self.assertEqual(self.ask("near", f"http://{ready['status']['podIP']}:{port}/")[0], 200)
        self.assertEqual(ready["status"]["initContainerStatuses"][0]["restartCount"], 0)

    def test_a_static_pod(self):
        """The kubelet's own: it knows it by another uid than the API server does."""
        file = self.mesh["kn2"].path(f"{nodes.STATIC_PODS}/fixed.json")
        fixed = pod("fixed", "kn2", container(port=8080))
        del fixed["spec"]["nodeSelector"]
        file.write_text(json.dumps(fixed))
        self.mesh.apply(service("fixed", 80, 8080))
        ready = eventually(lambda: self.mesh.wait_captured(NS, "app=fixed", within=5), within=60, what="the static pod")[0]
        self.assertEqual(ready["metadata"]["name"], "fixed-kn2")
        self.works(url="http://fixed/")
        eventually(lambda: f"{ready['status']['podIP']}:15008" in self.mesh.access_log("kn2"), what="HBONE to it")
        before = self.pins()
        file.unlink()
        eventually(lambda: self.mesh.get("pods", "-n", NS, "-l", "app=fixed")["items"] == [], what="its end")
        eventually(lambda: self.pins() == before - 1, what="the pins of the pods that remain on kn2")

    def test_a_container_restarts_in_place(self):
        self.mesh.apply([pod("again", "kn2", container(port=8080), container("other")), service("again", 80, 8080)])
        before = self.mesh.wait_captured(NS, "app=again")[0]
        self.works(url="http://again/")
        self.ask(url="http://again/exit")

        def restarted():
            now = self.get("again")
            main = next(one for one in now["status"]["containerStatuses"] if one["name"] == "main")
            return main["restartCount"] == 1 and nodes.is_ready(now) and now
        now = eventually(restarted, what="a restart")
        self.assertEqual(now["status"]["podIP"], before["status"]["podIP"])
        self.works(url="http://again/")

    def test_a_pod_that_is_there_before_its_namespace_is_labelled(self):
        self.namespace("late", enrol=False)
        self.mesh.apply([pod("web", "kn2", container(port=8080), namespace="late"), pod("ask", "kn1", namespace="late"),
                         service("web", 80, 8080, "late")])
        self.mesh.wait_pods("late")
        self.works(namespace="late")
        self.mesh.enrol("late")
        self.mesh.wait_captured("late")
        self.assertEqual(self.ask(namespace="late"), (200, self.address("ask", "late")))
        eventually(lambda: f"{self.address('web', 'late')}:15008" in self.mesh.access_log("kn1"), what="HBONE")
        self.mesh.kubectl("label", "namespace", "late", "istio.io/dataplane-mode-")
        eventually(lambda: all(CAPTURED not in one["metadata"].get("annotations", {})
                               for one in self.mesh.get("pods", "-n", "late")["items"]), what="pods out of the mesh")
        self.works(namespace="late")

    def test_pods_that_are_gone_leave_nothing(self):
        self.mesh.apply(pod("gone", "kn2"))
        self.mesh.wait_captured(NS, "app=gone")
        before = self.pins()
        self.mesh.kubectl("delete", "pod", "gone", "-n", NS)
        eventually(lambda: self.pins() == before - 1, what="the pins of the pods that remain")

    def test_events_name_no_trouble_of_ours(self):
        events = self.mesh.get("events", "-n", NS)["items"]
        ours = [one["message"] for one in events if "weft" in one["message"] and one["type"] == "Warning"]
        self.assertEqual(ours, [], json.dumps(ours))


if __name__ == "__main__":
    nodes.main("helm")
