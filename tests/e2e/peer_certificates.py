"""Certificates of a sandbox's own root, right ones and wrong ones."""

import datetime
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


class Issuer:
    """Signs with the key of the sandbox's control, as control would; NAME.pem in `folder` is key and certificate."""

    def __init__(self, box):
        root = box.run / "control"
        self.root = x509.load_pem_x509_certificate((root / "root-cert.pem").read_bytes())
        self.key = serialization.load_pem_private_key((root / "root-key.pem").read_bytes(), None)
        self.folder = pathlib.Path(box.folder.name)
        (self.folder / "roots.pem").write_bytes((root / "root-cert.pem").read_bytes())

    def issue(self, name, *uris, hours=(-1, 24), signed=True, usages=(CLIENT, SERVER)):
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.utcnow()
        issuer = self.root.subject if signed else x509.Name([])
        made = (x509.CertificateBuilder().subject_name(x509.Name([])).public_key(key.public_key())
                .issuer_name(issuer).serial_number(x509.random_serial_number())
                .not_valid_before(now + datetime.timedelta(hours=hours[0]))
                .not_valid_after(now + datetime.timedelta(hours=hours[1]))
                .add_extension(x509.ExtendedKeyUsage(usages), False)
                .add_extension(x509.BasicConstraints(False, None), True))
        if uris:
            made = made.add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris]), True)
        certificate = made.sign(self.key if signed else key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        (self.folder / f"{name}.pem").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            + certificate.public_bytes(pem))
