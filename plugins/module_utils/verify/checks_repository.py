"""The self-audit of Berth's repository: documents, examples, compose.yaml, playbooks. What a check is: verify/facts.py."""

from __future__ import annotations

import re

from .facts import Evidence, Facts, NotVerified, check, require


@check("repository")
def committed_secrets(f: Facts) -> Evidence:
    """The files that git keeps. Passes when no .env, key or vault is among them and no text has a credential's form."""
    found = f.repository["committed"]
    if not found["checked"]:
        raise NotVerified("the project is no git repository here")
    require(not found["bad_names"] and not found["secrets"], f"kept by git: {', '.join(found['bad_names'] + found['secrets'])}")
    require(any(line.strip("/") == ".env" for line in f.repository["gitignore"]), ".gitignore does not name .env")
    return "no .env, key or credential is kept; .env is ignored"


@check("repository")
def env_example(f: Facts) -> Evidence:
    """.env.example. Passes when it names settings and carries no secret's value."""
    found = f.repository["environment"]
    require(found["example"], "there is no .env.example that names a setting")
    require(not found["example_secrets"], f"it has values for {', '.join(found['example_secrets'])}")
    return f"{len(found['example'])} settings: {', '.join(found['example'][:8])}, ..."


@check("repository")
def env_documented(f: Facts) -> Evidence:
    """Every environment variable that the playbooks read. Passes when docs/environment.md or .env.example describes it."""
    text = f.document("docs/environment.md")["text"]
    found = f.repository["environment"]
    missing = [name for name in found["read"] if name not in found["example"] and not re.search(rf"\b{name}\b", text)]
    # Names that other tools read for the same thing, beside one that is documented.
    missing = [name for name in missing if name not in ("REQUESTS_CA_BUNDLE",)]
    require(not missing, f"read and not documented: {', '.join(missing)}")
    return f"{len(found['read'])} variables are read, all are documented"


@check("repository")
def container_env_documented(f: Facts) -> Evidence:
    """The settings that containers are given. Passes when docs/environment.md names those of backend and frontend."""
    text = f.document("docs/environment.md")["text"]
    require("Of the containers" in text and "_FILE" in text, "docs/environment.md does not describe what containers are given")
    return "docs/environment.md, Of the containers"


@check("repository")
def compose(f: Facts) -> Evidence:
    """compose.yaml. Passes when it has backend, frontend and database, each read-only with a user, a health check and a memory limit, and
    the database is not published."""
    found = f.repository["compose"]
    require(found, "there is no compose.yaml")
    services = found.get("services") or {}
    missing = [name for name in ("backend", "frontend", "database") if name not in services]
    require(not missing, f"compose.yaml has no service {', '.join(missing)}")
    soft = [
        f"{name} has no {key}"
        for name in ("backend", "frontend", "database")
        for key in ("user", "healthcheck", "read_only", "mem_limit")
        if not services[name].get(key)
    ]
    require(not soft, f"compose.yaml: {', '.join(soft)}")
    require(not services["database"].get("ports"), "compose.yaml publishes the database")
    return f"services {', '.join(services)}"


@check("repository")
def document(f: Facts, name: str) -> Evidence:
    """{}. Passes when it is there, has headings or a table, and every link in it leads somewhere."""
    found = f.document(name)
    words = len(found["text"].split())
    require(words >= 100, f"{name} has {words} words only")
    return f"{words} words, {len(found['headings'])} headings, no broken link"


@check("repository")
def document_covers(f: Facts, argument: str) -> Evidence:
    """A document and what it must cover ({}). Passes when each of the words is in it."""
    name, _, words = argument.partition(":")
    text = f.document(name)["text"].lower()
    missing = [word for word in words.split(",") if word.replace("_", " ").lower() not in text]
    require(not missing, f"{name} does not cover {', '.join(missing)}")
    return f"{name} covers {words.replace(',', ', ').replace('_', ' ')}"


@check("repository")
def playbook(f: Facts, name: str) -> Evidence:
    """The playbooks. Passes when there is one for `{}`."""
    require(name in f.repository["playbooks"], f"there is no playbooks/{name}.yml")
    return f"playbooks/{name}.yml"
