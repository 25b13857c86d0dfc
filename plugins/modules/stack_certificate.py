#!/usr/bin/python
"""Create and renew a certificate for a service of the stack, by the stack's own certificate authority."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_certificate
short_description: Create and renew a certificate for a service of the stack, by the stack's own certificate authority
description:
  - Creates the authority and the service's certificate on the host, and renews both before they expire. A renewed authority keeps its
    key, so that clients with its old certificate accept new certificates of the service.
  - The existing certificate is tested by a TLS handshake in memory, between a client that trusts the authority and a server with the
    certificate and its key. A certificate that the client refuses is renewed.
  - The host needs no OpenSSL. An image with C(openssl) and C(sh) creates the keys, in a container without network, disk or log.
options:
  image: {description: Image that has openssl., type: str, required: true}
  labels: {description: Labels of the stack., type: dict, default: {}}
  authority: {description: "Directory of the authority, for root only: C(ca.key), C(ca.crt).", type: path, required: true}
  directory: {description: "Directory of the certificate: C(server.key), C(server.crt).", type: path, required: true}
  names: {description: "Names or addresses of the service, the first also as common name.", type: list, elements: str, required: true}
  uid: {description: User who reads the key., type: int, required: true}
  days: {description: Validity of a certificate in days., type: int, default: 730}
  renew_days: {description: Days before its expiry when it is renewed., type: int, default: 180}
  authority_days: {description: Validity of the authority in days., type: int, default: 7300}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Ensure that the database has a certificate
  berth.stack.stack_certificate:
    image: berth-database:1a2b3c
    authority: /var/lib/berth/authority
    directory: /var/lib/berth/database
    names: [database]
    uid: 70
"""

RETURN = r"""
authority: {description: "Certificate of the authority, PEM.", type: str, returned: always}
days_left: {description: Days until the service's certificate expires., type: int, returned: always}
actions: {description: "Changes made, and why.", type: list, elements: str, returned: always}
"""

import os
import re
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.ownership import CREATED

# No shell tools but the shell's own: the image has few programs. stdin: the authority's key and certificate, or nothing. stdout: its key
# and certificate, the service's key and certificate.
MAKE = r"""
set -eu; umask 077; cd /tmp
while IFS= read -r line; do echo "$line"; done > ca.pem
printf '[req]\ndistinguished_name = name\n[name]\n' > request.cnf
new_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }
certify() { openssl req -x509 -config request.cnf -sha256 -addext subjectKeyIdentifier=hash "$@"; }
[ -s ca.pem ] || new_key ca.pem
openssl pkey -in ca.pem -out ca.key
if [ "$authority" = new ]; then
    certify -key ca.key -out ca.crt -days "$authority_days" -subj "/CN=$stack authority" \
        -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign
else
    openssl x509 -in ca.pem -out ca.crt
fi
new_key server.key
certify -key server.key -CA ca.crt -CAkey ca.key -out server.crt -days "$days" -subj "/CN=$name" -addext "subjectAltName=$names" \
    -addext authorityKeyIdentifier=keyid -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature \
    -addext extendedKeyUsage=serverAuth
openssl pkey -in ca.key; openssl x509 -in ca.crt; openssl pkey -in server.key; openssl x509 -in server.crt
"""
PEM = re.compile(r"-----BEGIN [A-Z ]+-----\n.*?-----END [A-Z ]+-----\n", re.DOTALL)
DAY = 86400
STRICT = ssl.VERIFY_X509_STRICT


def days_left(authority: Path, certificate: Path, key: Path, name: str) -> float:
    """Days until a strict client that trusts `authority` refuses the server. Raises OSError (or ssl.SSLError) where it refuses it now."""
    trust = ssl.create_default_context(cafile=str(authority))
    trust.verify_flags |= STRICT
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate, key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(to_client, to_server, server_hostname=name)
    server = served.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, server]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    return (_expiry(client.getpeercert() or {}) - time.time()) / DAY


def _expiry(certificate: dict[str, Any]) -> float:
    return ssl.cert_time_to_seconds(str(certificate["notAfter"]))


def authority_days_left(authority: Path) -> float:
    """Days until the authority's certificate expires."""
    certificates = ssl.create_default_context(cafile=str(authority)).get_ca_certs()
    return (min(map(_expiry, certificates)) - time.time()) / DAY


def find_problems(authority: Path, directory: Path, names: list[str], renew_days: int) -> tuple[str, str, float]:
    """(why to renew the authority, why to renew the certificate, days that it has left); a reason is empty where it is valid."""
    ca, crt, key = authority / "ca.crt", directory / "server.crt", directory / "server.key"
    if not (authority / "ca.key").is_file() or not ca.is_file():
        return "it does not exist", "its authority is new", 0
    try:
        if authority_days_left(ca) < 2 * renew_days:
            return "it expires soon", "its authority is renewed", 0
    except (OSError, ValueError) as error:
        return f"it cannot be read: {error}", "its authority is renewed", 0
    if not crt.is_file() or not key.is_file():
        return "", "it does not exist", 0
    try:
        left = min(days_left(ca, crt, key, name) for name in names)
    except OSError as error:
        return "", f"clients refuse it: {getattr(error, 'verify_message', '') or error}", 0
    return "", "" if left > renew_days else f"it expires in {left:.0f} days", left


def alternatives(names: list[str]) -> str:
    """subjectAltName of names and addresses, in openssl's format."""
    return ",".join(f"{'IP' if re.fullmatch(r'[0-9.]+|.*:.*', name) else 'DNS'}:{name}" for name in names)


def make(module: AnsibleModule, given: str, new_authority: bool) -> list[str]:
    """The four PEM texts that MAKE prints."""
    params = module.params
    variables = {
        "authority": "new" if new_authority else "kept",
        "authority_days": str(params["authority_days"]),
        "days": str(params["days"]),
        "stack": params["labels"].get("berth.stack", "stack"),
        "name": params["names"][0],
        "names": alternatives(params["names"]),
    }
    name = f"{variables['stack']}-certificate-{os.getpid()}"
    command = ["docker", "run", "--rm", "--name", name, "--label", f"{CREATED}={name}", "--interactive", "--network", "none"]
    command += ["--read-only", "--tmpfs", "/tmp:size=1m,mode=1777"]
    # A key must not reach the engine's log of the container.
    command += ["--log-driver", "none", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "65534:65534"]
    command += [word for key, value in params["labels"].items() for word in ("--label", f"{key}={value}")]
    command += [word for key, value in variables.items() for word in ("--env", f"{key}={value}")]
    command += ["--entrypoint", "/bin/sh", params["image"], "-c", MAKE]
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=False)
    except BaseException:
        # The engine does not end the container with its client.
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, timeout=60, check=False)
        raise
    made = PEM.findall(done.stdout)
    if done.returncode or len(made) != 4:
        module.fail_json(
            msg=f"The image {params['image']} could not create a certificate (status {done.returncode}): {done.stderr.strip()[-500:]}"
        )
    return made


def put(path: Path, content: str, mode: int, uid: int = 0) -> None:
    """Replace a file atomically."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
        file.write(content)
    if os.geteuid() == 0:
        os.chown(scratch, uid, uid)
    os.chmod(scratch, mode)
    scratch.rename(path)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str", "required": True},
            "labels": {"type": "dict", "default": {}},
            "authority": {"type": "path", "required": True},
            "directory": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "uid": {"type": "int", "required": True},
            "days": {"type": "int", "default": 730},
            "renew_days": {"type": "int", "default": 180},
            "authority_days": {"type": "int", "default": 7300},
        },
        supports_check_mode=True,
    )
    params: dict[str, Any] = module.params
    authority, directory = Path(params["authority"]), Path(params["directory"])
    authority_wrong, wrong, left = find_problems(authority, directory, params["names"], params["renew_days"])
    what = ", ".join(params["names"])
    actions = [f"create the stack's certificate authority ({authority_wrong})"] if authority_wrong else []
    actions += [f"create the certificate of {what} ({wrong})"] if wrong else []
    if actions and not module.check_mode:
        for folder, mode in ((authority, 0o700), (directory, 0o711)):
            folder.mkdir(parents=True, exist_ok=True)
            os.chmod(folder, mode)
        kept = [authority / name for name in ("ca.key", "ca.crt")]
        given = "".join(path.read_text() for path in kept if path.is_file()) if kept[0].is_file() else ""
        ca_key, ca_crt, key, crt = make(module, given, bool(authority_wrong))
        put(authority / "ca.key", ca_key, 0o400)
        put(authority / "ca.crt", ca_crt, 0o444)
        # A reload of the server between these two is refused, because key and certificate do not match; it keeps the old ones.
        put(directory / "server.key", key, 0o400, params["uid"])
        put(directory / "server.crt", crt, 0o444)
        left = min(days_left(authority / "ca.crt", directory / "server.crt", directory / "server.key", name) for name in params["names"])
    certificate = authority / "ca.crt"
    module.exit_json(
        changed=bool(actions),
        authority=certificate.read_text() if certificate.is_file() else "",
        days_left=int(left),
        actions=actions,
        diff={"before_header": what, "after_header": what, "before": "", "after": "".join(f"{action}\n" for action in actions)},
    )


if __name__ == "__main__":
    main()
