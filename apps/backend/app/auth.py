"""Who is asking: JWTs signed with Ed25519, checked against the frontend's JWKS."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import jwt
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.problems import ProblemError, unavailable
from app.settings import Settings

logger = logging.getLogger(__name__)

ALGORITHM = "EdDSA"
REQUIRED_CLAIMS = ["exp", "iat", "iss", "aud", "sub"]
LEEWAY_SECONDS = 5
TOKEN_MAX_LENGTH = 8192


@dataclass(frozen=True)
class User:
    """Somebody with a valid token. The token is kept to act for them over MCP."""

    id: str
    token: str


def unauthorized(detail: str) -> ProblemError:
    """401, with the challenge that RFC 6750 asks for."""
    return ProblemError(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


class KeySet:
    """The signing keys by `kid`: cached, fetched anew when old or when a kid is unknown, kept when the fetch fails."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.auth_jwks_url
        self.ttl = settings.auth_jwks_ttl
        self.refetch_interval = settings.auth_jwks_refetch_interval
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._lock = asyncio.Lock()
        self._background: asyncio.Task[None] | None = None
        # The name of a frontend with replicas may for a moment mean one that has gone: another attempt finds another.
        transport = httpx.AsyncHTTPTransport(retries=2)
        self._client = httpx.AsyncClient(timeout=3, trust_env=False, follow_redirects=False, transport=transport)

    async def key(self, kid: str) -> jwt.PyJWK | None:
        """The key of that name, or None; 503 when no key could ever be fetched."""
        if kid not in self._keys:
            await self._refresh()
        elif time.monotonic() - self._fetched_at > self.ttl and not self._lock.locked():
            # A known key still serves while the set is looked at again: nobody waits for a frontend that is away.
            self._background = asyncio.create_task(self._refresh())
        if not self._keys:
            raise unavailable("authentication", "The keys that tokens are checked with cannot be fetched now.")
        return self._keys.get(kid)

    async def _refresh(self) -> None:
        """Fetch once for all that wait, and no sooner than the interval: unknown kids must cost the sender only."""
        asked_at = time.monotonic()
        async with self._lock:
            if self._tried_at >= asked_at or asked_at - self._tried_at < self._interval:
                return
            try:
                self._keys = await self._fetch()
                self._fetched_at = time.monotonic()
            except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
                # The old keys stay: a frontend that restarts must not sign everybody out.
                logger.warning("JWKS cannot be fetched", exc_info=True)
            finally:
                self._tried_at = time.monotonic()

    @property
    def _interval(self) -> float:
        return self.refetch_interval if self._keys else min(1.0, self.refetch_interval)

    async def _fetch(self) -> dict[str, jwt.PyJWK]:
        response = await self._client.get(self.url)
        response.raise_for_status()
        keys: dict[str, jwt.PyJWK] = {}
        for entry in response.json()["keys"]:
            # Only what signs with Ed25519: an RSA or symmetric key in the set must never be tried.
            if entry.get("kty") == "OKP" and entry.get("crv") == "Ed25519" and entry.get("use", "sig") == "sig":
                keys[str(entry["kid"])] = jwt.PyJWK(entry, algorithm=ALGORITHM)
        if not keys:
            raise ValueError("no usable key in the JWKS")
        return keys

    async def close(self) -> None:
        """Close the connections."""
        if self._background:
            self._background.cancel()
        await self._client.aclose()


class Authenticator:
    """Turns an Authorization header into a User, or into 401."""

    def __init__(self, settings: Settings) -> None:
        self.issuer = settings.auth_issuer
        self.audience = settings.auth_audience
        self.keys = KeySet(settings)

    async def user_of(self, scheme: str | None, token: str | None) -> User:
        """The user that a bearer token was made for."""
        if not scheme or scheme.lower() != "bearer" or not token:
            raise unauthorized("A bearer token is needed.")
        if len(token) > TOKEN_MAX_LENGTH:
            raise unauthorized("The token is too long.")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise unauthorized("The token is not a JWT.") from None
        kid = header.get("kid")
        # Of the header only alg and kid are used; keys or addresses of keys in it (jwk, jku, x5u) are not looked at.
        if header.get("alg") != ALGORITHM or not isinstance(kid, str):
            raise unauthorized("The token is not signed in the way that is asked for.")
        key = await self.keys.key(kid)
        if key is None:
            raise unauthorized("The token is signed with an unknown key.")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=self.issuer,
                audience=self.audience,
                leeway=LEEWAY_SECONDS,
                options={"require": REQUIRED_CLAIMS},
            )
        except jwt.ExpiredSignatureError:
            raise unauthorized("The token has expired.") from None
        except (jwt.PyJWTError, ValueError, OverflowError):
            raise unauthorized("The token is not valid.") from None
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
            raise unauthorized("The token does not name a user.")
        return User(subject, token)


bearer = HTTPBearer(
    auto_error=False,
    scheme_name="bearerAuth",
    bearerFormat="JWT",
    description="A token from `/api/auth/token` of the frontend (EdDSA, 15 minutes).",
)


async def current_user(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> User:
    """Dependency: the user, who is also noted for the log and counted for the rate limit."""
    user: User = await request.app.state.authenticator.user_of(
        credentials and credentials.scheme, credentials and credentials.credentials
    )
    request.state.user_id = user.id
    request.app.state.request_limit.check(user.id)
    return user


CurrentUser = Annotated[User, Depends(current_user)]
