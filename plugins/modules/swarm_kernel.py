#!/usr/bin/python
"""Tell which of the kernel's parts that Swarm's networks can use are there."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: swarm_kernel
short_description: Tell which of the kernel's parts that Swarm's networks can use are there
description:
  - Encrypted overlays need IPsec; a virtual address for a service, and the mesh that publishes ports on all nodes, need IPVS. An engine
    whose kernel lacks them reports no error, and packets are lost.
  - Whether IPsec works is tried, with an association between addresses that nobody has; it is removed at once.
"""

EXAMPLES = r"""
- name: Look at the kernel
  berth.stack.swarm_kernel:
  register: __kernel
"""

RETURN = r"""
ipvs: {description: Whether services can have a virtual address., type: bool, returned: always}
encryption: {description: Whether overlays can be encrypted., type: bool, returned: always}
reason: {description: Why they cannot., type: str, returned: always}
"""

# RFC 5737 addresses for documentation; the algorithm is the one that the engine uses.
STATE = ["src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "spi", "0xbe27"]
CIPHER = ["mode", "transport", "aead", "rfc4106(gcm(aes))", "0x" + "11" * 20, "64"]


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    # Loads the module where it is one; what counts is whether it is there afterwards.
    if (modprobe := module.get_bin_path("modprobe")) is not None:
        module.run_command([modprobe, "--quiet", "ip_vs"])
    ip = module.get_bin_path("ip")
    if ip is None:
        encryption, reason = False, "iproute2 is missing, so it could not be tried"
    else:
        status, _, said = module.run_command([ip, "xfrm", "state", "add", *STATE, *CIPHER])
        encryption, reason = status == 0, said.strip()
        if encryption:
            module.run_command([ip, "xfrm", "state", "delete", *STATE], check_rc=True)
    module.exit_json(changed=False, ipvs=Path("/proc/net/ip_vs").exists(), encryption=encryption, reason=reason)


if __name__ == "__main__":
    main()
