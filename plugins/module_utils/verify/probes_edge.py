"""Probes of the edge in front of an application: its certificate, its names, its headers."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from urllib.parse import urlsplit

from .app_client import Broken, Browser
from .probes import Evidence, Probes, Step

# OWASP's list (Secure Headers Project), and those that disclose the software.
SECURITY_HEADERS = (
    "strict-transport-security",
    "content-security-policy",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "permissions-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "x-permitted-cross-domain-policies",
)
DISCLOSING = ("server", "x-powered-by")


class Edge(Probes):
    """Transport, and what every answer carries."""

    def steps(self) -> list[Step]:
        return [
            Step("tls", "The edge speaks TLS with a certificate of its authority, and nothing in the clear", self.tls),
            Step("headers", "Answers carry the headers that browsers protect users by", self.headers),
        ]

    def tls(self) -> Evidence:
        url = urlsplit(self.options["url"])
        address = self.options["connect"] or url.hostname
        with (
            socket.create_connection((address, url.port or 443), 10) as plain,
            self.web.context.wrap_socket(plain, server_hostname=url.hostname) as secure,
        ):
            version, certificate = secure.version(), secure.getpeercert()
        if not certificate:
            raise Broken("this client verifies no certificate: its checks of the edge prove nothing")
        if version not in ("TLSv1.2", "TLSv1.3"):
            raise Broken(f"the edge speaks {version}")
        days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / 86400
        if self.options["ca"]:
            # Who does not know the authority must be turned away: else this client verifies nothing, and its other steps prove nothing.
            stranger = Browser(self.options["url"], "", self.options["connect"], 10)
            try:
                stranger("GET", "/health", expect=None)
            except Broken as error:
                if "certificate" not in str(error).lower():
                    raise
            else:
                raise Broken("a client that does not trust the edge's authority was served: certificates are not verified")
        wrong = Browser(f"https://wrong-name.invalid:{url.port or 443}", self.options["ca"], address, 10)
        try:
            wrong("GET", "/health", expect=None)
        except Broken:
            pass
        else:
            raise Broken("the edge's certificate was taken for another name: names are not verified")
        clear = ""
        if self.options["http_port"]:
            connection = http.client.HTTPConnection(address, self.options["http_port"], timeout=10)
            connection.request("GET", "/api/tasks", headers={"Host": url.hostname})
            answer = connection.getresponse()
            target = answer.getheader("Location") or ""
            if answer.status not in (301, 302, 307, 308) or not target.startswith("https://"):
                raise Broken(f"http://…:{self.options['http_port']}/api/tasks answered {answer.status}, not a redirect to https")
            clear = f"; http is redirected ({answer.status})"
        return (
            f"{version}, certificate for {certificate['subjectAltName'][0][1]}, {days:.1f} days left; strangers' trust is refused{clear}",
            {"days": days},
        )

    def headers(self) -> Evidence:
        paths = ("/", "/health", "/api/tasks", "/nothing-is-here", "/metrics")
        for path in paths:
            headers = {name.lower() for name in self.web("GET", path, expect=None)[1]}
            if missing := [name for name in SECURITY_HEADERS if name not in headers]:
                raise Broken(f"{path} lacks {', '.join(missing)}")
            if present := [name for name in DISCLOSING if name in headers]:
                raise Broken(f"{path} discloses {', '.join(present)}")
        return f"{len(SECURITY_HEADERS)} headers at each of {', '.join(paths)}"
