"""Forged tokens, and unauthorized requests to the MCP server: through the edge, with what an attacker has (an account
of his own and the public keys). Attacks that need the issuer's private key are in apps/backend/tests/test_auth.py.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import Callable
from typing import Any

import httpx
import jwt
from conftest import BASE_URL, EDGE_CA, User
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

Part = dict[str, Any]


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def edge() -> httpx.Client:
    return httpx.Client(base_url=BASE_URL, verify=ssl.create_default_context(cafile=EDGE_CA), trust_env=False, timeout=20)


class Loot:
    """What the attacker has: an own token, decoded, and the public key that verifies it."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.parts = token.split(".")
        self.header: Part = json.loads(decoded(self.parts[0]))
        self.claims: Part = json.loads(decoded(self.parts[1])) | {"sub": "somebody-else"}
        with edge() as http:
            self.jwk = next(key for key in http.get("/api/auth/jwks").json()["keys"] if key["kid"] == self.header["kid"])

    def forged(self, header: Part, signature: Callable[[bytes], bytes] = lambda _: b"") -> str:
        signed = ".".join(encoded(json.dumps(part).encode()) for part in (header, self.claims))
        return f"{signed}.{encoded(signature(signed.encode()))}"

    def by_hmac(self, key: bytes) -> str:
        return self.forged(self.header | {"alg": "HS256"}, lambda signed: hmac.new(key, signed, hashlib.sha256).digest())

    def pem(self) -> bytes:
        key = Ed25519PublicKey.from_public_bytes(decoded(self.jwk["x"]))
        return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def own_key(self, **header: Any) -> str:
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        jwk = {"kty": "OKP", "crv": "Ed25519", "kid": "mine", "alg": "EdDSA", "x": encoded(public)}
        chosen = {name: jwk if value == "JWK" else value for name, value in header.items()}
        return self.forged(self.header | chosen, key.sign)


ATTACKS: dict[str, Callable[[Loot], str]] = {
    "alg none": lambda loot: loot.forged({**loot.header, "alg": "none"}),
    "alg NoNe": lambda loot: loot.forged({**loot.header, "alg": "NoNe"}),
    "no alg": lambda loot: loot.forged({"kid": loot.header["kid"]}),
    "hs256 with the public key": lambda loot: loot.by_hmac(loot.pem()),
    "hs256 with the JWK": lambda loot: loot.by_hmac(json.dumps(loot.jwk).encode()),
    "hs256 with nothing": lambda loot: loot.by_hmac(b""),
    "rs256": lambda loot: jwt.encode(loot.claims, rsa.generate_private_key(65537, 2048), "RS256", {"kid": loot.header["kid"]}),
    "es256": lambda loot: jwt.encode(loot.claims, ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": loot.header["kid"]}),
    "another key": lambda loot: loot.own_key(),
    "embedded jwk": lambda loot: loot.own_key(jwk="JWK"),
    "embedded jwk, its kid": lambda loot: loot.own_key(jwk="JWK", kid="mine"),
    "jku": lambda loot: loot.own_key(jku="https://127.0.0.1:9/jwks"),
    "x5u": lambda loot: loot.own_key(x5u="https://127.0.0.1:9/cert"),
    "kid is a path": lambda loot: loot.own_key(kid="../../../../dev/null"),
    "kid is SQL": lambda loot: loot.own_key(kid="x' UNION SELECT 'first"),
    "kid is unknown": lambda loot: loot.own_key(kid="unknown"),
    "kid is missing": lambda loot: loot.own_key(kid=None),
    "claims changed": lambda loot: ".".join([loot.parts[0], encoded(json.dumps(loot.claims).encode()), loot.parts[2]]),
    "signature cut": lambda loot: loot.token[:-8],
    "no signature": lambda loot: ".".join([*loot.parts[:2], ""]),
    "two parts": lambda loot: ".".join(loot.parts[:2]),
    "not a token": lambda _: "abc",
    "huge": lambda loot: loot.token + "x" * 9000,
}


def test_forged_tokens_are_refused_everywhere(users: Callable[[int], list[User]]) -> None:
    (user,) = users(1)
    loot, let_in = Loot(user.token), {}
    with edge() as http:
        assert http.get("/api/tasks", headers=user.headers).status_code == 200, "with a token that nobody touched"
        for name, attack in ATTACKS.items():
            headers = {"Authorization": f"Bearer {attack(loot)}"}
            for path in ("/api/tasks", "/mcp"):
                status = http.get(path, headers=headers).status_code
                if status != 401:
                    let_in[f"{name} at {path}"] = status
    assert let_in == {}


CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
MCP = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}


def test_the_mcp_server_answers_its_own_host_and_origin_to_who_has_a_token(users: Callable[[int], list[User]]) -> None:
    (user,) = users(1)
    with edge() as http:

        def ask(headers: dict[str, str], path: str = "/mcp") -> int:
            return http.post(path, json=CALL, headers={**MCP, **headers}).status_code

        reported = user.headers
        assert ask(reported) == 200
        assert ask(reported | {"Origin": BASE_URL}) == 200
        for origin in (
            "https://evil.example",
            "null",
            f"{BASE_URL}.evil.example",
            BASE_URL.replace("https", "http"),
            "http://localhost:3000",
        ):
            assert ask(reported | {"Origin": origin}) == 403, origin
        for host in ("evil.example", "169.254.169.254", "localhost.evil.example", "backend:8000"):
            assert ask(reported | {"Host": host}) == 421, host
        for forged in ({"X-Forwarded-Host": "evil.example"}, {"Forwarded": "host=evil.example"}):
            assert ask(reported | forged) == 200, "what is not believed changes nothing"
        assert ask({}) == 401
        assert ask({"Authorization": f"Basic {user.token}"}) == 401
        assert ask({"Cookie": f"token={user.token}"}) == 401
        assert ask({}, f"/mcp?access_token={user.token}") == 401
        assert http.get("/mcp", headers=reported).status_code == 405
