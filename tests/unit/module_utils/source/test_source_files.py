"""Which files of a source reach its image: what git tracks and what is new, not what git or a .dockerignore ignores."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from ansible_collections.berth.stack.plugins.module_utils.source import fastapi as source_fastapi
from ansible_collections.berth.stack.plugins.module_utils.source import nextjs as source_nextjs
from ansible_collections.berth.stack.plugins.module_utils.source import tree as source_files
from ansible_collections.berth.stack.plugins.module_utils.source.context import content_hash, image_content, image_files
from ansible_collections.berth.stack.plugins.module_utils.source.findings import line
from ansible_collections.berth.stack.plugins.module_utils.source.tree import Ignore, file_findings, select
from ansible_collections.berth.stack.plugins.modules import source_stage
from conftest import ROOT
from trees import BACKEND, FRONTEND, checkout, git, run_module, write

FILES = {"app/main.py": "app = 1\n", "requirements.txt": "fastapi==0.115.0\n"}
OWN = {"app/main.py", "requirements.txt"}


def test_what_git_and_the_dockerignore_ignore_is_in_neither_list_nor_hash(tmp_path):
    """Case S-a."""
    ignored = "certs/\nservice-account.json\ndata/\n"
    source = checkout(write(tmp_path, FILES, {".gitignore": ignored, ".dockerignore": ignored}))
    image = {"source": source, "dockerfile": ROOT / "roles/backend_image/files/Dockerfile", "context": {"kind": "fastapi"}}
    before = image_content(image)
    write(source, {"certs/dev.pem": "key", "service-account.json": "{}", "data/big.bin": "x" * 1000})
    assert set(image_files(image)) == OWN
    assert image_content(image) == before


# What a file is: kind of source, path, whether it is tracked -> whether it reaches the image.
KINDS = [
    ("nextjs", "app/coverage/page.jsx", True, True),
    ("nextjs", "coverage/lcov.info", False, False),
    ("nextjs", ".env.production", True, True),
    ("nextjs", ".env.production", False, False),
    ("nextjs", ".env.local", True, False),
    ("nextjs", ".env", True, False),
    ("nextjs", ".env.example", False, True),
    ("nextjs", ".npmrc", True, True),
    ("nextjs", "node_modules/a/index.js", True, False),
    ("nextjs", ".yarn/cache/a.zip", True, True),
    ("nextjs", "tests/a.test.ts", True, True),
    ("fastapi", "data/cities.db", True, True),
    ("fastapi", "data/new.db", False, False),
    ("fastapi", "app/coverage/__init__.py", True, True),
    ("fastapi", "build/tables.py", True, True),
    ("fastapi", "build/tables.py", False, False),
    ("fastapi", "dist/a.txt", True, True),
    ("fastapi", "app/audit.log", True, True),
    ("fastapi", "app/audit.log", False, False),
    ("fastapi", "app/new.py", False, True),
    ("fastapi", "server.key", True, False),
    ("fastapi", ".npmrc", True, False),
    ("fastapi", "app/__pycache__/main.cpython-311.pyc", True, False),
    ("fastapi", "tests/test_a.py", True, False),
    ("fastapi", "app/tests/data.json", True, True),
    ("fastapi", "Dockerfile", True, False),
    ("own", "Dockerfile", True, True),
    ("own", "tests/test_a.py", True, True),
    ("own", ".env", True, False),
]


@pytest.mark.parametrize(("kind", "path", "tracked", "there"), KINDS)
def test_tracked_files_win_over_the_list_but_for_dangerous_names(tmp_path, kind, path, tracked, there):
    """Case S-b."""
    source = checkout(write(tmp_path, FILES, {path: "1"} if tracked else {}))
    write(source, {path: "1"})
    selection = select(source, kind)
    assert (path in selection.files) is there
    assert set(selection.files) >= OWN
    image = {"source": source, "dockerfile": ROOT / "roles/backend_image/files/Dockerfile", "context": {"kind": kind}}
    before = image_content(image)
    write(source, {path: "2"})
    assert (image_content(image) != before) is there


def messages(selection):
    return [line(item) for item in selection.findings]


def test_what_is_left_out_and_may_be_needed_is_named(tmp_path):
    source = checkout(write(tmp_path, FILES, {".env": "A=1\n", "node_modules/a/b.js": "", "tests/test_a.py": ""}))
    write(source, {"data/new.db": "", "app/new.py": ""})
    selection = select(source, "fastapi")
    assert messages(selection) == [
        "left out of the image, as what tools leave behind and git does not track: data/new.db -> "
        "if the application needs them: git add them, or set backend_image_include",
        "committed, and left out of the image for the name: .env -> give the values as settings or secrets, and remove these from git",
        "committed, and left out of the image, which makes its own: node_modules/ -> remove these from git",
    ]
    assert selection.notes == [
        "New in the source, and not yet in git: app/new.py. It goes into the image.",
        "Left out of the image, as no part of what runs: tests/. backend_image_include brings back what the application reads.",
    ]


def test_a_source_outside_git_is_read_by_its_ignore_files(tmp_path):
    rules = {".gitignore": "/secret/\n*.bin\n!keep.bin\n", "app/.gitignore": "local.py\n", ".dockerignore": "docs\n"}
    ignored = ["secret/a", "app/a.bin", "app/local.py", "docs/a.md", "data/cities.db", "node_modules/a.js"]
    source = write(tmp_path, FILES, rules, dict.fromkeys(["keep.bin", *ignored], ""))
    selection = select(source, "fastapi")
    assert set(selection.files) == OWN | {"keep.bin"}
    assert selection.tracked is None
    assert messages(selection) == [
        "left out of the image, as what tools leave behind and git does not track: data/cities.db -> "
        "if the application needs them: the source is not in git: set backend_image_include"
    ]


def test_a_source_is_read_alike_where_git_is_not_installed(tmp_path, monkeypatch):
    source = write(tmp_path, FILES, {".gitignore": "/secret/\n*.bin\n!keep.bin\n", "app/.gitignore": "local.py\n"},
                   dict.fromkeys(["secret/a", "app/a.bin", "keep.bin", "app/local.py", "node_modules/a.js"], ""))  # fmt: skip
    monkeypatch.setattr(source_files, "_git", lambda *_: None)
    assert set(select(source, "fastapi").files) == OWN | {"keep.bin"}
    (source / ".git").mkdir()
    assert "what git tracks is not known (git is not installed here)" in messages(select(source, "fastapi"))[0]


def test_a_broken_checkout_is_named(tmp_path):
    source = write(tmp_path, FILES, {".git": "gitdir: /nowhere\n"})
    selection = select(source, "fastapi")
    assert set(selection.files) == OWN
    assert "what git tracks is not known (fatal: not a git repository: /nowhere" in messages(selection)[0]


def test_parts_of_checkouts_and_checkouts_in_others(tmp_path):
    whole = checkout(
        write(tmp_path, {f"api/{path}": text for path, text in FILES.items()}, {".gitignore": "*.bin\nlocal/\n", "other.py": ""})
    )
    write(whole, {"api/a.bin": "", "local/app/main.py": "", "local/b.bin": "", "fresh/app/main.py": "", "fresh/c.bin": ""})
    assert set(select(whole / "api", "fastapi").files) == OWN
    # Ignored by the checkout that it lies in, and so none of its own.
    assert set(select(whole / "local", "fastapi").files) == {"app/main.py", "b.bin"}
    assert select(whole / "local", "fastapi").tracked is None
    assert set(select(whole / "fresh", "fastapi").files) == {"app/main.py"}
    git(whole, "worktree", "add", "--quiet", str(tmp_path / "tree"))
    assert set(select(tmp_path / "tree" / "api", "fastapi").files) == OWN


def test_a_git_hook_that_runs_it_means_another_repository(tmp_path, monkeypatch):
    source = checkout(write(tmp_path / "a", FILES))
    other = checkout(write(tmp_path / "b", {"other.py": ""}))
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert set(select(source, "fastapi").files) == OWN


def test_what_was_deleted_or_became_a_link_is_left_out(tmp_path):
    source = checkout(write(tmp_path / "a", FILES, {"app/old.py": "", "lib/a.py": ""}))
    write(tmp_path / "b", {"a.py": "outside"})
    (source / "app/old.py").unlink()
    (source / "lib/a.py").unlink()
    (source / "lib").rmdir()
    (source / "lib").symlink_to(tmp_path / "b")
    assert set(select(source, "fastapi").files) == OWN | {"lib"}


def test_submodules(tmp_path):
    library = checkout(write(tmp_path / "library", {"a.py": "", ".gitignore": "*.bin\n"}))
    source = checkout(write(tmp_path / "source", FILES))
    git(source, "submodule", "add", "--quiet", str(library), "lib")
    git(source, "commit", "--quiet", "--message", "library")
    write(source, {"lib/a.bin": ""})
    assert set(select(source, "fastapi").files) == OWN | {"lib/a.py"}
    git(tmp_path, "clone", "--quiet", str(source), str(tmp_path / "clone"))
    assert messages(select(tmp_path / "clone", "fastapi")) == [
        "lib: this submodule is not checked out: its directory is empty -> git submodule update --init lib"
    ]
    (tmp_path / "clone/.dockerignore").write_text("lib\n")
    assert messages(select(tmp_path / "clone", "fastapi")) == []


def test_a_repository_that_lies_in_the_source_is_taken(tmp_path):
    source = checkout(write(tmp_path, FILES))
    checkout(write(source / "vendor", {"a.py": "", ".gitignore": "*.bin\n"}))
    write(source, {"vendor/a.bin": ""})
    assert set(select(source, "fastapi").files) == OWN | {"vendor/a.py"}


@pytest.mark.parametrize(
    ("patterns", "there", "said"),
    [
        (["data/*.bin"], {"data/a.bin"}, []),
        (["data"], {"data/a.bin", "data/b.txt"}, []),
        (["docs/api.md"], {"docs/api.md"}, []),
        (["tests"], {"tests/test_a.py"}, []),
        (["dat/*.bin"], set(), ["backend_image_include: dat/*.bin names no file of the source -> correct backend_image_include"]),
        ([".env"], set(), ["backend_image_include: .env names only files that never go into an image -> "
                           "give its values as secrets (docs/secrets.md)"]),
        (["**"], {"data/a.bin", "data/b.txt", "docs/api.md", "tests/test_a.py", ".gitignore"}, []),
    ],
)  # fmt: skip
def test_include_brings_back_what_is_ignored(tmp_path, patterns, there, said):
    source = checkout(
        write(tmp_path, FILES, {".gitignore": "data/\n.env\n", ".dockerignore": "docs\n", "docs/api.md": "", "tests/test_a.py": ""})
    )
    write(source, {"data/a.bin": "1", "data/b.txt": "1", ".env": "1"})
    selection = select(source, "fastapi", patterns)
    assert set(selection.files) == OWN | there
    assert messages(selection) == said


def test_a_tracked_file_in_a_directory_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """Another user builds: what git lists and he may not look at has not been deleted."""
    source = checkout(write(tmp_path, FILES, {"app/private/a.py": ""}))
    real = os.lstat

    def lstat(path, *rest, **more):
        if "private" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "lstat", lstat)
    selection = select(source, "fastapi")
    assert "app/private/a.py" in selection.files
    assert [line(f) for f in file_findings(source, selection)] == [
        "app/private/a.py: this file cannot be read: Permission denied -> make it readable"
    ]


def test_an_ignore_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    source = checkout(write(tmp_path, FILES, {".dockerignore": "docs\n"}))

    def read_text(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", read_text)
    assert messages(select(source, "fastapi")) == [".dockerignore: this file cannot be read: Permission denied -> make it readable"]


def test_a_part_of_a_checkout_is_one_where_git_does_not_answer_too(tmp_path, monkeypatch):
    source = checkout(write(tmp_path, {f"api/{path}": text for path, text in FILES.items()})) / "api"
    monkeypatch.setattr(source_files, "_git", lambda *_: None)
    assert "what git tracks is not known" in messages(select(source, "fastapi"))[0]


def test_a_virtual_environment_of_any_name_is_no_part_of_a_source(tmp_path):
    source = write(tmp_path, FILES, {"data/cities.db": ""})
    for name in ("env", "venv", "py[3]"):
        write(source, {f"{name}/pyvenv.cfg": "", f"{name}/lib/python3.11/site-packages/a/b.py": "", f"{name}/bin/activate": ""})
        (source / name / "bin/python").symlink_to("/usr/bin/python3")
    selection = select(source, "fastapi")
    assert set(selection.files) == OWN
    assert messages(selection)[0].startswith("left out of the image, as what tools leave behind and git does not track: data/cities.db ->")
    tracked = checkout(write(tmp_path / "tracked", FILES, {"env/pyvenv.cfg": "", "env/a.py": ""}))
    assert "env/a.py" in select(tracked, "fastapi").files


def test_tracked_files_named_nearly_as_a_recipe_are_kept(tmp_path):
    names = {"compose_prompts.yaml", "Dockerfile_tools.py"}
    source = checkout(write(tmp_path, FILES, dict.fromkeys([*names, "compose.yaml", "compose.dev.yml", "Dockerfile.dev"], "")))
    assert set(select(source, "fastapi").files) == OWN | names


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("rule", "path", "ignored"),
    [("[z-a]*", "x", False), ("[]a]b", "ab", False), ("[[]a", "[a", True), ("[!a]b", "cb", True), ("[!a]b", "ab", False)],
)
def test_a_rule_that_is_no_pattern_stops_nothing(rule, path, ignored):
    assert Ignore(rule).ignores(path) is ignored


def findings_of(source, kind="fastapi"):
    return [line(item) for item in file_findings(source, select(source, kind))]


def test_links_are_named_as_what_they_are(tmp_path):
    """Case A-g."""
    source = write(tmp_path / "source", FILES, {"libs/shared/a.py": "", ".gitignore": "cache/\n", "cache/a": ""})
    for name, target in {
        "shared": "libs/shared",
        "app/inside.py": "../libs/shared/a.py",
        "through": "shared/a.py",
        "out": "../other/a.py",
        "absolute": "/srv/elsewhere",
        "stdout": "/dev/stdout",
        "CLAUDE.md": "AGENTS.md",
        "AGENTS.local.md": "../AGENTS.md",
        "to-ignored": "cache/a",
    }.items():
        (source / name).symlink_to(target)
    assert findings_of(source) == [
        "AGENTS.local.md: this link leads to ../AGENTS.md, out of the source, which is all that an image is built from -> "
        "copy what it leads to, or set the source to a directory that has both",
        "CLAUDE.md: this link leads to AGENTS.md, which is not there -> remove it, or have what it leads to in the source",
        "absolute: this link leads to /srv/elsewhere: an absolute path, which is not in the image -> "
        "make it a relative link, or copy the file",
        "out: this link leads to ../other/a.py, out of the source, which is all that an image is built from -> "
        "copy what it leads to, or set the source to a directory that has both",
        "to-ignored: this link leads to cache/a, which does not go into the image -> remove it, or have what it leads to in the source",
    ]  # fmt: skip
    assert [item["severity"] for item in file_findings(source, select(source, "fastapi"))] == [
        "warning",
        "warning",
        "error",
        "error",
        "warning",
    ]


def test_files_that_cannot_be_copied_are_named(tmp_path):
    source = write(tmp_path, FILES, {"model.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"})
    with open(os.fsencode(source) + b"/app/caf\xe9.txt", "wb"):
        pass
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "app.sock"))
    assert findings_of(source) == [
        r"app/caf\xe9.txt: the name of this file is not UTF-8: BuildKit cannot copy it -> rename it",
        "model.bin: this is a Git LFS pointer: the file itself is not checked out -> git lfs pull --include='model.bin'",
    ]
    # The name is printable, and the rest of the preflight goes on.
    json.dumps(source_fastapi.check(source, source_fastapi.Options())).encode()


def test_names_with_line_ends_and_blanks_are_files_as_others(tmp_path):
    names = {"app/a b.txt", "app/a\nb.txt", "app/ü.txt", 'app/"q".txt', "app/-x", "app/[a].txt"}
    source = checkout(write(tmp_path, FILES, dict.fromkeys(names, "")))
    assert set(select(source, "fastapi").files) == OWN | names
    assert findings_of(source) == []


def test_the_preflight_reads_the_same_list(tmp_path):
    """A page below coverage/ and a package of that name are found; what is ignored is not, and the variable is named."""
    pages = {
        "app/coverage/page.jsx": 'import x from "../../lib/secret";\nexport default () => x;\n',
        ".gitignore": "secret*\n",
        "lib/secret.ts": "",
    }
    frontend = checkout(write(tmp_path / "f", FRONTEND, pages))
    (finding,) = source_nextjs.check(frontend, source_nextjs.Options())
    assert line(finding) == (
        "app/coverage/page.jsx:1: imports ../../lib/secret, which is not in the source (lib/secret) -> "
        "commit lib/secret.ts (.gitignore:1 hides it), or set frontend_image_include: [lib/secret.ts]"
    )
    package = {
        "app/main.py": BACKEND["app/main.py"] + "import app.coverage\nimport tests.data\n",
        "app/coverage/__init__.py": "",
        "tests/data.py": "",
    }
    backend = checkout(write(tmp_path / "b", BACKEND, package))
    (finding,) = [f for f in source_fastapi.check(backend, source_fastapi.Options()) if f["severity"] == "error"]
    assert "tests" in finding["message"] and "backend_image_include: [tests" in finding["advice"]


# --- the copy that BuildKit reads -----------------------------------------------------------------------------------------------------


@pytest.fixture
def image(tmp_path):
    source = checkout(write(tmp_path / "source", FILES, {".gitignore": "*.bin\n", ".dockerignore": "docs\n", "docs/a": "", "run.sh": ""}))
    (source / "run.sh").chmod(0o755)
    (source / "link").symlink_to("app")
    write(source, {"big.bin": "x"})
    recipe = {"source": str(source), "dockerfile": str(ROOT / "roles/backend_image/files/Dockerfile"), "args": {"A": "1"}, "base": "b"}
    return recipe | {"context": {"kind": "fastapi"}}


def test_the_copy_has_what_reaches_the_image_and_nothing_else(tmp_path, image):
    (target := tmp_path / "copy").mkdir()
    files, size = source_stage.copy(image | {"content": image_content(image)}, target)
    context = target / "context"
    assert {p.relative_to(context).as_posix() for p in context.rglob("*") if not p.is_dir() or p.is_symlink()} == OWN | {"run.sh", "link"}
    assert (files, size) == (4, sum(len(text) for text in FILES.values()))
    assert [oct((context / name).stat().st_mode & 0o777) for name in ("run.sh", "requirements.txt", "app")] == ["0o755", "0o644", "0o755"]
    assert {int(p.lstat().st_mtime) for p in [context, *context.rglob("*")]} == {source_stage.UNDATED}
    assert os.readlink(context / "link") == "app"
    assert (target / "Dockerfile").read_text() == Path(image["dockerfile"]).read_text()


def test_the_dates_that_buildkit_compares_differ_for_two_contents_of_one_size(tmp_path, image):
    """Size and time: with one date for all files it would build from what it was sent the last time."""
    times = []
    for number in (1, 2, 1):
        write(Path(image["source"]), {"app/main.py": f"app = {number}\n"})
        (target := tmp_path / f"copy-{len(times)}").mkdir()
        source_stage.copy(image, target)
        times.append((target / "context/app/main.py").stat().st_mtime_ns)
    assert times[0] == times[2] != times[1]


def test_a_source_that_changed_since_it_was_named_is_not_built(tmp_path, image):
    content = image_content(image)
    write(Path(image["source"]), {"app/main.py": "app = 2\n"})
    (tmp_path / "copy").mkdir()
    with pytest.raises(source_stage.Changed, match="changed while it was being read"):
        source_stage.copy(image | {"content": content}, tmp_path / "copy")


def test_the_module_copies_and_removes(image):
    made, _ = run_module("source_stage", image=image)
    assert Path(made["source"]).is_dir() and Path(made["path"]).stat().st_mode & 0o777 == 0o700
    run_module("source_stage", path=made["path"], state="absent")
    assert not Path(made["path"]).exists()
    refused, status = run_module("source_stage", path=image["source"], state="absent")
    assert status == 1 and "is not a directory that source_stage made" in refused["msg"] and Path(image["source"]).is_dir()


def test_dockerignore_rules_of_docker():
    rules = Ignore("\ufeff# a\n  \n/a/\n./b\n**/c\\!\n*\n!keep\n.\n")
    assert [rules.ignores(p) for p in ("a/x", "b", "keep/x", "d/c!", "z")] == [True, True, False, True, True]


def test_a_dockerfile_of_the_users_own_has_its_own_ignore_file(tmp_path):
    source = write(
        tmp_path,
        FILES,
        {"deploy/Dockerfile": "FROM scratch\n", "deploy/Dockerfile.dockerignore": "requirements.txt\n", ".dockerignore": "app\n"},
    )
    assert set(select(source, "own", dockerfile=source / "deploy/Dockerfile").files) == {
        "app/main.py", "deploy/Dockerfile", "deploy/Dockerfile.dockerignore"}  # fmt: skip
    assert set(select(source, "own", dockerfile=source / "other/Dockerfile").files) == {
        "requirements.txt", "deploy/Dockerfile", "deploy/Dockerfile.dockerignore"}  # fmt: skip


def test_the_reference_application_is_complete():
    assert {"app/main.py", "alembic.ini", "requirements.txt"} <= set(select(ROOT / "apps/backend", "fastapi").files)
    assert {"app/page.tsx", "package-lock.json", ".npmrc"} <= set(select(ROOT / "apps/frontend", "nextjs").files)
    assert content_hash(ROOT / "apps/backend", select(ROOT / "apps/backend", "fastapi").files)
