"""An outside scanner (sslscan) against a real server of ours, with each kind of key; the table in docs/security.md.

`python -P loadtests/tls_scan.py [--docs]`; `make tls-scan`. Exit code 1 if anything is offered that should not be.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import ssl
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from rfm_runtime import SecureProgressServer

DOCUMENT = Path(__file__).parent.parent / "docs" / "security.md"
BEGIN, END = "<!-- made by `make tls-scan`: begin -->", "<!-- made by `make tls-scan`: end -->"
SCAN_S = 120

KEYS: dict[str, Any] = {
    "ECDSA P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RSA 2048": lambda: rsa.generate_private_key(65537, 2048),
}
OLD = ("SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1")
NEW = ("TLSv1.2", "TLSv1.3")


def certificate(folder: Path, key: Any) -> tuple[Path, Path]:
    """Of a server on loopback, signed by itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path, key_path = folder / "server.pem", folder / "server.key"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.touch(mode=0o600)
    plain = serialization.NoEncryption()
    key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return path, key_path


def scan(key: Any) -> tuple[ET.Element, str]:
    """What sslscan finds, and which one it is."""
    with tempfile.TemporaryDirectory(prefix="rfm-") as folder:
        path, key_path = certificate(Path(folder), key)
        with SecureProgressServer(port=0, ssl_cert_file=path, ssl_key_file=key_path, memory=True) as server:
            target = server.url.removeprefix("wss://")
            command = ["sslscan", "--no-colour", "--xml=-", target]
            done = subprocess.run(command, capture_output=True, check=True, timeout=SCAN_S)
    document = ET.fromstring(done.stdout)
    found = document.find("ssltest")
    if found is None:
        raise RuntimeError(done.stdout.decode(errors="replace"))
    return found, document.attrib["version"]


def versions(found: ET.Element) -> dict[str, bool]:
    """Which are offered."""
    names = {"ssl": "SSLv", "tls": "TLSv"}
    protocols = [one.attrib for one in found.iter("protocol")]
    return {names[one["type"]] + one["version"]: one["enabled"] == "1" for one in protocols}


def suites(found: ET.Element, version: str) -> list[str]:
    """In the server's order."""
    return [one.attrib["cipher"] for one in found.iter("cipher") if one.attrib["sslversion"] == version]


def attribute(found: ET.Element, name: str, key: str) -> str:
    """Of an element that is there once, or not at all."""
    element = found.find(name)
    return "" if element is None else element.attrib[key]


def faults(found: ET.Element) -> list[str]:
    """What is offered and should not be, or the other way round."""
    offered = versions(found)
    wrong = [f"{version} is offered" for version in OLD if offered.get(version)]
    wrong += [f"{version} is not offered" for version in NEW if not offered.get(version)]
    for name in suites(found, "TLSv1.2"):
        if not name.startswith("ECDHE-") or not ("GCM" in name or "CHACHA20" in name):
            wrong.append(f"{name} is offered")
    if attribute(found, "renegotiation", "supported") == "1" and attribute(found, "renegotiation", "secure") != "1":
        wrong.append("renegotiation that is not secure is offered")
    bled = [one.attrib["sslversion"] for one in found.iter("heartbleed") if one.attrib["vulnerable"] == "1"]
    wrong += [f"heartbleed in {version}" for version in bled]
    return wrong


def row(name: str, found: ET.Element) -> str:
    """Of the table."""
    offered = versions(found)
    yes_or_no = {"1": "yes", "0": "no"}
    cells = [
        name,
        ", ".join(version for version, is_offered in offered.items() if is_offered),
        ", ".join(version for version, is_offered in offered.items() if not is_offered),
        *(", ".join(f"`{one}`" for one in suites(found, version)) for version in reversed(NEW)),
        ", ".join(dict.fromkeys(one.attrib["name"].partition(" ")[0] for one in found.iter("group"))),
        yes_or_no[attribute(found, "renegotiation", "supported")],
        "; ".join(faults(found)) or "nothing",
    ]
    return f"| {' | '.join(cells)} |"


def table(found: dict[str, ET.Element], version: str) -> str:
    """With its head."""
    heads = ("key", "offered", "refused", "suites of 1.3", "suites of 1.2", "groups", "renegotiation")
    ours, today = ssl.OPENSSL_VERSION.split()[1], f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    lines = [
        f"sslscan {version}, a server with OpenSSL {ours}, {today}:",
        "",
        f"| {' | '.join(heads)} | wrong |",
        "| --- " * (len(heads) + 1) + "|",
        *(row(name, one) for name, one in found.items()),
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", action="store_true", help="write the table into docs/security.md")
    arguments = parser.parse_args()
    if shutil.which("sslscan") is None:
        print("sslscan is not installed: on Debian, apt-get install sslscan", file=sys.stderr)
        return 2
    scans = {name: scan(make()) for name, make in KEYS.items()}
    found = {name: one for name, (one, _) in scans.items()}
    text = table(found, next(version for _, version in scans.values()))
    print(text)
    if arguments.docs:
        before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
    wrong = [f"{name}: {what}" for name, one in found.items() for what in faults(one)]
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
