"""The cluster's certificates, keys and kubeconfigs, made with openssl in a folder."""

import base64
import json
import pathlib
import subprocess
import time


def openssl(*arguments, stdin=None):
    done = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True)
    assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr.decode()}"
    return done.stdout


def unpadded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Pki:
    """One CA for servers and clients, and the key that service account tokens are signed with."""

    def __init__(self, folder, server):
        """server: the URL that kubeconfigs name."""
        self.folder, self._server, self._serial = pathlib.Path(folder), server, 0
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca = self.folder / "ca.crt"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                "/CN=kube-ca", "-days", "30", "-keyout", self.folder / "ca.key", "-out", self.ca,
                "-addext", "keyUsage=critical,keyCertSign,digitalSignature")
        openssl("genrsa", "-out", self.folder / "sa.key", "2048")
        openssl("rsa", "-in", self.folder / "sa.key", "-pubout", "-out", self.folder / "sa.pub")

    def issue(self, name, subject, names=None, days=30):
        """A certificate for a server of these names ("DNS:..,IP:..") or, without names, for a client.

        Returns the paths of the certificate and its key.
        """
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        request = openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                          "-subj", subject, "-keyout", key)
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n" if names
                              else "extendedKeyUsage=clientAuth\n")
        self._serial += 1
        openssl("x509", "-req", "-CA", self.ca, "-CAkey", self.folder / "ca.key", "-set_serial", self._serial,
                "-days", days, "-extfile", extensions, "-out", certificate, stdin=request)
        extensions.unlink()
        return certificate, key

    def kubeconfig(self, name, user):
        """Writes NAME.conf for a user as a kubeconfig has it, e.g. {"token": ..}, and returns its path."""
        path = self.folder / f"{name}.conf"
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": self._server,
                                                    "certificate-authority": str(self.ca)}}],
            "users": [{"name": "it", "user": user}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}]}))
        return path

    def client(self, name, groups=()):
        """A kubeconfig with a client certificate for this user name in these groups."""
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={name}"
        file = name.replace(":", "-").replace("/", "-")
        certificate, key = self.issue(file, subject)
        return self.kubeconfig(file, {"client-certificate": str(certificate), "client-key": str(key)})

    def signed_token(self, claims, lifetime=600):
        """A token with these claims, signed as the API server signs service accounts' tokens.

        For what the API itself would not give: lifetime (seconds) may be negative, any claim wrong.
        """
        now = int(time.time())
        body = {"iat": now - 3600, "nbf": now - 3600, "exp": now + lifetime, **claims}
        signed = b".".join(unpadded(json.dumps(part).encode()) for part in ({"alg": "RS256"}, body))
        signature = openssl("dgst", "-sha256", "-sign", self.folder / "sa.key", stdin=signed)
        return b".".join((signed, unpadded(signature))).decode()
