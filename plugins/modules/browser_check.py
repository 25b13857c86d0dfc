#!/usr/bin/python
"""Check a page in a real browser without a window, where the controller has one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: browser_check
short_description: Check a page in a real browser without a window
description:
  - Loads the page in Chromium or Chrome and returns its console's errors and its elements to use.
  - No browser is a result, not a failure.
options:
  url: {description: Address of the page., type: str, required: true}
  ca: {description: "Certificate (PEM) of the authority to trust, by its key; empty for the public ones.", type: str, default: ""}
  connect: {description: "Address to connect to instead of the URL's host.", type: str, default: ""}
  seconds: {description: Time for the page., type: int, default: 15}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Check the page
  berth.stack.browser_check: {url: "https://localhost:8443", ca: "{{ certificate }}"}
"""

RETURN = r"""
page:
  description: "C(loaded), C(why) there is no browser, C(name), C(errors) of the console, C(elements) to use, C(title)."
  type: dict
  returned: always
"""

import base64
import hashlib
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule

CONSOLE = re.compile(r'CONSOLE[:(]\d+\)?\] "(.*?)", source: (\S*)')
# A browser requests it, whether or not a page has one.
ICON = "/favicon.ico"
ERROR = re.compile(r"Uncaught|Error|error|refused|Refused|violates|Failed to load", re.S)


def key_hash(url: str, ca: str, connect: str) -> str:
    """The hash of the key that the server shows, as Chromium's --ignore-certificate-errors-spki-list wants it.

    The certificate is verified against `ca` here, so that the browser may believe it; openssl takes the key out.
    """
    parts = urlsplit(url)
    context = ssl.create_default_context(cadata=ca)
    with (
        socket.create_connection((connect or parts.hostname, parts.port or 443), 10) as plain,
        context.wrap_socket(plain, server_hostname=parts.hostname) as secure,
    ):
        certificate = ssl.DER_cert_to_PEM_cert(secure.getpeercert(True) or b"")
    key = subprocess.run(
        ["openssl", "x509", "-pubkey", "-noout"], input=certificate.encode(), capture_output=True, check=True
    ).stdout.decode()
    body = "".join(line for line in key.splitlines() if not line.startswith("-----"))
    return base64.b64encode(hashlib.sha256(base64.b64decode(body)).digest()).decode()


def check(url: str, ca: str, connect: str, seconds: int) -> dict[str, Any]:
    browser = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    if browser is None:
        return {"loaded": False, "why": "the controller has no Chromium or Chrome to check the page with"}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
            f"--user-data-dir={profile}", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=4000", "--dump-dom",
        ]  # fmt: skip
        if ca:
            command.append(f"--ignore-certificate-errors-spki-list={key_hash(url, ca, connect)}")
        if connect:
            host = url.split("://", 1)[1].split("/")[0].rsplit(":", 1)[0]
            command.append(f"--host-resolver-rules=MAP {host} {connect}")
        try:
            ended = subprocess.run([*command, url], capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return {"loaded": False, "why": f"{browser} did not show the page within {seconds} s"}
    dom, log = ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace")
    if "<html" not in dom:
        return {"loaded": False, "why": f"{browser} ended with {ended.returncode}: {log.strip()[-300:]}"}
    version = subprocess.run([browser, "--version"], capture_output=True, check=False).stdout.decode().strip()
    title = re.search(r"<title>(.*?)</title>", dom, re.S)
    return {
        "loaded": True,
        "name": version,
        "errors": [f"{text[:300]} ({source})" for text, source in CONSOLE.findall(log) if ERROR.search(text) and not source.endswith(ICON)],
        "elements": len(re.findall(r"<(?:input|button|textarea|select|a)\b", dom)),
        "title": title[1].strip() if title else "",
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "ca": {"type": "str", "default": ""},
            "connect": {"type": "str", "default": ""},
            "seconds": {"type": "int", "default": 15},
        },
        supports_check_mode=True,
    )
    try:
        page = check(**module.params)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        page = {"loaded": False, "why": f"the browser could not be used: {error}"}
    module.exit_json(changed=False, page=page)


if __name__ == "__main__":
    main()
