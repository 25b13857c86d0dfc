"""Tokens: what is let in, what is not, and what happens while the frontend is away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support import Issuer, Process, ScriptedModel, b64, running_backend, wait_for


def status_of(backend: Process, token: str, path: str = "/api/tasks") -> int:
    headers = {"Authorization": b"Bearer " + token.encode("utf-8")}
    response = httpx.get(backend.url + path, headers=headers, trust_env=False)
    if response.status_code == 401:
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert response.headers["content-type"] == "application/problem+json"
    return response.status_code


def forge(header: dict[str, object], claims: dict[str, object], signature: bytes = b"") -> str:
    return ".".join([b64(json.dumps(header).encode()), b64(json.dumps(claims).encode()), b64(signature)])


def test_a_good_token(backend: Process, issuer: Issuer) -> None:
    assert status_of(backend, issuer.token()) == 200


def public_pem(issuer: Issuer) -> bytes:
    return (
        issuer.keys["first"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def hmac_with(secret: bytes) -> Callable[[Issuer], str]:
    """Signed with HS256 and the public key as its secret (PyJWT refuses to make such a token, so by hand)."""

    def attack(issuer: Issuer) -> str:
        import hashlib
        import hmac

        key = secret or public_pem(issuer)
        unsigned = forge({"alg": "HS256", "typ": "JWT", "kid": "first"}, issuer.claims()).rsplit(".", 1)[0]
        return f"{unsigned}.{b64(hmac.new(key, unsigned.encode(), hashlib.sha256).digest())}"

    return attack


def own_key_in(**header: object) -> Callable[[Issuer], str]:
    """Signed with the attacker's key, which the header carries or points to."""

    def attack(issuer: Issuer) -> str:
        key = Ed25519PrivateKey.generate()
        values = {name: Issuer.jwk("mine", key) if value == "JWK" else value for name, value in header.items()}
        return jwt.encode(issuer.claims(), key, "EdDSA", {"kid": "first", **values})

    return attack


def with_claims(**changes: object) -> Callable[[Issuer], str]:
    return lambda issuer: issuer.token(**changes)


def with_kid(kid: object) -> Callable[[Issuer], str]:
    def attack(issuer: Issuer) -> str:
        signing_input = forge({"alg": "EdDSA", "typ": "JWT", "kid": kid}, issuer.claims()).rsplit(".", 1)[0]
        return f"{signing_input}.{b64(issuer.keys['first'].sign(signing_input.encode()))}"

    return attack


def tampered(issuer: Issuer) -> str:
    header, _, signature = issuer.token().split(".")
    return f"{header}.{b64(json.dumps(issuer.claims('admin')).encode())}.{signature}"


def truncated_signature(issuer: Issuer) -> str:
    return issuer.token()[:-8]


def rsa_signed(issuer: Issuer) -> str:
    return jwt.encode(issuer.claims(), rsa.generate_private_key(65537, 2048), "RS256", {"kid": "first"})


def ec_signed(issuer: Issuer) -> str:
    return jwt.encode(issuer.claims(), ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": "first"})


NOW = int(time.time())
ATTACKS: dict[str, Callable[[Issuer], str]] = {
    "alg none": lambda issuer: forge({"alg": "none", "kid": "first"}, issuer.claims()),
    "alg None": lambda issuer: forge({"alg": "None", "kid": "first"}, issuer.claims()),
    "no alg": lambda issuer: forge({"kid": "first"}, issuer.claims()),
    "hs256 with the public key": hmac_with(b""),
    "hs256 with an empty key": hmac_with(b"\x00"),
    "rs256": rsa_signed,
    "es256": ec_signed,
    "another key": own_key_in(),
    "embedded jwk": own_key_in(jwk="JWK"),
    "jku": own_key_in(jku="http://127.0.0.1:9/jwks"),
    "x5u": own_key_in(x5u="http://127.0.0.1:9/cert"),
    "unknown crit": own_key_in(crit=["exp"]),
    "expired": with_claims(iat=NOW - 7200, exp=NOW - 3600),
    "not yet": with_claims(nbf=NOW + 3600),
    "from the future": with_claims(iat=NOW + 3600),
    "other audience": with_claims(aud="https://elsewhere.example"),
    "no audience": with_claims(aud=None),
    "other issuer": with_claims(iss="https://elsewhere.example"),
    "issuer with a path": with_claims(iss="https://localhost:8443/other"),
    "no issuer": with_claims(iss=None),
    "no exp": with_claims(exp=None),
    "exp is no number": with_claims(exp="tomorrow"),
    "exp is infinite": with_claims(exp=1e400),
    "no iat": with_claims(iat=None),
    "no sub": lambda issuer: issuer.token(None),
    "empty sub": lambda issuer: issuer.token(""),
    "sub with NUL": lambda issuer: issuer.token("a\x00b"),
    "sub too long": lambda issuer: issuer.token("a" * 256),
    "kid is a path": with_kid("../../../../dev/null"),
    "kid is SQL": with_kid("x' UNION SELECT 'first"),
    "kid is unknown": with_kid("unknown"),
    "kid is a list": with_kid(["first"]),
    "kid is missing": with_kid(None),
    "claims changed": tampered,
    "signature cut": truncated_signature,
    "no signature": lambda issuer: issuer.token().rsplit(".", 1)[0] + ".",
    "two parts": lambda issuer: issuer.token().rsplit(".", 1)[0],
    "not a token": lambda _: "abc",
    "not ascii": lambda _: "\u00e4.\u00f6.\u00fc",
    "huge": lambda issuer: issuer.token("a", padding="x" * 9000),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("path", ["/api/tasks", "/mcp"])
def test_attacks_are_answered_with_401(backend: Process, issuer: Issuer, attack: str, path: str) -> None:
    assert status_of(backend, ATTACKS[attack](issuer), path) == 401


@pytest.mark.parametrize("header", ["", "Bearer", "Basic dXNlcjpwYXNz", "Token abc", "bearer"])
@pytest.mark.parametrize("path", ["/api/tasks", "/api/conversations", "/mcp"])
def test_without_a_token(backend: Process, header: str, path: str) -> None:
    headers = {"Authorization": header} if header else {}
    assert httpx.get(backend.url + path, headers=headers, trust_env=False).status_code == 401


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/chat"), ("POST", "/api/chat/stream"), ("POST", "/api/tasks"), ("POST", "/mcp")]
)
def test_posting_without_a_token(backend: Process, method: str, path: str) -> None:
    assert httpx.request(method, backend.url + path, json={"message": "x"}, trust_env=False).status_code == 401


def test_users_reach_their_own_rows_only(signed_in: Callable[[str], httpx.Client], user: str) -> None:
    mine, theirs = signed_in(user), signed_in(f"{user}-other")
    task = mine.post("/api/tasks", json={"title": "secret"}).json()
    chat = mine.post("/api/chat", json={"message": "list my tasks"}).json()
    for path in (f"/api/tasks/{task['id']}", f"/api/conversations/{chat['conversation_id']}"):
        assert theirs.get(path).status_code == 404
        assert theirs.delete(path).status_code == 404
        assert mine.get(path).status_code == 200
    assert theirs.patch(f"/api/tasks/{task['id']}", json={"title": "taken"}).status_code == 404
    assert (
        theirs.post("/api/chat", json={"message": "hello", "conversation_id": chat["conversation_id"]}).status_code
        == 404
    )
    assert theirs.get("/api/tasks").json()["total"] == 0
    assert theirs.get("/api/conversations").json()["total"] == 0
    assert "secret" not in theirs.post("/api/chat", json={"message": "list my tasks"}).text
    assert "no task" in theirs.post("/api/chat", json={"message": "delete secret"}).json()["reply"]
    assert mine.get(f"/api/tasks/{task['id']}").json()["title"] == "secret"


class TestKeys:
    """The cache of keys, with an issuer and a backend of its own."""

    @pytest.fixture(scope="class")
    @classmethod
    def issuer(cls) -> Iterator[Issuer]:
        server = Issuer()
        yield server
        server.close()

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, database_url: str, issuer: Issuer, scripted: ScriptedModel) -> Iterator[Process]:
        changes = {"AUTH_JWKS_REFETCH_INTERVAL": "1", "AUTH_JWKS_TTL": "3"}
        with running_backend(database_url, issuer, scripted.url, **changes) as process:
            yield process.wait()

    def test_503_while_there_has_never_been_a_key(self, backend: Process, issuer: Issuer) -> None:
        issuer.status = 503
        response = httpx.get(backend.url + "/api/tasks", headers=issuer.headers("a"), trust_env=False)
        assert response.status_code == 503
        assert response.json()["type"] == "urn:berth:problem:authentication-unavailable"
        assert int(response.headers["retry-after"]) >= 1
        issuer.status = 200
        wait_for(lambda: status_of(backend, issuer.token()) == 200, 5)

    def test_keys_are_fetched_once_for_many_requests(self, backend: Process, issuer: Issuer) -> None:
        before = issuer.fetches
        assert [status_of(backend, issuer.token()) for _ in range(20)] == [200] * 20
        assert issuer.fetches - before <= 2

    def test_an_unknown_kid_is_fetched_and_floods_are_not_passed_on(self, backend: Process, issuer: Issuer) -> None:
        time.sleep(1.1)
        issuer.add_key("second")
        assert status_of(backend, issuer.token(kid="second")) == 200
        before = issuer.fetches
        begun = time.monotonic()
        for number in range(30):
            assert status_of(backend, with_kid(f"unknown-{number}")(issuer)) == 401
        assert issuer.fetches - before <= (time.monotonic() - begun) / 1 + 1

    def test_a_frontend_that_is_away_signs_nobody_out(self, backend: Process, issuer: Issuer) -> None:
        assert status_of(backend, issuer.token()) == 200
        issuer.status = 500
        before = issuer.fetches
        time.sleep(3.2)  # beyond the time to live
        assert [status_of(backend, issuer.token()) for _ in range(5)] == [200] * 5
        wait_for(lambda: issuer.fetches > before, 5, "a fetch in the background")
        assert status_of(backend, issuer.token()) == 200
        issuer.status = 200

    def test_a_key_that_was_withdrawn_is_refused_in_the_end(self, backend: Process, issuer: Issuer) -> None:
        token = issuer.token(kid="second")
        issuer.keys.pop("second")
        time.sleep(3.2)
        wait_for(lambda: status_of(backend, token) == 401, 8, "the refusal")

    def test_keys_of_other_kinds_in_the_set_are_not_used(self, backend: Process, issuer: Issuer) -> None:
        private = rsa.generate_private_key(65537, 2048)
        jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key()))
        issuer.extra = [
            {**jwk, "kid": "rsa"},
            {"kty": "oct", "kid": "oct", "k": b64(b"0" * 32)},
            {**Issuer.jwk("enc", issuer.keys["first"]), "use": "enc"},
        ]
        time.sleep(1.1)
        assert status_of(backend, jwt.encode(issuer.claims(), private, "RS256", {"kid": "rsa"})) == 401
        assert status_of(backend, jwt.encode(issuer.claims(), b"0" * 32, "HS256", {"kid": "oct"})) == 401
        assert status_of(backend, jwt.encode(issuer.claims(), issuer.keys["first"], "EdDSA", {"kid": "enc"})) == 401
        assert status_of(backend, issuer.token()) == 200
