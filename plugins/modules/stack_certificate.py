#!/usr/bin/python
"""Keep a certificate for a service inside the stack, of an authority that the stack has for itself."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.ownership import CREATED

DOCUMENTATION = r"""
module: stack_certificate
short_description: Keep a certificate for a service inside the stack, of an authority that the stack has for itself
description:
  - Makes the authority on the host, once, and a certificate for the service, and makes either again before it ends. The authority keeps
    its key then, so that clients which know the old certificate of the authority accept the new one of the service.
  - What is there is tried, not read. A client that knows the authority shakes hands with a server that has the certificate and its key, in
    memory; what that client would refuse is made again.
  - The host needs no OpenSSL. An image that has C(openssl) and C(sh) makes the keys, in a container without network, disk or log.
options:
  image: {description: Image that has openssl., type: str, required: true}
  labels: {description: Labels of the stack., type: dict, default: {}}
  authority: {description: "Directory of the authority, root's alone: C(ca.key), C(ca.crt).", type: path, required: true}
  directory: {description: "Directory of the certificate: C(server.key), C(server.crt).", type: path, required: true}
  names: {description: "Names or addresses of the service, the first also as common name.", type: list, elements: str, required: true}
  uid: {description: User who reads the key., type: int, required: true}
  days: {description: Days that a certificate is valid., type: int, default: 730}
  renew_days: {description: Days before its end when it is made again., type: int, default: 180}
  authority_days: {description: Days that the authority is valid., type: int, default: 7300}
"""

EXAMPLES = r"""
- name: Have a certificate for the database
  berth.stack.stack_certificate:
    image: berth-database:1a2b3c
    authority: /var/lib/berth/authority
    directory: /var/lib/berth/database
    names: [database]
    uid: 70
"""

RETURN = r"""
authority: {description: "Certificate of the authority, PEM.", type: str, returned: always}
days_left: {description: Days until the service's certificate ends., type: int, returned: always}
actions: {description: "What was done, and why.", type: list, elements: str, returned: always}
"""

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
    """Days that a strict client which knows `authority` will accept the server. Raises OSError (ssl.SSLError is one) when it does not."""
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
    return (ssl.cert_time_to_seconds(client.getpeercert()["notAfter"]) - time.time()) / DAY


def authority_days_left(authority: Path) -> float:
    """Days until the authority's certificate ends."""
    known = ssl.create_default_context(cafile=str(authority)).get_ca_certs()
    return (min(ssl.cert_time_to_seconds(each["notAfter"]) for each in known) - time.time()) / DAY


def judge(authority: Path, directory: Path, names: list[str], renew_days: int) -> tuple[str, str, float]:
    """(why the authority is to be made again, why the certificate is, days that it has left); a reason is empty where it is fit."""
    ca, crt, key = authority / "ca.crt", directory / "server.crt", directory / "server.key"
    if not (authority / "ca.key").is_file() or not ca.is_file():
        return "there is none", "its authority is new", 0
    try:
        if authority_days_left(ca) < 2 * renew_days:
            return "it ends soon", "its authority is made again", 0
    except (OSError, ValueError) as error:
        return f"it cannot be read: {error}", "its authority is made again", 0
    if not crt.is_file() or not key.is_file():
        return "", "there is none", 0
    try:
        left = min(days_left(ca, crt, key, name) for name in names)
    except OSError as error:
        return "", f"clients would refuse it: {getattr(error, 'verify_message', '') or error}", 0
    return "", "" if left > renew_days else f"it ends in {left:.0f} days", left


def alternatives(names: list[str]) -> str:
    """subjectAltName of names and addresses, as openssl takes it."""
    return ",".join(f"{'IP' if re.fullmatch(r'[0-9.]+|.*:.*', name) else 'DNS'}:{name}" for name in names)


def make(module: AnsibleModule, given: str, new_authority: bool) -> list[str]:
    """The four PEM texts that MAKE prints."""
    wanted = module.params
    variables = {
        "authority": "new" if new_authority else "kept",
        "authority_days": str(wanted["authority_days"]),
        "days": str(wanted["days"]),
        "stack": wanted["labels"].get("berth.stack", "stack"),
        "name": wanted["names"][0],
        "names": alternatives(wanted["names"]),
    }
    name = f"{variables['stack']}-certificate-{os.getpid()}"
    command = ["docker", "run", "--rm", "--name", name, "--label", f"{CREATED}={name}", "--interactive", "--network", "none"]
    command += ["--read-only", "--tmpfs", "/tmp:size=1m,mode=1777"]
    # A key must not reach the engine's log of the container.
    command += ["--log-driver", "none", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "65534:65534"]
    command += [word for key, value in wanted["labels"].items() for word in ("--label", f"{key}={value}")]
    command += [word for key, value in variables.items() for word in ("--env", f"{key}={value}")]
    command += ["--entrypoint", "/bin/sh", wanted["image"], "-c", MAKE]
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=False)
    except BaseException:
        # The engine runs on what its client was told to start.
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, timeout=60, check=False)
        raise
    made = PEM.findall(done.stdout)
    if done.returncode or len(made) != 4:
        module.fail_json(
            msg=f"the image {wanted['image']} could not make a certificate (status {done.returncode}): {done.stderr.strip()[-500:]}"
        )
    return made


def put(path: Path, content: str, mode: int, uid: int = 0) -> None:
    """Replace a file whole."""
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
    wanted: dict[str, Any] = module.params
    authority, directory = Path(wanted["authority"]), Path(wanted["directory"])
    authority_wrong, wrong, left = judge(authority, directory, wanted["names"], wanted["renew_days"])
    what = ", ".join(wanted["names"])
    actions = [f"make the stack's authority ({authority_wrong})"] if authority_wrong else []
    actions += [f"make the certificate of {what} ({wrong})"] if wrong else []
    if actions and not module.check_mode:
        for folder, mode in ((authority, 0o700), (directory, 0o711)):
            folder.mkdir(parents=True, exist_ok=True)
            os.chmod(folder, mode)
        kept = [authority / name for name in ("ca.key", "ca.crt")]
        given = "".join(path.read_text() for path in kept if path.is_file()) if kept[0].is_file() else ""
        ca_key, ca_crt, key, crt = make(module, given, bool(authority_wrong))
        put(authority / "ca.key", ca_key, 0o400)
        put(authority / "ca.crt", ca_crt, 0o444)
        # Between these two the server, were it to look, would keep what it has: a pair that does not fit is refused by a reload.
        put(directory / "server.key", key, 0o400, wanted["uid"])
        put(directory / "server.crt", crt, 0o444)
        left = min(days_left(authority / "ca.crt", directory / "server.crt", directory / "server.key", name) for name in wanted["names"])
    known = authority / "ca.crt"
    module.exit_json(
        changed=bool(actions),
        authority=known.read_text() if known.is_file() else "",
        days_left=int(left),
        actions=actions,
        diff={"before_header": what, "after_header": what, "before": "", "after": "".join(f"{action}\n" for action in actions)},
    )


if __name__ == "__main__":
    main()
