"""Weft as a release of Helm: the chart that was just built, and helm itself, on a Cluster."""

import os
import pathlib
import subprocess

from cluster import HERE, KUBERNETES

ROOT = HERE.parent.parent
BIN = pathlib.Path(os.environ.get("WEFT_BIN", ROOT / "build/dev/bin"))
CHART = BIN.parent / "chart/weft"  # with what the build adds
NAMESPACE = "istio-system"
RELEASE = "weft"


def helm(cluster, *arguments, check=True, within=180):
    """Helm's standard output, or, with check=False, the whole CompletedProcess."""
    state = cluster.folder / "helm"
    done = subprocess.run(
        cluster.enter(KUBERNETES / "helm", "--kubeconfig", cluster.admin, *arguments), capture_output=True, text=True,
        timeout=within, env={**os.environ, **{f"HELM_{kind}_HOME": str(state) for kind in ("CACHE", "CONFIG", "DATA")}})
    if not check:
        return done
    assert done.returncode == 0, f"helm {' '.join(map(str, arguments))}: {done.stderr}"
    return done.stdout


def install(cluster, *values, verb="install"):
    """helm install (or upgrade), values as `name=value`; the notes, once kubectl knows the kinds that it brought."""
    flags = [word for value in values for word in ("--set", value)]
    notes = helm(cluster, verb, RELEASE, CHART, "-n", NAMESPACE, "--create-namespace", *flags)
    cluster.wait_kinds()
    return notes


def weft(cluster, command, *arguments, path=KUBERNETES):
    """A weft command on this cluster, with helm and kubectl of one folder: the whole CompletedProcess."""
    environment = [f"PATH={path}", f"HOME={cluster.folder}"]
    return subprocess.run(
        cluster.enter("env", *environment, BIN / "weft", command, "--kubeconfig", cluster.admin, *arguments),
        capture_output=True, text=True, timeout=180)


def uninstall(cluster, *flags):
    helm(cluster, "uninstall", RELEASE, "-n", NAMESPACE, *flags)
