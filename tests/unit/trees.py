"""Small sources for the tests of the checks: written from a table of paths and texts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

BACKEND = {
    "requirements.txt": "fastapi==0.115.0\nuvicorn[standard]==0.32.0\nsqlmodel==0.0.22\npyjwt==2.9.0\n",
    "app/__init__.py": "",
    "app/main.py": "from fastapi import FastAPI\nfrom app.routers import tasks\n\napp = FastAPI()\napp.include_router(tasks.router)\n"
    '@app.get("/health")\ndef health(): return {}\n',
    "app/routers/__init__.py": "",
    "app/routers/tasks.py": "import jwt\nfrom fastapi import APIRouter\nfrom ..database import engine\n\nrouter = APIRouter()\n",
    "app/database.py": 'import os\nfrom sqlalchemy import create_engine\n\nengine = create_engine(os.environ["DATABASE_URL"])\n',
}
FRONTEND = {
    "package.json": '{"name": "web", "scripts": {"build": "next build"}, "engines": {"node": ">=18"},\n'
    ' "dependencies": {"next": "15.1.0", "react": "19.0.0", "react-dom": "19.0.0"}}\n',
    "package-lock.json": '{"packages": {"": {"dependencies": {"next": "15.1.0", "react": "19.0.0", "react-dom": "19.0.0"}},\n'
    ' "node_modules/next": {\n  "version": "15.1.0"}, "node_modules/react": {"version": "19.0.0"}}}\n',
    "tsconfig.json": '{"compilerOptions": {"paths": {"@/*": ["./*"]}, /* the alias */ "strict": true,}}\n',
    "app/layout.tsx": 'import "./globals.css";\nexport default function Layout({ children }) { return children; }\n',
    "app/globals.css": "body {}\n",
    "app/page.tsx": '"use client";\nimport { useState } from "react";\nimport { api } from "@/lib/api";\n'
    'import type { Task } from "../types/task";\nexport default function Page() { return <p>{api}</p>; }\n',
    "app/api/health/route.ts": "export const GET = () => Response.json({});\n",
    "lib/api.ts": 'import { readFile } from "node:fs/promises";\nexport const api = process.env.API_URL;\n',
    "types/task.ts": "export type Task = {};\n",
}


def write(root: Path, *layers: dict[str, str | None]) -> Path:
    """Write the files of all layers below `root`, later ones over earlier ones; None removes one."""
    files: dict[str, str | None] = {}
    for layer in layers:
        files.update(layer)
    for path, text in files.items():
        if text is not None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
    return root


def git(root: Path, *arguments: str) -> None:
    """Run git on a checkout, as somebody."""
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", *who, "-C", str(root), *arguments], check=True, capture_output=True)


def checkout(root: Path) -> Path:
    """Make what lies in a directory the first commit of a repository there."""
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "first")
    return root


def run_module(name: str, **arguments: Any) -> tuple[dict[str, Any], int]:
    """(what a module answers, its exit status), run as on a host."""
    given = json.dumps({"ANSIBLE_MODULE_ARGS": {"_ansible_remote_tmp": "/tmp", **arguments}}, default=str)
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tests/unit')!r}); import conftest, runpy; "
        f"runpy.run_module('ansible_collections.berth.stack.plugins.modules.{name}', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, text=True, check=False)
    return json.loads(done.stdout), done.returncode
