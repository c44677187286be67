"""The configuration of what runs on a node, as text for each file."""

import json


def kubelet(pki, name, static_pods):
    return json.dumps({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "failCgroupV1": False, "cgroupDriver": "cgroupfs",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                           "x509": {"clientCAFile": str(pki / "ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / f"{name}.crt"), "tlsPrivateKeyFile": str(pki / f"{name}.key"),
        "clusterDNS": ["10.96.0.10"], "clusterDomain": "cluster.local",
        "staticPodPath": static_pods, "fileCheckFrequency": "1s",
        "resolvConf": "/run/node/resolv.conf", "failSwapOn": False,
        # Tests change pods and their configuration all the time and wait for it.
        "syncFrequency": "5s", "nodeStatusUpdateFrequency": "5s", "configMapAndSecretChangeDetectionStrategy": "Watch",
        "serializeImagePulls": False, "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%",
                         "nodefs.inodesFree": "1%"}})


# restrict_oom_score_adj: not every root may lower its processes' score, and then no pod starts.
CONTAINERD = """version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "local.test/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
"""


def proxy(kubeconfig, name, pods):
    return json.dumps({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "nftables",
        "clusterCIDR": pods, "clientConnection": {"kubeconfig": str(kubeconfig)}, "hostnameOverride": name,
        "nftables": {"minSyncPeriod": "100ms"},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}})


def network(subnets):
    """Pods with an address of each subnet. The primary plugin. ipMasq is off: with it, addresses between nodes would be the nodes'."""
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [
        {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}] for subnet in subnets],
                  "routes": [{"dst": "::/0" if ":" in subnet else "0.0.0.0/0"} for subnet in subnets]}},
        {"type": "portmap", "capabilities": {"portMappings": True}}]})


def masquerade(pods):
    """What leaves the network of pods, and only that, has the node's address."""
    return (f"table ip pods {{ chain leave {{ type nat hook postrouting priority srcnat; "
            f"ip saddr {pods} ip daddr != {{ {pods}, 224.0.0.0/4 }} masquerade; }}; }}\n")


COREFILE = """.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 5
    }
    cache 5
    loop
    reload
}
"""


def coredns(image, node):
    """CoreDNS as clusters have it, on one node: objects for `kubectl apply`."""
    def meta(name, **more):
        return {"name": name, "namespace": "kube-system", **more}
    role = "system:coredns"
    labels = {"k8s-app": "kube-dns"}
    pod = {
        "nodeSelector": {"kubernetes.io/hostname": node}, "serviceAccountName": "coredns",
        "dnsPolicy": "Default", "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 1, "containers": [{
            "name": "coredns", "image": image, "imagePullPolicy": "Never", "args": ["-conf", "/etc/coredns/Corefile"],
            "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
            "ports": [{"containerPort": 53, "protocol": "UDP", "name": "dns"}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1}}],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}]}
    rules = [{"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"],
              "verbs": ["list", "watch"]},
             {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}]
    rbac = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("coredns")},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": role}, "rules": rules},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": role},
         "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role},
         "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}]},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("coredns"), "data": {"Corefile": COREFILE}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("coredns", labels=labels),
         "spec": {"replicas": 1, "selector": {"matchLabels": labels},
                  "template": {"metadata": {"labels": labels}, "spec": pod}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta("kube-dns", labels=labels),
         "spec": {"selector": labels, "clusterIP": "10.96.0.10", "ports": [
             {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]}}]
