"""The environment variables without which a Python application does not start: its modules demand them while they are loaded."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from . import variables
from .findings import finding
from .python_modules import Application
from .python_routes import called

# Sources of values beside the environment: with one of them, a field without a default proves nothing.
OTHER_SOURCES = re.compile(r"settings_customise_sources|customise_sources|secrets_dir|env_nested_delimiter|env_parse_none_str")
ENVIRONMENT_FILE = re.compile(r"(^|/)\.?env(\.[\w.-]+)?$|\.env$")
# What containers have by their names: the platform's variables, the database's address.
BY_THE_RUN = ("standard", "database", "part", "model")
# Modules whose `config` or `env` fails for a name that has no value.
STRICT = re.compile(r"^\s*from (starlette\.config|decouple|environs) import", re.M)


def check(application: Application, loaded: set[str]) -> Iterator[dict[str, Any]]:
    """One finding of all variables that the files `loaded`, which are imported for certain, demand and that nothing gives."""
    options = application.options
    given = {name.upper() for name in options.environment} | _set_by_itself(application)
    reads = variables.merged(read for read in _demanded(application, loaded) if read.name.upper() not in given)
    reads = {name: read for name, read in reads.items() if variables.kind(name) not in BY_THE_RUN}
    if not reads:
        return
    names = sorted(reads)
    secret = [name for name in names if variables.kind(name) in ("secret", "own key")]
    plain = [name for name in names if name not in secret]
    how = [f"{options.role}_extra_environment: {{{', '.join(f'{name}: ...' for name in plain)}}} (app.yml)"] if plain else []
    how += [f"{', '.join(f'SECRET_{name}=...' for name in secret)} in .env"] if secret else []
    what = names[0] if len(names) == 1 else f"{len(names)} variables" if len(names) > 3 else f"{', '.join(names[:-1])} and {names[-1]}"
    message = f"the application does not start without {what}, and nothing gives {'it' if len(names) == 1 else 'them'}"
    yield finding("demanded", "error", message, min(read.where for read in reads.values()), f"set {' and '.join(how)}")


def _set_by_itself(application: Application) -> set[str]:
    """Variables that the source sets itself, in its code or by a file of the image."""
    found: set[str] = set()
    for path in application.tree.files:
        text = application.tree.text(path) or ""
        if path.endswith(".py"):
            found |= set(re.findall(r"environ(?:\.setdefault\(\s*|\[)[\"'](\w+)[\"']\s*(?:,|\]\s*=[^=])", text))
        elif ENVIRONMENT_FILE.search(path):
            found |= set(re.findall(r"^\s*(?:export\s+)?(\w+)\s*=", text, re.M))
    return {name.upper() for name in found}


def _demanded(application: Application, loaded: set[str]) -> Iterator[variables.Read]:
    bodies = {path: body for path in sorted(loaded) if (body := application.parsed(path)) is not None}
    classes: dict[str, tuple[str, ast.ClassDef]] = {}
    functions: dict[str, ast.AST] = {}
    for path, body in bodies.items():
        for statement in body.body:
            if isinstance(statement, ast.ClassDef) and any(re.search(r"Settings$", ast.unparse(base)) for base in statement.bases):
                classes.setdefault(statement.name, (path, statement))
            elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                functions.setdefault(statement.name, statement)
    made: set[str] = set()
    for path, body in bodies.items():
        strict = bool(STRICT.search(application.tree.text(path) or ""))
        for node in _run(body.body):
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and variables.ENVIRONMENTS.match(ast.unparse(node.value)):
                if ast.unparse(node.value) in ("os.environ", "environ") and (name := variables.name_of(node.slice)):
                    yield variables.Read(name, f"{path}:{node.lineno}", None, True)
            elif isinstance(node, ast.Call):
                name = variables.name_of(node.args[0]) if node.args else ""
                if strict and called(node) in ("config", "env") and name and len(node.args) == 1 and not _has(node, "default"):
                    yield variables.Read(name, f"{path}:{node.lineno}", None, True)
                calls = [node, *(_run(functions[called(node)].body) if called(node) in functions else ())]  # type: ignore[attr-defined]
                made |= {called(one) for one in calls if isinstance(one, ast.Call) and not one.args and not one.keywords} & classes.keys()
    for name in sorted(made):
        path, node = classes[name]
        if OTHER_SOURCES.search(ast.unparse(node)):
            continue
        older = "pydantic_settings" not in (application.tree.text(path) or "")
        lines = {field.lineno: ast.unparse(field) for field in node.body}
        for read in variables.fields(path, node):
            text = lines.get(int(read.where.rpartition(":")[2]), "")
            optional = older and re.search(r"\bOptional\b|\bNone\b", read.type)
            if read.required and not optional and not re.search(r"AliasChoices|AliasPath|Annotated|\bexclude\b|default_factory", text):
                yield read


def _has(node: ast.Call, name: str) -> bool:
    return any(one.arg == name or one.arg is None for one in node.keywords)


def _run(statements: list[ast.stmt]) -> Iterator[ast.AST]:
    """The nodes that run for certain when these statements do, and whose failure nothing catches."""
    queue: list[ast.AST] = list(statements)
    while queue:
        node = queue.pop(0)
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.For, ast.AsyncFor, ast.While, ast.Match)):
            continue
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            continue
        if isinstance(node, ast.Try):
            queue += node.finalbody if node.handlers else [*node.body, *node.finalbody]
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            continue  # suppress(KeyError)
        elif isinstance(node, (ast.If, ast.IfExp)):
            queue.append(node.test)
        elif isinstance(node, ast.BoolOp):
            queue.append(node.values[0])
        else:
            queue += list(ast.iter_child_nodes(node))
