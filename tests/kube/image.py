"""The images that pods of tests run, of this machine's own programs (scripts/lib/oci_image.py)."""

import pathlib
import sys
import sysconfig

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts/lib"))
from oci_image import USERS, Layer, libraries, weft, write  # noqa: E402,F401: also what suites take from here


def pause():
    """What holds a pod's namespaces: nothing but a process that waits."""
    return {"local.test/pause:1": (["/bin/sleep", "infinity"], [Layer().program("/bin/sleep")])}


def tools():
    """What tests run in pods: a shell, python with its library, curl."""
    layer = Layer().add("etc/passwd", USERS.encode(), 0o644).add("tmp/.keep", b"")
    for name in ("sh", "sleep", "cat", "ls", "env", "touch", "rm", "mkdir", "kill", "true", "false", "date"):
        layer.program(f"/bin/{name}")
    for name in ("curl", "python3"):
        layer.program(f"/usr/bin/{name}")
    library = pathlib.Path(sysconfig.get_path("stdlib", vars={"base": "/usr"}))
    layer.tree(library, {"__pycache__", "test", "lib2to3", "idlelib", "pydoc_data", "dist-packages", "ensurepip",
                         f"config-{sys.version_info.major}.{sys.version_info.minor}-x86_64-linux-gnu"})
    for needed in libraries(*(library / "lib-dynload").glob("*.so")):
        layer.add(needed, needed)
    return layer


def shop(folder):
    """The demo's images under the names that its manifests have, and the layer of tools below them."""
    base, code = tools(), Layer()
    for file in pathlib.Path(folder).glob("*.py"):
        code.add(f"shop/{file.name}", file)
    images = {f"docker.io/shop/{name}:1.0": (["python3", "-u", f"/shop/{name}.py"], [base, code])
              for name in ("users", "products", "orders")}
    images["docker.io/shop/client:1.0"] = (["sleep", "infinity"], [base])
    return images
