"""Certificates that sign themselves, made with openssl, for fakes that speak TLS.

Concurrency: blocking; each in a directory of its own.
"""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


class Certificate:
    """One certificate for ``names`` ("IP:127.0.0.1", "DNS:api.test"). ``serving``: what a server shows it with;
    ``trusting()``: what a client needs to believe it."""

    def __init__(self, place: Path, *names: str) -> None:
        self.file = place / "cert.pem"
        key = place / "key.pem"
        words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        words += ["-subj", "/CN=x", "-addext", f"subjectAltName={','.join(names)}"]
        words += ["-keyout", str(key), "-out", str(self.file)]
        subprocess.run(["openssl", *words], check=True, capture_output=True)
        self.serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.serving.load_cert_chain(self.file, key)

    def trusting(self) -> ssl.SSLContext:
        """The system's trust, and this."""
        context = ssl.create_default_context()
        context.load_verify_locations(self.file)
        return context
