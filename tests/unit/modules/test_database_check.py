"""The check of a database outside the stack: TLS as PostgreSQL negotiates it, with the right authority and the right name."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.berth.stack.plugins.modules.database_check import SSL_REQUEST, tls_version

NAME = "db.example.test"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of key.pem and cert.pem, a certificate of NAME that is its own authority."""
    place = tmp_path_factory.mktemp("tls")
    request = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
    subprocess.run(
        ["openssl", "req", "-x509", *request, "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=place, check=True, capture_output=True,
    )  # fmt: skip
    return place


@pytest.fixture
def server(certificate: Path) -> Iterator[Callable[[bytes], int]]:
    """server(answer): the port of a server that answers SSLRequest so, once."""
    threads, listeners = [], []

    def start(answer: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

        def serve() -> None:
            with listener.accept()[0] as client, suppress(OSError):
                client.sendall(answer if client.recv(8) == SSL_REQUEST else b"E")
                if answer == b"S":
                    context.wrap_socket(client, server_side=True).close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        threads.append(thread)
        listeners.append(listener)
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.close()
    for thread in threads:
        thread.join(5)


def test_the_right_authority_and_name_are_accepted(server: Callable[[bytes], int], certificate: Path) -> None:
    assert tls_version(NAME, "127.0.0.1", server(b"S"), (certificate / "cert.pem").read_text()).startswith("TLSv1.")


def test_another_name_is_refused(server: Callable[[bytes], int], certificate: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        tls_version("other.example.test", "127.0.0.1", server(b"S"), (certificate / "cert.pem").read_text())


def test_another_authority_is_refused(server: Callable[[bytes], int], certificate: Path, tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x", "-keyout", "k",
         "-out", "c"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(ssl.SSLCertVerificationError):
        tls_version(NAME, "127.0.0.1", server(b"S"), (tmp_path / "c").read_text())


@pytest.mark.parametrize(
    ("answer", "words"), [(b"N", "does not offer TLS"), (b"H", "does not answer as PostgreSQL does"), (b"", "does not")]
)
def test_a_server_without_tls_is_refused(server: Callable[[bytes], int], certificate: Path, answer: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tls_version(NAME, "127.0.0.1", server(answer), (certificate / "cert.pem").read_text())


def test_a_file_without_a_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="ca_file has no certificate"):
        tls_version(NAME, "127.0.0.1", 1, "nothing")


def test_a_port_where_nobody_listens_is_an_error(certificate: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        tls_version(NAME, "127.0.0.1", port, (certificate / "cert.pem").read_text())
