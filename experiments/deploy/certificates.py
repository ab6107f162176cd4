"""Certificates and node keys of a deployment.

TLS shows clients that they talk to their own SuperLink; a node's key shows the
SuperLink who dials in. Neither protects an update: that is what its encryption is for.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
    load_ssh_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from experiments.deploy import layout
from experiments.errors import SettingsError
from experiments.keysets import write_private

DEFAULT_DAYS: Final = 825
OWN_NAMES: Final = ("superlink", "localhost", "127.0.0.1", "::1")
_CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True)
class Authority:
    """Who signs a deployment's certificates.

    Attributes:
        certificate: Everybody pins it.
        key: Signs; stays at home.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, days: int) -> "Authority":
        """Make a key and a certificate that it signs itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder("unseen deployment", key.public_key(), days)
        usage = _usage(key_cert_sign=True, crl_sign=True)
        certificate = (
            builder.issuer_name(_name("unseen deployment"))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, SHA256())
        )
        return cls(certificate, key)

    def write(self, folder: Path) -> None:
        """Write `ca.crt` and `ca.key`."""
        write_certificate(folder / layout.CA_CERTIFICATE, self.certificate)
        write_private(folder / layout.CA_KEY, _private_text(self.key))

    def certify_server(self, folder: Path, names: Sequence[str], days: int) -> None:
        """Write the SuperLink's `tls.crt`, for all its names, and `tls.key`."""
        key = ec.generate_private_key(ec.SECP256R1())
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(
            self.key.public_key()
        )
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        certificate = (
            _builder("unseen superlink", key.public_key(), days)
            .issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(purpose, critical=False)
            .add_extension(identifier, critical=False)
            .add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]),
                critical=False,
            )
            .sign(self.key, SHA256())
        )
        write_certificate(folder / layout.TLS_CERTIFICATE, certificate)
        write_private(folder / layout.TLS_KEY, _private_text(key))


def write_certificate(path: Path, certificate: x509.Certificate) -> None:
    """Write a certificate in PEM."""
    write_private(path, certificate.public_bytes(Encoding.PEM).decode())


def write_node_key(folder: Path) -> bytes:
    """Write a fresh `node.key` and `node.pub` and return the latter.

    A NIST P-384 key in OpenSSH's format, which is what Flower's nodes take.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    write_private(folder / layout.NODE_KEY, private.decode())
    write_private(folder / layout.NODE_PUBLIC, public.decode() + "\n")
    return public


def read_certificate(path: Path) -> x509.Certificate:
    """Read a certificate.

    Raises:
        SettingsError: If it is missing, unreadable or none.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise SettingsError(f"{path} is not a certificate") from None


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read the private key of a certificate or a node.

    Raises:
        SettingsError: If it is missing, unreadable or no such key.
    """
    try:
        text = path.read_bytes()
        load = load_ssh_private_key if b"OPENSSH" in text else load_pem_private_key
        key = load(text, password=None)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise SettingsError(f"{path} is not a private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SettingsError(f"{path} is not an elliptic-curve key")
    return key


def read_node_public(path: Path) -> ec.EllipticCurvePublicKey:
    """Read the public key of a node.

    Raises:
        SettingsError: If it is missing, unreadable or no such key.
    """
    try:
        key = load_ssh_public_key(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise SettingsError(f"{path} is not a node's public key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SettingsError(f"{path} is not an elliptic-curve key")
    return key


def is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether an authority signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def days_left(certificate: x509.Certificate) -> int:
    """Return the whole days until a certificate ends; negative once it has."""
    return (certificate.not_valid_after_utc - datetime.now(UTC)).days


def server_names(certificate: x509.Certificate) -> list[str]:
    """Return the names that a server's certificate is for."""
    extension = certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return [str(name.value) for name in extension.value]


def _builder(
    name: str, public_key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(**allowed: bool) -> x509.KeyUsage:
    """Return a key usage with all but the named bits off."""
    bits = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment"),
            *("data_encipherment", "key_agreement", "key_cert_sign", "crl_sign"),
            *("encipher_only", "decipher_only"),
        ),
        False,
    )
    return x509.KeyUsage(**(bits | allowed))


def _private_text(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
