"""Container images as one OCI archive, made of this machine's own programs: no registry, no container tool.

An image is a name, what it runs, and layers; images that share a Layer share it in the archive and on the
node. `ctr images import` takes the archive.
"""

import hashlib
import io
import json
import pathlib
import re
import subprocess
import tarfile
import tempfile

USERS = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OCI = "application/vnd.oci.image"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def libraries(*programs):
    """The shared libraries, with the loader, that programs need; none for a static one."""
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True).stdout
    assert "not found" not in listed, f"{programs}: {listed}"
    return set(re.findall(r"(/\S+) \(0x", listed))


class Layer:
    """Files of a layer: add() what it holds; blob() is its tar, the same bytes for the same files."""

    def __init__(self):
        self._files, self._blob = {}, None

    def add(self, path, source, mode=0o755):
        """source: bytes, or the path of a file (a link is followed)."""
        self._files[path.lstrip("/")] = (source, mode)
        return self

    def program(self, path, at=None):
        """A program with all that it is linked to."""
        for library in libraries(path):
            self.add(library, library)
        return self.add(at or str(path), path)

    def tree(self, folder, without=()):
        """A folder at its own place."""
        for file in sorted(pathlib.Path(folder).rglob("*")):
            if file.is_file() and not set(file.relative_to(folder).parts) & set(without):
                self.add(str(file), file, 0o644)
        return self

    def blob(self):
        if self._blob is None:
            out, folders = io.BytesIO(), {""}
            with tarfile.open(fileobj=out, mode="w") as tar:
                for path, (source, mode) in sorted(self._files.items()):
                    for parent in reversed(pathlib.PurePath(path).parents):
                        self._folder(tar, str(parent), folders)
                    data = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
                    entry = tarfile.TarInfo(path)
                    entry.mode, entry.size = mode, len(data)
                    tar.addfile(entry, io.BytesIO(data))
            self._blob = out.getvalue()
        return self._blob

    @staticmethod
    def _folder(tar, path, seen):
        if path in seen or path == ".":
            return
        seen.add(path)
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if path == "tmp" else 0o755
        tar.addfile(entry)


def write(path, images):
    """images: names -> (what runs, as a list; layers, lowest first). A name has a registry and a tag."""
    blobs, manifests = {}, []

    def put(data, kind):
        blobs[digest(data)] = data
        return {"mediaType": f"{OCI}.{kind}", "digest": digest(data), "size": len(data)}

    for name, (runs, layers) in images.items():
        placed = [put(layer.blob(), "layer.v1.tar") for layer in layers]
        config = {"architecture": "amd64", "os": "linux",
                  "config": {"Entrypoint": runs, "Env": [PATH], "WorkingDir": "/"},
                  "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in placed]}}
        manifest = {"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json",
                    "config": put(json.dumps(config).encode(), "config.v1+json"), "layers": placed}
        manifests.append({**put(json.dumps(manifest).encode(), "manifest.v1+json"),
                          "annotations": {"io.containerd.image.name": name}})
    index = {"schemaVersion": 2, "manifests": manifests}
    with tarfile.open(path, "w") as tar:
        for name, data in {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode(),
                           **{f"blobs/sha256/{key[7:]}": data for key, data in blobs.items()}}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def stripped(program):
    """A program's bytes without what only a debugger reads."""
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["objcopy", "--strip-debug", program, out.name], check=True)
        return pathlib.Path(out.name).read_bytes()


def weft(programs, tag, registry="docker.io/library"):
    """The chart's images, of the programs in a folder; the libraries are one layer for both."""
    folder, shared = pathlib.Path(programs), Layer().add("etc/passwd", USERS.encode(), 0o644).add("tmp/.keep", b"")
    contents = {"weft-agent": ["weft-agent", "weft", "weft-cni"], "weft-ztunnel": ["weft-ztunnel"]}
    images = {}
    for image, names in contents.items():
        layer = Layer()
        for name in names:
            layer.add(f"usr/local/bin/{name}", stripped(folder / name))
            for needed in libraries(folder / name):
                shared.add(needed, needed)
        images[f"{registry}/{image}:{tag}"] = ([image], [shared, layer])
    return images
