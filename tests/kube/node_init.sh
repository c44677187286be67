#!/bin/sh
# What a node does first, in namespaces of its own: a view of the machine in which all that a kubelet, a
# container runtime and what runs under them write is the node's alone.
#   node_init.sh join CGROUP COMMAND..    joins a cgroup of every hierarchy, then becomes the command
#   node_init.sh boot FOLDER NAME         the mounts; then only keeps the namespaces
set -e

join() {
  for hierarchy in /sys/fs/cgroup/*/; do
    mkdir -p "$hierarchy$1"
    if [ -e "$hierarchy/cpuset.cpus" ]; then  # a cpuset that is empty takes no process
      path=$hierarchy
      for part in $(echo "$1" | tr / ' '); do
        for file in cpuset.cpus cpuset.mems; do cat "$path/$file" >"$path/$part/$file"; done
        path=$path/$part
      done
    fi
    echo $$ >"$hierarchy$1/cgroup.procs"
  done
}

# The hierarchies again, as the cgroup namespace shows them.
mount_cgroups() {
  names=$(cd /sys/fs/cgroup && echo *)
  umount -R /sys/fs/cgroup
  mount -t tmpfs tmpfs /sys/fs/cgroup
  for name in $names; do
    mkdir "/sys/fs/cgroup/$name"
    case $name in
      unified) mount -t cgroup2 cgroup2 "/sys/fs/cgroup/$name" ;;
      systemd) mount -t cgroup -o none,name=systemd cgroup "/sys/fs/cgroup/$name" ;;
      *) mount -t cgroup -o "$name" cgroup "/sys/fs/cgroup/$name" ;;
    esac
  done
}

# The kubelet sets these for the whole machine, as no namespace holds them: it finds its values set already.
hide_sysctls() {
  for pair in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file=/run/node/$(echo "${pair%=*}" | tr / .)
    echo "${pair#*=}" >"$file"
    mount --bind "$file" "/proc/sys/${pair%=*}"
  done
}

boot() {
  folder=$1
  hostname "$2"
  mount -t tmpfs tmpfs /run
  mkdir -p /run/node /run/netns /run/lock
  : >/run/node/resolv.conf  # pods find the cluster's DNS, and nothing beyond it
  for part in etc opt var; do
    mkdir -p "/run/node/$part" "/run/node/$part.work"
    mount -t overlay overlay -o "lowerdir=/$part,upperdir=/run/node/$part,workdir=/run/node/$part.work" "/$part"
  done
  mkdir -p /var/lib/cni /var/lib/kubelet /var/lib/containerd /var/log/pods /var/log/containers
  mkdir -p /etc/cni/net.d /etc/kubernetes/manifests /opt/cni/bin "$folder/kubelet" "$folder/containerd"
  mount --bind "$folder/kubelet" /var/lib/kubelet  # no overlay: the runtime puts overlays of its own there
  mount --bind "$folder/containerd" /var/lib/containerd
  ln -sf /usr/lib/cni/* /opt/cni/bin/
  cp "$folder"/conf/*.conflist /etc/cni/net.d/
  mount_cgroups
  hide_sysctls
  mount -t bpf bpf /sys/fs/bpf
  mount --make-rshared /
  sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 \
    net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0 net.bridge.bridge-nf-call-ip6tables=1
  ip link set lo up
  touch "$folder/booted"
  trap '' CHLD  # survives exec: the kernel reaps what comes to this init
  exec sleep infinity
}

verb=$1
shift
case $verb in
  join) cgroup=$1 && shift && join "$cgroup" && exec "$@" ;;
  boot) boot "$@" ;;
esac
