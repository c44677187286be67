"""Certificate authorities made by the openssl command, as an operator would make them."""

import pathlib
import subprocess


def openssl(*args, input=None):
    done = subprocess.run(["openssl", *map(str, args)], input=input, capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise AssertionError(f"openssl {args}: {done.stderr}")
    return done.stdout


class Authority:
    """A root with one intermediate that signs, in `folder`: root.pem, ca.pem, ca.key."""

    def __init__(self, folder, name):
        self.folder = pathlib.Path(folder) / name
        self.folder.mkdir()
        self.name = name
        (self.folder / "ca.cnf").write_text("basicConstraints=critical,CA:TRUE,pathlen:0\n"
                                            "keyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n")
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl("req", "-x509", *key, "-keyout", self / "root.key", "-out", self / "root.pem", "-days", 30, "-subj",
                f"/O=e2e/CN={name} root", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        openssl("req", "-new", *key, "-keyout", self / "ca.key", "-out", self / "ca.csr", "-subj",
                f"/O=e2e/CN={name} intermediate")
        openssl("x509", "-req", "-in", self / "ca.csr", "-CA", self / "root.pem", "-CAkey", self / "root.key",
                "-CAcreateserial", "-days", 20, "-extfile", self / "ca.cnf", "-out", self / "ca.pem")

    def revoke(self, serials, file):
        """Writes a CRL of the intermediate's with these serials (hexadecimal) in place."""
        listed = "".join(f"R\t400101000000Z\t250101000000Z\t{serial}\tunknown\t/CN=x\n" for serial in serials)
        (self / "index.txt").write_text(listed)
        (self / "ca-db.cnf").write_text(f"[ca]\ndefault_ca=own\n[own]\ndatabase={self / 'index.txt'}\n"
                                        "default_md=sha256\ndefault_crl_days=7\ncrl_extensions=ext\n"
                                        "[ext]\nauthorityKeyIdentifier=keyid:always\n")
        openssl("ca", "-config", self / "ca-db.cnf", "-gencrl", "-cert", self / "ca.pem", "-keyfile", self / "ca.key",
                "-out", self / "new.crl")
        (self / "new.crl").rename(file)

    def __truediv__(self, name):
        return self.folder / name

    def text(self, name):
        return (self / name).read_text()


def write_cacerts(folder, signer, roots):
    """Puts the four files of Istio's `cacerts` in place, one after the other, as an editor would."""
    for name, text in (("root-cert.pem", "".join(root.text("root.pem") for root in roots)),
                       ("cert-chain.pem", signer.text("ca.pem") + signer.text("root.pem")),
                       ("ca-cert.pem", signer.text("ca.pem")), ("ca-key.pem", signer.text("ca.key"))):
        beside = pathlib.Path(folder) / ("." + name)
        beside.write_text(text)
        beside.chmod(0o600)
        beside.rename(pathlib.Path(folder) / name)
