"""How large a request an application takes: where its source receives files, and the limit that it names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from .checks import TESTS, Tree, line_of
from .found import Found, Part

RECEIVES = re.compile(r"\bUploadFile\b|[=,]\s*File\(")
# MAX_UPLOAD_BYTES = 5 * 1024 * 1024, max_file_size_mb: int = 20, UPLOAD_LIMIT = 10_000_000
LIMIT = re.compile(
    r"^[ \t]*(\w*max\w*(?:upload|file|body|content|attachment|image|photo)\w*|\w*(?:upload|file|attachment)\w*(?:max|limit)\w*)"
    r"[ \t]*(?::[^=\n]+)?=[ \t]*(\d[\d_ \t*]*)",
    re.I | re.M,
)
ACTIONS = re.compile(r"bodySizeLimit\s*:\s*[\"'`](\d+)\s*(kb|mb|gb)[\"'`]", re.I)
UNITS = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
# What is taken for a limit where the source receives files and names none, in MB.
USUAL = 20
# Most of /tmp, which is in memory; concurrent uploads beyond it fail in the application.
LARGEST_TMP = 256
CONCURRENT = 8


def _bytes(name: str, text: str) -> int:
    number = math.prod(int(one.replace("_", "")) for one in text.split("*") if one.strip())
    unit = next((size for unit, size in UNITS.items() if re.search(rf"_{unit}$", name, re.I)), 1)
    return number * unit


def _limit(tree: Tree, paths: Iterable[str]) -> tuple[int, str]:
    """(bytes, file:line) of the largest limit that the source names; 0 for none."""
    best = (0, "")
    for path in paths:
        text = tree.text(path) or ""
        for match in LIMIT.finditer(text):
            if (size := _bytes(match[1], match[2])) >= 64 * 1024:  # less is a number of files, or of characters
                best = max(best, (size, f"{path}:{line_of(text, match.start())}"))
    return best


def of_backend(part: Part, tree: Tree) -> None:
    """Bodies of the size of the files that the backend receives, and room for them in /tmp, where Starlette buffers what is over 1 MB."""
    code = [path for path in tree.files if path.endswith(".py") and not TESTS.search(path)]
    texts = {path: tree.text(path) or "" for path in code}
    found = ((path, match) for path, text in texts.items() if (match := RECEIVES.search(text)))
    receives = next((f"{path}:{line_of(texts[path], match.start())}" for path, match in found), "")
    if not receives:
        return
    size, named = _limit(tree, code)
    # Multipart adds its boundaries and headers.
    megabytes = math.ceil((size + 64 * 1024) / (1 << 20)) if size else USUAL
    why = "the source's limit for files" if size else "it receives files, and names no limit for them"
    part.found["edge_max_body"] = Found("edge_max_body", f"{megabytes}MB", "likely", named or receives, why)
    room = min(max(64, CONCURRENT * megabytes), LARGEST_TMP)
    part.add("tmp_size", f"{room}m", "likely", receives, f"uploads are buffered there, {CONCURRENT} at once")
    if megabytes > LARGEST_TMP:
        part.notes.append(
            f"the backend takes files of {megabytes} MB ({named}), more than /tmp holds: set backend_image_tmp_size, backend_image_memory"
        )


def of_frontend(part: Part, config: str, where: str) -> None:
    """Bodies of the size that Next.js takes for server actions (bodySizeLimit)."""
    if match := ACTIONS.search(config):
        megabytes = math.ceil((int(match[1]) * UNITS[match[2].upper()] + 64 * 1024) / (1 << 20))
        part.found["edge_max_body"] = Found("edge_max_body", f"{megabytes}MB", "likely", where, "the limit of server actions")
