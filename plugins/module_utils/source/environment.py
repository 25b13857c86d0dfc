"""The environment variables that a source reads and that its example files document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .checks import PLACEHOLDER, Tree, line_of
from .findings import finding
from .variables import ORIGINS, kind


class Reads(dict[str, str]):
    """By variable: the place in the source that reads it. Searched only for the names that are asked for.

    `form` is the regular expression of a reading, with {name} where the variable's name stands.
    """

    def __init__(self, tree: Tree, paths: list[str], form: str) -> None:
        super().__init__()
        self.tree, self.paths, self.form = tree, paths, form

    def __contains__(self, name: object) -> bool:
        if not super().__contains__(name):
            words = re.compile(self.form.format(name=re.escape(str(name))), re.M)
            for path in self.paths:
                text = self.tree.text(path) or ""
                if match := words.search(text):
                    self[str(name)] = f"{path}:{line_of(text, match.start() + match[0].startswith(chr(10)))}"
                    break
        return super().__contains__(name)

    def mentions(self, word: str) -> bool:
        return any(word in (self.tree.text(path) or "") for path in self.paths)


def documented(
    tree: Tree, given: set[str], read: Reads, variable: str, built: str = "", build_variable: str = ""
) -> Iterator[dict[str, Any]]:
    """Variables that an example file documents without a usable value, that the source reads and that nothing gives.

    `variable`: the setting that gives them; `build_variable`: that of those with the prefix `built`, which the build writes into the pages.
    """
    for path in tree.written:
        if not re.search(r"(^|/)\.?env[^/]*(example|sample|template)$|(^|/)[^/]*\.env\.(example|sample)$", path, re.I):
            continue
        for number, line in enumerate((tree.text(path) or "").splitlines(), 1):
            match = re.match(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*(?:\s#.*)?$", line)
            if not match:
                continue
            name, value = match[1], match[2].strip("\"'")
            if ORIGINS.match(name) and "CORS" in name:
                continue  # both services have one origin
            as_file = f"{name}_FILE" in given
            # A program that knows of one such variable may know of all.
            if name not in read or name in given or (as_file and read.mentions("_FILE")) or (value and not PLACEHOLDER.search(value)):
                continue
            secret = kind(name) in ("database", "own key", "secret", "model")
            how = (
                f"{variable}.{name}"
                if not secret
                else (
                    f"SECRET_{name}=... in .env, or secrets_extra_schema.{name.lower()} and "
                    f"{variable.replace('_extra_', '_secrets_')}.{name}: {name.lower()} (docs/secrets.md)"
                )
            )
            if built and name.startswith(built):
                how = f"{build_variable}.{name} (the build writes it into the pages, and each environment has its own image)"
            given_how = f"only given as {name}_FILE, which the source does not read" if as_file else "given nowhere"
            if as_file:
                how = f"{variable.replace('_extra_', '_secrets_')}: {{{name}: {name.lower()}}}"
            yield finding("documented", "warning", f"{name} is documented here, read in {read[name]}, and {given_how}",
                          f"{path}:{number}", f"set {how}, if the application needs it")  # fmt: skip
