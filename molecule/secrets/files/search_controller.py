"""Search directories of the controller for secrets: search_controller.py DIRECTORY..., the records of generations on stdin.

Prints {found: [file: secret], logs: bytes of Ansible's output that were looked at}.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from urllib.parse import quote

decoder, text, values = json.JSONDecoder(), sys.stdin.read().strip(), {}
while text:
    record, end = decoder.raw_decode(text)
    text = text[end:].strip()
    for name, value in record["values"].items():
        for each in [value, *record["history"][name]["previous"]]:
            values |= {each.encode(): name, quote(each, safe="").encode(): name}
pattern = re.compile(b"|".join(re.escape(value) for value in values))
# Where the test itself says what the secrets are.
own = re.compile(r"/(inventory|molecule[.]yml|state[.]yml)(/|$)")

found, logs = [], 0
for path in (path for root in sys.argv[1:] for path in Path(root).rglob("*")):
    if path.is_file() and not own.search(str(path)):
        content = path.read_bytes()
        logs += len(content) if path.suffix == ".log" else 0
        found += [f"{path}: {values[match]}" for match in set(pattern.findall(content))]
print(json.dumps({"found": found, "logs": logs}))
