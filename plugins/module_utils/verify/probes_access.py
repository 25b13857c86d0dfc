"""Probes of who is let in to an application: wrong tokens, other sites, other users."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from .app_client import Broken, Browser
from .probes import Evidence, Probes, Step


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(part: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


class Access(Probes):
    """What must be refused, and what another user must not see."""

    def steps(self) -> list[Step]:
        tasks = ("auth", "tasks")
        return [
            Step("tokens", "Forged, foreign and broken tokens are refused", self.tokens, tasks, ("token",)),
            Step("origin", "Another site cannot sign in for the user", self.origin, ("auth",), ("sign_up",)),
            Step("users", "A user does not see another one's tasks", self.users, tasks, ("token",)),
        ]

    def tokens(self) -> Evidence:
        header, payload, signature = self.token.split(".")
        claims = _decoded(payload)
        none = f"{_encoded(json.dumps({'alg': 'none', 'typ': 'JWT'}).encode())}.{payload}."
        keys = self.web("GET", "/api/auth/jwks")[2]
        hs = f"{_encoded(json.dumps({**_decoded(header), 'alg': 'HS256'}).encode())}.{payload}"
        public = json.dumps(keys["keys"][0], separators=(",", ":")).encode()
        confused = f"{hs}.{_encoded(hmac.new(public, hs.encode(), hashlib.sha256).digest())}"
        other = _encoded(json.dumps({**claims, "sub": "somebody-else"}).encode())
        late = _encoded(json.dumps({**claims, "exp": int(time.time()) - 3600}).encode())
        cases = {
            "no token": "",
            "text": "not-a-token",
            "algorithm none": none,
            "HS256 with the public key": confused,
            "another user under the same signature": f"{header}.{other}.{signature}",
            "an expired one under the same signature": f"{header}.{late}.{signature}",
            "a cut signature": self.token[:-8],
        }
        for name, token in cases.items():
            status = self.web("GET", "/api/tasks", token=token, expect=None)[0]
            if status != 401:
                raise Broken(f"{name} was answered with {status}, not 401")
        if not claims.get("exp") or claims["exp"] - time.time() > 86400:
            raise Broken("the token does not expire within a day")
        wrong = self.web("POST", "/api/auth/sign-in/email", {"email": self.check.user["email"], "password": "wrong"}, expect=None)[0]
        if wrong not in (400, 401, 403):
            raise Broken(f"a wrong password was answered with {wrong}")
        minutes = (claims["exp"] - claims.get("iat", time.time())) / 60
        return f"401 for {len(cases)} tokens; {wrong} for a wrong password; a token lives {minutes:.0f} minutes"

    def origin(self) -> Evidence:
        credentials = {key: self.check.user[key] for key in ("email", "password")}
        status = self.web("POST", "/api/auth/sign-in/email", credentials, expect=None, headers={"Origin": "https://evil.example"})[0]
        if status not in (400, 401, 403):
            raise Broken(f"a sign-in from https://evil.example was answered with {status}")
        return f"{status} for a foreign Origin"

    def users(self) -> Evidence:
        other = Browser(self.options["url"], self.options["ca"], self.options["connect"], self.options["timeout"])
        user = {**self.check.user, "email": f"other-{self.check.user['email']}"}
        other("POST", "/api/auth/sign-up/email", user)
        try:
            token = other("GET", "/api/auth/token")[2]["token"]
            status = other("GET", f"/api/tasks/{self.check.task}", token=token, expect=None)[0]
            items = other("GET", "/api/tasks", token=token)[2]["items"]
        finally:
            other("POST", "/api/auth/delete-user", {"password": user["password"]}, expect=None)
        if status not in (403, 404) or items:
            raise Broken(f"another user got {status} for the task, and {len(items)} tasks in the list")
        return f"{status} for the task, and an empty list"
