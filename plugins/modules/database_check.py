#!/usr/bin/python
"""Check that a PostgreSQL outside the stack can be reached, and that its certificate is the right one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_check
short_description: Check that a PostgreSQL outside the stack can be reached, and that its certificate is the right one
description:
  - Connects from the host, asks for TLS as a client does, and verifies the server's certificate and its name with the authority's
    certificate. Nobody logs in. Changes nothing.
  - Refuses a stack that has a database of its own, whose data would be left behind.
  - With O(database), logs in with each login of the services instead, in a container of the stack.
options:
  address: {description: The server's name., type: str, default: ""}
  hostaddr: {description: "Its IP address, where the name is not in DNS.", type: str, default: ""}
  port: {description: The server's port., type: int, default: 5432}
  authority: {description: "Certificate of the authority, in PEM format.", type: str, default: ""}
  own: {description: Name of the container of a database of the stack's own., type: str, default: ""}
  directory: {description: State directory of the stack., type: path, default: ""}
  database: {description: "The database of a release's manifest (module_utils/data/external.py).", type: dict, default: {}}
  uses: {description: What the logins to try are for., type: list, elements: str, default: []}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Check that the database can be reached
  berth.stack.database_check: {address: db.example.com, port: 5432, authority: "{{ lookup('ansible.builtin.file', 'db-ca.pem') }}"}
"""

RETURN = r"""
tls: {description: The TLS version of the connection., type: str, returned: where the server was asked}
"""

import socket
import ssl
import struct

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.data.dumps import DumpError
from ..module_utils.data.external import External
from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.state.store import Store

SECONDS = 10
# Length, and the code of SSLRequest (PostgreSQL's protocol, "SSL Session Encryption").
SSL_REQUEST = struct.pack("!ii", 8, 80877103)


def tls_version(address: str, hostaddr: str, port: int, authority: str) -> str:
    """The TLS version that the server speaks. Raises OSError (also of TLS) or ValueError with what is wrong."""
    try:
        context = ssl.create_default_context(cadata=authority)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"database_external.ca_file has no certificate in PEM format: {error}") from error
    with socket.create_connection((hostaddr or address, port), SECONDS) as plain:
        plain.sendall(SSL_REQUEST)
        if (answer := plain.recv(1)) != b"S":
            problem = "does not offer TLS" if answer == b"N" else "does not answer as PostgreSQL does"
            raise ValueError(f"the server {problem}; database_external requires sslmode=verify-full")
        with context.wrap_socket(plain, server_hostname=address) as encrypted:
            return encrypted.version() or ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "default": ""},
            "hostaddr": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 5432},
            "authority": {"type": "str", "default": ""},
            "own": {"type": "str", "default": ""},
            "directory": {"type": "path", "default": ""},
            "database": {"type": "dict", "default": {}},
            "uses": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    if given["database"]:
        database = External(Engine(), given["database"])
        try:
            # In check mode there may be neither networks nor secrets yet.
            refused = [] if module.check_mode and not database.running() else database.refused_logins(given["uses"])
        except (DumpError, EngineError) as error:
            refused = [str(error)]
        if refused:
            lines = "".join(f"\n  {line}" for line in refused)
            module.fail_json(
                msg=f"Logins of database_external cannot connect to {database.place}. The database and what runs were not changed.{lines}\n"
                "Correct database_external.users, or the passwords (SECRET_BACKEND_PASSWORD, ...), or the rights at the server"
            )
        module.exit_json(changed=False)
    if given["own"] and given["own"] in Store(given["directory"]).infrastructure["containers"]:
        module.fail_json(
            msg=f"database_external is set, and this stack has a database of its own ({given['own']}), whose data would be left behind. "
            "Nothing was changed. Deploy with another STACK_NAME beside it and copy the data (make backup, pg_restore), or remove "
            "database_external"
        )
    where = f"{given['address']}:{given['port']}" + (f" ({given['hostaddr']})" if given["hostaddr"] else "")
    try:
        version = tls_version(given["address"], given["hostaddr"], given["port"], given["authority"])
    except ssl.SSLCertVerificationError as error:
        module.fail_json(
            msg=f"The certificate of the database at {where} is refused: {error.verify_message}. Nothing was changed. "
            "Check database_external.address (the name in the certificate) and ca_file (the authority that signed it)"
        )
    except (OSError, ValueError) as error:
        module.fail_json(
            msg=f"The database at {where} cannot be used from this host: {error}. Nothing was changed. Check database_external, and "
            "that the server admits this host"
        )
    module.exit_json(changed=False, tls=version)


if __name__ == "__main__":
    main()
