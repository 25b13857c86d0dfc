#!/usr/bin/python
"""Check the kernel for the features that a Swarm's networks use."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_kernel
short_description: Check the kernel for the features that a Swarm's networks use
description:
  - Encrypted overlays need IPsec; virtual IP addresses of services and the routing mesh, which publishes ports on all nodes, need IPVS.
    Without them the engine reports no error, and packets are lost.
  - IPsec is tested with an association between unused addresses, which is removed at once.
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Check the kernel
  berth.stack.swarm_kernel:
  register: __kernel
"""

RETURN = r"""
ipvs: {description: Whether services can have a virtual IP address., type: bool, returned: always}
encryption: {description: Whether overlays can be encrypted., type: bool, returned: always}
reason: {description: Why overlays cannot be encrypted., type: str, returned: always}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

# Documentation addresses of RFC 5737, and the engine's algorithm.
STATE = ["src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "spi", "0xbe27"]
CIPHER = ["mode", "transport", "aead", "rfc4106(gcm(aes))", "0x" + "11" * 20, "64"]


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    # IPVS may be a module that is not loaded yet.
    if (modprobe := module.get_bin_path("modprobe")) is not None:
        module.run_command([modprobe, "--quiet", "ip_vs"])
    ip = module.get_bin_path("ip")
    if ip is None:
        encryption, reason = False, "iproute2 is not installed, so IPsec could not be tested"
    else:
        status, _, stderr = module.run_command([ip, "xfrm", "state", "add", *STATE, *CIPHER])
        encryption, reason = status == 0, stderr.strip()
        if encryption:
            module.run_command([ip, "xfrm", "state", "delete", *STATE], check_rc=True)
    module.exit_json(changed=False, ipvs=Path("/proc/net/ip_vs").exists(), encryption=encryption, reason=reason)


if __name__ == "__main__":
    main()
