"""Hosts of the internet that a source's code names, itself or by the packages for them that it depends on."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .checks import TESTS, Tree, line_of

# Packages that call one host, of Python and of npm.
PACKAGES = {
    "stripe": "api.stripe.com",
    "resend": "api.resend.com",
    "sendgrid": "api.sendgrid.com",
    "@sendgrid/mail": "api.sendgrid.com",
    "anthropic": "api.anthropic.com",
    "@anthropic-ai/sdk": "api.anthropic.com",
    "groq": "api.groq.com",
    "cohere": "api.cohere.com",
    "twilio": "api.twilio.com",
    "google-genai": "generativelanguage.googleapis.com",
    "google-generativeai": "generativelanguage.googleapis.com",
    "mistralai": "api.mistral.ai",
    "huggingface-hub": "huggingface.co",
    "openai": "api.openai.com",
    "cloudinary": "api.cloudinary.com",
    "replicate": "api.replicate.com",
    "tavily-python": "api.tavily.com",
    "elevenlabs": "api.elevenlabs.io",
    "postmark": "api.postmarkapp.com",
}
# Providers of logins, by what Better Auth, Auth.js and Authlib call them.
LOGINS = {
    "google": ["accounts.google.com", "oauth2.googleapis.com", "www.googleapis.com"],
    "github": ["github.com", "api.github.com"],
    "discord": ["discord.com"],
    "gitlab": ["gitlab.com"],
    "microsoft": ["login.microsoftonline.com", "graph.microsoft.com"],
    "facebook": ["graph.facebook.com"],
    "linkedin": ["www.linkedin.com", "api.linkedin.com"],
}
PROVIDER = re.compile(
    r"socialProviders\s*:\s*\{(?P<better>[\s\S]{0,1500})|next-auth/providers/(?P<auth>\w+)|oauth\.register\(\s*(?:name\s*=\s*)?[\"'](?P<authlib>\w+)"
)
ADDRESS = re.compile(r"[\"'`]https://([a-z0-9-]+(?:\.[a-z0-9-]+)+)(?=[/\"'`:?$])")
# Names and places that nobody connects to from the server: namespaces, examples, assets and pages for people.
NO_HOST = re.compile(
    r"(^|\.)(example\.(com|org|net)|localhost|w3\.org|schema\.org|json-schema\.org|yourdomain\.com|domain\.com|test|local|internal|invalid)$|^(www\.)?"
    r"(nextjs|react|vercel|fastapi|python|pydantic|npmjs|github|twitter|x|facebook|linkedin|youtube|instagram|medium|tailwindcss|unsplash)\.\w+$|"
    r"^(docs?|help|support|blog|fonts|cdn|images?|static|avatars?|placehold|via|picsum|ui-avatars|schemas?)\."
)


def hosts(tree: Tree, paths: Iterable[str], declared: dict[str, str]) -> dict[str, str]:
    """{host: where} of what the code in `paths` and the packages `declared` ({name: where}) call."""
    found = {PACKAGES[name]: where for name, where in declared.items() if name in PACKAGES}
    for path in paths:
        text = tree.text(path) or ""
        if TESTS.search(path) or ("https://" not in text and not PROVIDER.search(text)):
            continue
        for match in ADDRESS.finditer(text):
            line = text[text.rfind("\n", 0, match.start()) + 1 : match.end()]
            if not NO_HOST.search(match[1]) and not re.search(
                r"href|src=|content=|//.*https|^\s*(#|\*)|remotePatterns|origin|cors", line, re.I
            ):
                found.setdefault(match[1], f"{path}:{line_of(text, match.start())}")
        for match in PROVIDER.finditer(text):
            names = re.findall(r"^\s*(\w+)\s*:\s*\{", match["better"], re.M) if match["better"] else [match["auth"] or match["authlib"]]
            for host in (host for name in names for host in LOGINS.get(str(name).lower(), [])):
                found.setdefault(host, f"{path}:{line_of(text, match.start())}")
    return found
