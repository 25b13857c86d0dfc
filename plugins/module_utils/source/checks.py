"""What the checks of Python and of JavaScript sources share: the tree, versions, credentials, addresses.

Only the standard library, because it runs on the host that builds; nothing of the application is imported or run.
"""

from __future__ import annotations

import base64
import codecs
import math
import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from ..docker.image_scan import LARGEST as LARGEST_SCANNED
from ..docker.image_scan import PRIVATE_KEY, hits
from .findings import finding
from .tree import NOT_OF_AN_IMAGE, Ignore, Selection, from_gitignore, select

# In an image, and nothing that the application's authors wrote.
SKIPPED = {"site-packages", ".yarn", ".vercel", "node_modules"}
BINARY = re.compile(
    r"\.(png|jpe?g|gif|ico|webp|avif|svg|woff2?|ttf|otf|eot|pdf|zip|gz|tgz|bz2|xz|whl|so|pyc|db|sqlite3?|mp[34]|webm|mov|wasm|lockb|onnx|pt|bin|parquet)$",
    re.I,
)
LOCKS = {"package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock", "uv.lock", "poetry.lock", "bun.lock"}
LARGEST = 1_000_000  # bytes; nobody writes a larger source file by hand
TESTS = re.compile(r"(^|/)(tests?|__tests__|testing|e2e|cypress|playwright|fixtures?|mocks?|__mocks__)(/|$)"
                   r"|(^|/)(test_[^/]*|[^/]*_test|conftest)\.py$"
                   r"|\.(test|spec|stories|e2e)\.[cm]?[jt]sx?$")  # fmt: skip
# What an import leaves out of a file's name.
ENDINGS = ("", ".py", ".ts", ".tsx", ".js", ".jsx", ".mjs", ".json")
MERGE_MARK = re.compile(r"^(<{7} |>{7} )", re.M)


class Tree:
    """The files of a source that reach its image and that somebody wrote: no dependencies, no output of builds."""

    def __init__(self, root: str | os.PathLike[str], selection: Selection | None = None, role: str = "backend_image") -> None:
        self.root = Path(root).resolve()
        self.role = role
        self.selection = selection or select(self.root, "own", role=role)
        self._texts: dict[str, str | None] = {}

    @cached_property
    def files(self) -> list[str]:
        """Relative paths, sorted; what lies below a directory also by the names of links to it."""
        found = [path for path in self.selection.files if not SKIPPED & set(path.split("/")[:-1]) and _printable(path)]
        linked = {path: os.path.relpath(os.path.realpath(self.root / path), self.root) for path in found if os.path.isdir(self.root / path)}
        found += [path + file[len(to) :] for path, to in linked.items() for file in found if file.startswith(f"{to}/")]
        return sorted(found)

    @cached_property
    def written(self) -> list[str]:
        """Those, and what stays out of the image but describes it: examples of settings, ignore files."""
        aside = [path for path, why in self.selection.left_out.items() if why != NOT_OF_AN_IMAGE or path == ".dockerignore"]
        return sorted([*self.files, *filter(_printable, aside)])

    @cached_property
    def paths(self) -> set[str]:
        return set(self.files)

    @cached_property
    def directories(self) -> set[str]:
        return {""} | {parent for file in self.files for parent in map(str, Path(file).parents) if parent != "."}

    def text(self, path: str) -> str | None:
        """What is in a file, None where it is not there, too large or no text."""
        if path not in self._texts:
            full = self.root / path
            try:
                raw = full.read_bytes() if full.is_file() and full.stat().st_size <= LARGEST else None
                utf16 = raw is not None and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # as Windows' shell writes files
                self._texts[path] = (
                    None
                    if raw is None or (b"\0" in raw[:1024] and not utf16)
                    else raw.decode("utf-16" if utf16 else "utf-8-sig", errors="replace")
                )
            except OSError:
                self._texts[path] = None
        return self._texts[path]

    def ignored_by(self, path: str) -> str:
        """The line of a .gitignore that leaves out a path, which may lack its extension, as file:line; empty where none does."""
        for file in self.written:
            if file.rpartition("/")[2] == ".gitignore":
                rules = Ignore(from_gitignore(self.text(file) or "", file.removesuffix(".gitignore")))
                if number := next(filter(None, (rules.line(path + end) for end in ENDINGS)), 0):
                    return f"{file}:{number}"
        return ""

    def hidden(self, path: str) -> str:
        """What to do about a file or directory that is not in the image because something leaves it out; empty where nothing does.

        `path` may lack its extension, as in an import.
        """
        for file, why in self.selection.left_out.items():
            if file == path or file.startswith((f"{path}/", f"{path}.")):
                name = file if file == path or file.startswith(f"{path}.") else path
                which = f"{why} leaves {name} out" if ":" in why else f"{name} is left out of the image: {why}"
                return f"{which}; set {self.role}_include: [{name}]"
        if not (ignored := self.ignored_by(path)):
            return ""
        existing = next((path + end for end in ENDINGS if os.path.lexists(self.root / (path + end))), "")
        return f"commit {existing or path} ({ignored} hides it)" + (f", or set {self.role}_include: [{existing}]" if existing else "")


def _printable(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False  # a finding of its own
    return True


def line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def first_named(tree: Tree, folders: list[str], patterns: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """(group 1, file:line) of the first match in the `folders`; empty texts for none. `patterns`: (name of the file, expression)."""
    for folder in folders:
        for name, pattern in patterns:
            path = f"{folder}/{name}".lstrip("/")
            if path in tree.written and (match := re.search(pattern, tree.text(path) or "", re.M)):
                return match[1], f"{path}:{line_of(tree.text(path) or '', match.start())}"
    return "", ""


# --- credentials --------------------------------------------------------------------------------------------------------

# Forms that only a provider's own keys have, with the setting that the value belongs into.
CREDENTIALS = [
    ("a service account's key", rf'"type"\s*:\s*"service_account"[^{{}}]*?"private_key"\s*:\s*"(?P<secret>{PRIVATE_KEY})', ""),
    ("a private key", PRIVATE_KEY, ""),
    # The same in base64, as an environment variable holds it.
    ("a private key",
     r"\bLS0tLS1CRUdJTi(?:BQUklWQVRFIEtFWS|BSU0EgUFJJVkFURSBLRVkt|BFQyBQUklWQVRFIEtFWS|BPUEVOU1NIIFBSSVZBVEUgS0VZ)[A-Za-z0-9+/]{60}", ""),
    ("a private key", r"PuTTY-User-Key-File-\d: [\s\S]{0,4000}?\nPrivate-Lines: \d", ""),
    ("an OpenAI API key", r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]*T3BlbkFJ[A-Za-z0-9_-]{20,}", "OPENAI_API_KEY"),
    ("an OpenAI API key", r"\bsk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,}", "OPENAI_API_KEY"),
    ("an OpenAI API key", r"\bsk-[A-Za-z0-9]{48}\b", "OPENAI_API_KEY"),
    ("an Anthropic API key", r"\bsk-ant-(?:api|admin)\d\d-[A-Za-z0-9_-]{60,}", "ANTHROPIC_API_KEY"),
    ("an OpenRouter API key", r"\bsk-or-v1-[0-9a-f]{64}\b", "OPENROUTER_API_KEY"),
    ("a Google API key", r"\bAIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])", "GOOGLE_API_KEY"),
    ("a Groq API key", r"\bgsk_[A-Za-z0-9]{52}\b", "GROQ_API_KEY"),
    ("a Hugging Face token", r"\bhf_[A-Za-z0-9]{34}\b", "HF_TOKEN"),
    ("an AWS access key", r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b", "AWS_ACCESS_KEY_ID"),
    ("a GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})\b", "GITHUB_TOKEN"),
    ("a GitLab token", r"\bglpat-[A-Za-z0-9_-]{20}\b", "GITLAB_TOKEN"),
    ("a Slack token", r"\bxox[abprs]-\d{10,}-[A-Za-z0-9-]{20,}", "SLACK_TOKEN"),
    ("a Stripe secret key", r"\b[sr]k_live_[A-Za-z0-9]{24,}", "STRIPE_SECRET_KEY"),
    ("a SendGrid key", r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}\b", "SENDGRID_API_KEY"),
    ("an npm token", r"\bnpm_[A-Za-z0-9]{36}\b", "NPM_TOKEN"),
    ("a registry's token", r"(?m)^[ \t]*//[^\s=]+:_(?:authToken|auth|password)\s*=\s*(?P<secret>[^\s${}]{12,})", "npm_config"),
    ("a Google client secret", r"\bGOCSPX-[A-Za-z0-9_-]{28}(?![A-Za-z0-9_-])", ""),
    ("a Resend key", r"\bre_[A-Za-z0-9]{8}_[A-Za-z0-9]{24}\b", "RESEND_API_KEY"),
    ("a Telegram bot's token", r"\b\d{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])", "TELEGRAM_BOT_TOKEN"),
    ("a Supabase service key", r"\bsb_secret_[A-Za-z0-9_-]{20,}", "SUPABASE_SERVICE_ROLE_KEY"),
    ("a Supabase service key",
     r"\beyJ[A-Za-z0-9_-]{10,}\.(?P<payload>eyJ[A-Za-z0-9_-]{20,})\.[A-Za-z0-9_-]{30,}", "SUPABASE_SERVICE_ROLE_KEY"),
    ("a password in a database URL",
     r"\b(?:postgres(?:ql)?|mysql|mongodb(?:\+srv)?|rediss?)(?:\+\w+)?://[^\s:@/\"'<>{}$]+:(?P<secret>[^\s@/\"'<>{}$]{6,})@(?P<host>[A-Za-z0-9.-]+)",
     "DATABASE_URL"),
    ("a password",
     r"(?im)^[ \t]*(?:export[ \t]+)?(?P<name>[A-Z0-9_]*(?:SECRET|SECRET_KEY|API_KEY|PASSWORD|AUTH_TOKEN|ACCESS_TOKEN|PRIVATE_KEY))"
     r"\s*(?::\s*str\s*)?=\s*"
     r"(?P<quote>[\"']?)(?P<secret>[A-Za-z0-9+/_=.-]{24,})[\"']?\s*(?:#.*)?$", ""),
]  # fmt: skip
_CREDENTIALS = [(what, re.compile(pattern), name) for what, pattern, name in CREDENTIALS]
_HINT = re.compile(
    r"PRIVATE KEY|LS0tLS1CRUdJTi|PuTTY-User-Key|:AA|sb_secret_|eyJ|sk-|AIza|gsk_|hf_|AKIA|ASIA|gh[pousr]_|github_pat|glpat|xox|_live_|SG\.|npm_|_auth|GOCSPX|re_|://|SECRET|KEY|PASSWORD|TOKEN",
    re.I,
)
DOCUMENT = re.compile(r"\.(mdx?|rst|dist|example|sample|template)$", re.I)
EXAMPLE_FILE = re.compile(
    DOCUMENT.pattern + r"|(^|/)(docs?|examples?|samples?)/|(^|[/._-])(examples?|samples?)([._-][^/]*)?$|\.template(\.[^/]*)?$", re.I
)
KEY_STORE = re.compile(r"\.(p12|pfx|jks|keystore)$", re.I)
# Files in which a value without quotes is an expression.
CODE_FILE = re.compile(r"\.(py|[cm]?[jt]sx?)$")
# A browser needs these keys of Google's, and everybody may have them: a Firebase application's, and those of maps.
PUBLIC_GOOGLE = re.compile(r"NEXT_PUBLIC_|authDomain|messagingSenderId|storageBucket|projectId|mobilesdk_app_id|firebase", re.I)
MAPS = re.compile(r"\bmaps\.|/maps/|google_?maps|maps_?api", re.I)
SECRET_GOOGLE = re.compile(r"gemini|generat|genai|palm|vertex|GOOGLE_API_KEY", re.I)
PLACEHOLDER = re.compile(
    r"your|example|placeholder|change|replace|insert|dummy|fake|sample|test|demo|todo|xxx|\.\.\.|<|>|\$\{|0{6}|1234|abcd|secret-?key|super|"
    r"password|postgres$|somewhere|here$|redacted|\*\*\*|mock|foobar|development|localhost|process\.env|os\.environ|getenv|settings\.|config\.|default",
    re.I,
)
LOCAL_HOST = re.compile(
    r"^(localhost|127\.|0\.0\.0\.0|\[?::1|host\.docker\.internal|[a-z0-9_-]+$|example\.|.*\.(example|test|local|internal)(\.com)?$|.*example\.(com|org))"
)


def entropy(text: str) -> float:
    """Shannon entropy, bits a character."""
    return -sum((n := text.count(c) / len(text)) * math.log2(n) for c in set(text)) if text else 0.0


def _is_secret(what: str, match: re.Match[str], path: str) -> bool:
    groups = match.groupdict()
    value = groups.get("secret") or match[0]
    if what in KEYS:
        return True
    if "payload" in groups:  # of Supabase's tokens the anonymous one is public, and so is the one of its local stack
        claims = base64.urlsafe_b64decode(groups["payload"] + "=" * (-len(groups["payload"]) % 4))
        return b"service_role" in claims and b"supabase-demo" not in claims
    if groups.get("quote") == "" and CODE_FILE.search(path):
        return False
    if PLACEHOLDER.search(value) or re.search(r"(.)\1{7}", value):
        return False
    if "host" in groups:
        return not LOCAL_HOST.match(groups["host"]) and entropy(value) > 2.5
    if "name" in groups:
        # A name and a long value prove little: the value must look drawn at random, and a name in the public part is no secret.
        return not re.match(r"NEXT_PUBLIC_", groups["name"]) and entropy(value) > 3.7 and bool(re.search(r"\d", value)) and not re.search(
            r"[a-z]{7,}[._-][a-z]{5,}", value)  # fmt: skip
    return entropy(value) > 3.0


KEYS = {"a private key", "a service account's key"}
# Names that do not say whose: the value may be an application's own key, of an example for everybody.
BARE = {"SECRET", "SECRET_KEY", "PASSWORD", "API_KEY", "AUTH_TOKEN", "ACCESS_TOKEN", "PRIVATE_KEY"}
# Forms that prove little without their place: in tests and examples they are made up.
UNCLEAR = {"a password in a database URL", "a password"}


def credentials(tree: Tree) -> Iterator[dict[str, Any]]:
    """Credentials in files that would be copied, and in those that git tracks though their name keeps them out.

    Values are never reported: name, file and line are.
    """
    selection, tracked, copied = tree.selection, tree.selection.tracked or set(), set(tree.selection.files)
    for path in sorted([*filter(_printable, selection.files), *filter(_printable, selection.committed_secrets)]):
        name, test = path.rpartition("/")[2], bool(TESTS.search(path))
        if KEY_STORE.search(name) and path in copied and not test:
            yield finding("credential", "warning", "a key store is copied into the image, and may hold a private key", path,
                          "where it does: name it in .gitignore or .dockerignore, and give it as a secret file")  # fmt: skip
        if BINARY.search(name) or name in LOCKS or DOCUMENT.search(path):
            continue
        # A frontend's tests do not get from the build into what it serves; of a test, what is not copied is made up.
        if test and (path not in copied or (selection.kind == "nextjs" and not re.search(r"(^|/)public/", path))):
            continue
        text, example = _searched(tree, path), bool(EXAMPLE_FILE.search(path))
        if not text or not _HINT.search(text):
            continue
        lines_told: set[int] = set()
        for what, pattern, variable in _CREDENTIALS:
            if (example and what not in KEYS) or (test and what in UNCLEAR):
                continue
            for match in pattern.finditer(text):
                number = line_of(text, match.start("secret") if "secret" in match.groupdict() else match.start())
                severity = "error" if not test or what in KEYS else "warning"
                if what == "a Google API key" and severity == "error":
                    severity = _google_key(text, match, selection.kind)
                if number in lines_told or not severity or not _is_secret(what, match, path):
                    continue
                lines_told.add(number)
                named = match.groupdict().get("name") or ""
                if named in BARE and severity == "error":
                    severity = "warning"
                yield _credential(path, number, what, named, variable, path in tracked, test) | {"severity": severity}


def _searched(tree: Tree, path: str) -> str | None:
    """The text of a file, also of one that is too large to have been written by hand, where it may hold a credential."""
    if (text := tree.text(path)) is not None:
        return text
    try:
        full = tree.root / path
        if not full.is_file() or full.stat().st_size > LARGEST_SCANNED:
            return None
        with open(full, "rb") as file:
            begin = file.read(1024)
            if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as Windows' shell writes files
                return (begin + file.read(LARGEST)).decode("utf-16", errors="replace")
            raw = begin if b"\0" in begin else begin + file.read()
    except OSError:
        return None
    return raw.decode(errors="replace") if b"\0" not in raw[:1024] and hits(raw, []) else None


def _google_key(text: str, match: re.Match[str], kind: str) -> str:
    """How bad a Google API key is: those of a frontend may be meant for everybody. Empty for one that is."""
    near = text[max(0, match.start() - 400) : match.end() + 400]
    start, end = text.rfind("\n", 0, match.start()) + 1, text.find("\n", match.end())
    line = text[start : end if end >= 0 else len(text)]
    if PUBLIC_GOOGLE.search(line) or (kind == "nextjs" and MAPS.search(line)):
        return ""
    if SECRET_GOOGLE.search(line):
        return "error"
    if PUBLIC_GOOGLE.search(near):
        return ""
    return "warning" if kind == "nextjs" and not SECRET_GOOGLE.search(near) else "error"


def _credential(path: str, number: int, what: str, name: str, variable: str, committed: bool, test: bool) -> dict[str, Any]:
    setting = name or variable
    of = f" ({name})" if name else ""
    give = f"give {setting} as a secret (secrets_extra_schema, docs/secrets.md)" if setting else "give it as a secret file"
    if setting == "OPENAI_API_KEY":
        give = "set OPENAI_API_KEY in Berth's .env"
    if setting == "npm_config":
        give = "give an .npmrc as frontend_image_build_secrets.npm_config"
    if name in BARE and CODE_FILE.search(path):
        message, remove = f"{what}{of} is written in the code", f"read {setting} from the environment"
    elif committed:
        message, remove = f"{what}{of} is committed here", "remove it from the source, have it replaced where it was issued"
    else:
        message, remove = f"{what}{of} is here, and would be copied into the image", "name the file in .gitignore or .dockerignore"
    advice = (
        f"if it is made up for tests: name {path} in .dockerignore, so that it stays out of the image" if test else f"{remove}, and {give}"
    )
    return finding("credential", "error", message, f"{path}:{number}", advice)


# --- what sources have in common ------------------------------------------------------------------------------------------

LOCALHOST = re.compile(
    r"\b(?:https?|wss?|postgres(?:ql)?(?:\+\w+)?|redis)://(?:[^\s\"'`@/]*@)?(?:localhost|127\.0\.0\.1|0\.0\.0\.0)(?::(\d+))?"
)


def merge_marks(tree: Tree, path: str) -> dict[str, Any] | None:
    text = tree.text(path) or ""
    match = MERGE_MARK.search(text)
    if match and re.search(r"^={7}$", text, re.M):
        return finding("parse", "error", "an unresolved merge conflict: nothing can parse this", f"{path}:{line_of(text, match.start())}",
                       "resolve the conflict")  # fmt: skip
    return None
