"""Print the TCP ports that answer at an address, of all there are: open_ports.py ADDRESS."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "plugins/module_utils/verify"))
from netns import accepted

AT_ONCE = 500

if __name__ == "__main__":
    address = sys.argv[1]
    for first in range(1, 65536, AT_ONCE):
        for _, port in sorted(accepted(((address, port) for port in range(first, min(first + AT_ONCE, 65536))), 2)):
            print(port)
