"""A release gets traffic once it is started and responds, and loses it if it fails while it is monitored."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.module_utils.docker.client import EngineError
from ansible_collections.berth.stack.plugins.module_utils.release.edge import routes
from ansible_collections.berth.stack.plugins.module_utils.release.rollout import request, request_inside
from ansible_collections.berth.stack.plugins.module_utils.state.store import Failed
from engines import FakeEngine, Host, pair, release

ENDED = {"Status": "exited", "Running": False, "ExitCode": 3, "Error": ""}
ILL = {"Health": {"Status": "unhealthy", "FailingStreak": 3, "Log": [{"Output": "no database\n"}]}}


def stays(host: Host, version: str = "v1") -> None:
    """The release serves alone, nothing is left of another one, and nothing is under way."""
    assert (host.serves, host.running, host.store.pending) == (version, pair(version), {})


# before the switch ------------------------------------------------------------------------------------------------------


def test_the_new_release_gets_the_traffic_only_when_it_is_healthy_and_answers(host: Host) -> None:
    host.serve("v1")
    host.images("v2")
    reported: list[Any] = []

    def note(what: str) -> Callable[[], None]:
        return lambda: reported.append((what, host.serves, len(host.engine.asked), sorted(host.running)))

    # One that asks for time gets it.
    host.engine.answers["s-backend-v2"] = (503, "warming up")
    host.clock.after(10, lambda: host.engine.answers.clear())
    assert host.rollout().run(release("v2"), note("migrate"), note("prepare"))
    assert reported[0] == ("migrate", "v1", 0, sorted(pair("v1"))), "the database is brought to it before it starts"
    assert reported[1][:2] == ("prepare", "v1") and reported[1][2] > 2, "asked before"
    assert {name for name, _ in host.engine.asked} == pair("v2") and {serves for _, serves in host.engine.asked} == {"v1"}
    assert host.clock.now > 10
    assert host.serves == "v2" and host.running == pair("v1") | pair("v2"), "the old one finishes what it does"
    assert host.store.pending["from"] == "v1" and host.store.pending["to"] == "v2", "until the deployment is recorded"


def test_relays_run_before_migrations_that_reach_a_database_outside_the_stack(host: Host) -> None:
    seen: list[set[str]] = []
    for version, external in (("v1", ""), ("v2", "db.example.com:5432")):
        host.images(version)
        made = release(version, migrations=[{"service": "backend"}], around={"database": {"external": external}})
        relay = made["containers"][0] | {"name": f"s-egress-backend-{version}", "labels": {"berth.service": "egress-backend"}}
        made["containers"].append(relay)
        before = set(host.running)
        host.rollout().run(made, lambda before=before: seen.append(host.running - before))
        host.store.record(made)
        host.store.end()
    assert seen == [set(), {"s-egress-backend-v2"}]


def test_it_is_asked_when_it_is_healthy_and_not_before(host: Host) -> None:
    host.serve("v1")
    host.images("v2")
    began = host.clock.now
    health: list[tuple[float, str]] = []
    host.engine.answers = Answers(lambda name: health.append((host.clock.now, host.engine.containers[name]["State"]["Health"]["Status"])))
    host.rollout().run(release("v2"))
    assert {status for _, status in health} == {"healthy"} and min(when for when, _ in health) >= began + 0.5


class Answers(dict[str, tuple[int, str]]):
    """Looks at the host whenever a container is asked, which answers well."""

    def __init__(self, look: Callable[[str], Any]) -> None:
        self.look = look

    def get(self, name: str, default: Any = None) -> Any:
        self.look(name)
        return default


@pytest.mark.parametrize(
    ("fate", "words"),
    [
        (ENDED, ["exit code 3, restarted 0 times"]),
        (ENDED | {"OOMKilled": True}, ["exit code 3, killed for using more memory than its limit"]),
        (ILL, ["health: unhealthy, 3 failures in a row", "output of its check: no database"]),
    ],
)
def test_one_that_does_not_start_is_removed_and_the_old_one_serves_on(host: Host, fate: dict[str, Any], words: list[str]) -> None:
    host.serve("v1")
    host.images("v2")
    host.engine.fate["s-backend-v2"] = fate
    with pytest.raises(Failed) as failed:
        host.rollout().run(release("v2"))
    message = str(failed.value)
    assert message.startswith("Release v2 did not get traffic (v1 is still active):\ns-backend-v2 did not become healthy")
    assert all(word in message for word in [*words, "last lines of its log:\nfirst of s-backend-v2\nlast of s-backend-v2"])
    stays(host)
    assert host.engine.asked == [] and not any("-v1" in path for _, path in host.engine.changes)


def test_one_whose_second_image_is_gone_begins_nothing(host: Host) -> None:
    host.serve("v1")
    host.images("v2")
    del host.engine.images["sha256:frontend-v2"]
    with pytest.raises(Failed, match=r"v1 is still active.*\n.*sha256:frontend-v2 is not on this host"):
        host.rollout().run(release("v2"))
    assert not any("/create" in path for _, path in host.engine.changes)
    stays(host)


@pytest.mark.parametrize("service", ["backend", "frontend"])
def test_one_of_the_pair_that_cannot_be_started_leaves_nothing_of_the_other(host: Host, service: str) -> None:
    host.serve("v1")
    host.images("v2")
    host.engine.refused.add(f"s-{service}-v2")
    with pytest.raises(Failed, match=r"v1 is still active.*\n.*no space left on device"):
        host.rollout().run(release("v2"))
    assert ("DELETE", f"/containers/s-{service}-v2") in host.engine.changes
    stays(host)


def test_both_of_the_pair_are_made_at_once(host: Host) -> None:
    host.serve("v1")
    host.images("v2")
    together = threading.Barrier(2, timeout=5)
    host.engine.on_start = lambda name: together.wait()
    host.rollout().run(release("v2"))


@pytest.mark.parametrize(
    ("answer", "checks", "seconds", "words"),
    [
        ((500, "broken"), {}, 5, "500 broken; 2xx was expected (release_smoke_checks)"),
        ((503, "warming up"), {}, 20, "503 warming up; 2xx was expected (release_smoke_checks)"),
        ((0, "timed out"), {}, 20, "no response timed out; 2xx was expected (release_smoke_checks)"),
        ((404, "not here"), {}, 5, "404 not here; 2xx was expected (release_smoke_checks)"),
        ((307, "/login"), {}, 5, "307 /login; 2xx was expected (release_smoke_checks)"),
        ((404, "not here"), {"status": [200, 204]}, 5, "404 not here; 200, 204 was expected (release_smoke_checks)"),
        ((404, "not here"), {"status": ["2xx", "3xx"]}, 5, "404 not here; 2xx, 3xx was expected (release_smoke_checks)"),
    ],
)
def test_one_that_answers_wrong_is_removed_and_the_old_one_serves_on(
    host: Host, answer: tuple[int, str], checks: dict[str, Any], seconds: float, words: str
) -> None:
    host.serve("v1")
    host.images("v2")
    host.engine.answers["s-frontend-v2"] = answer
    smoke = [one | checks for one in host.infrastructure["smoke"]]
    began = host.clock.now + 0.5
    with pytest.raises(Failed) as failed:
        host.rollout(smoke=smoke, health_timeout=20).run(release("v2"))
    assert str(failed.value) == (
        "Release v2 did not get traffic (v1 is still active):\n"
        f"s-frontend-v2 failed its smoke check GET /frontend on port 8000: {words}\n"
        "last lines of its log:\nfirst of s-frontend-v2\nlast of s-frontend-v2"
    )
    assert host.clock.now - began == pytest.approx(seconds, abs=0.5), "what is broken stays so; what asks for time gets it"
    stays(host)


@pytest.mark.parametrize(("status", "demanded"), [(204, ["2xx"]), (307, ["2xx", "3xx"]), (401, [200, 401]), (200, ["200"])])
def test_a_status_that_is_demanded_will_do(host: Host, status: int, demanded: list[Any]) -> None:
    host.serve("v1")
    host.images("v2")
    host.engine.answers["s-backend-v2"] = (status, "")
    smoke = [one | {"status": demanded} if one["service"] == "backend" else one for one in host.infrastructure["smoke"]]
    assert host.rollout(smoke=smoke).run(release("v2")) and host.serves == "v2"


def test_checks_of_an_older_berths_manifest_have_no_statuses_and_keep_their_rule(host: Host) -> None:
    host.serve("v1")
    host.images("v2")
    host.engine.answers["s-backend-v2"] = (404, "not here")
    smoke = [{key: value for key, value in one.items() if key != "status"} for one in host.infrastructure["smoke"]]
    assert host.rollout(smoke=smoke).run(release("v2")) and host.serves == "v2"


@pytest.mark.parametrize(
    ("exit_status", "message", "found"),
    [
        (0, "healthy: /: HTTP/1.1 200 OK\n", 200),
        (0, "healthy: /: HTTP/1.1 307 Temporary Redirect\n", 307),
        (1, "unhealthy: /ready: HTTP/1.1 404 Not Found\n", 404),
        (1, "unhealthy: /ready: HTTP/1.0 503 Service Unavailable\n", 503),
        (0, "fine\n", 200),
        (1, "unhealthy: 8000: Connection refused\n", 500),
        (126, 'exec: "healthcheck": executable file not found in $PATH', 500),
    ],
)
def test_asked_from_inside_the_status_is_told_too(host: Host, exit_status: int, message: str, found: int) -> None:
    host.engine.execute = lambda *_, **__: (exit_status, message)  # type: ignore[method-assign,assignment]
    assert request_inside(host.engine, "s-backend-v2", 8000, "/ready")[0] == found


def test_a_first_release_that_fails_leaves_nothing(host: Host) -> None:
    host.images("v1")
    host.engine.answers["s-backend-v1"] = (500, "broken")
    with pytest.raises(Failed, match=r"did not get traffic \(there was no active release\)"):
        host.rollout().run(release("v1"))
    assert (host.serves, host.running, host.store.pending) == ("", set(), {})


def test_what_serves_is_not_removed_where_mending_it_fails(host: Host) -> None:
    host.serve("v1")
    del host.engine.containers["s-frontend-v1"]
    host.engine.fate["s-frontend-v1"] = ENDED
    with pytest.raises(Failed, match=r"\(it is the active release\)"):
        host.rollout().run(release("v1"))
    assert host.serves == "v1" and host.running == pair("v1")


def test_what_serves_as_it_should_is_left_alone(host: Host) -> None:
    one = host.serve("v1")
    assert not host.rollout().run(one)
    assert (host.engine.changes, host.engine.asked) == ([], [])


def test_an_edge_that_refuses_the_routes_keeps_the_old_ones_and_the_new_release_goes(host: Host) -> None:
    host.serve("v1")
    host.images("v2")
    host.engine.execution = (1, "no such directive")
    with pytest.raises(Failed, match=r"(?s)Release v2 did not get traffic \(v1 is still active\).*no such directive"):
        host.rollout().run(release("v2", edge={"caddyfile": "other /@routes@.*", "upstreams": {}}))
    assert (host.serves, host.running) == ("v1", pair("v1"))
    assert host.store.pending["to"] == "v2", "the next run loads the routes again, whatever the edge has of them"


def test_an_edge_that_has_lost_its_routes_and_refuses_new_ones_gets_those_of_the_old_release(host: Host) -> None:
    one = host.serve("v1")
    host.images("v2")
    file = host.folder / "edge/config/Caddyfile"
    file.unlink()
    host.engine.execution = (1, "no such directive")
    with pytest.raises(Failed, match=r"\(v1 is still active\)"):
        host.rollout().run(release("v2", edge={"caddyfile": "other /@routes@.*", "upstreams": {}}))
    assert (host.serves, file.read_text()) == ("v1", routes(one["edge"])[0])


# check mode -------------------------------------------------------------------------------------------------------------


def test_check_mode_says_what_would_be_done_and_does_nothing(host: Host) -> None:
    host.serve("v1")
    host.images("v2")
    before = host.files()
    planned = host.rollout(check=True, monitor_seconds=1)
    assert planned.run(release("v2"))
    assert planned.stack.actions == ["create container s-backend-v2", "create container s-frontend-v2", "switch the edge"]
    assert (host.files(), host.engine.changes, host.engine.asked) == (before, [], [])


def test_check_mode_removes_nothing_of_a_release_that_cannot_be(host: Host) -> None:
    two = host.serve("v2")
    host.serve("v1")
    host.store.begin_operation("deploy", "v1", "v2")
    two["containers"][1]["mem_limit"] = "lots"
    before = host.files()
    with pytest.raises(Failed, match="'lots' is not a size"):
        host.rollout(check=True).run(two)
    assert host.engine.changes == [] and host.running == pair("v1") | pair("v2") and host.files() == before


# watched ----------------------------------------------------------------------------------------------------------------


def ends(engine: FakeEngine) -> None:
    engine.last_end["s-backend-v2"] = ("137", True)
    engine.state("s-backend-v2", **ENDED)


def starts_over(engine: FakeEngine) -> None:
    engine.last_end["s-backend-v2"] = ("4", False)
    engine.containers["s-backend-v2"]["RestartCount"] = 1
    engine.state("s-backend-v2", StartedAt="again")


def ill(engine: FakeEngine) -> None:
    engine.state("s-backend-v2", **ILL)


def gone(engine: FakeEngine) -> None:
    del engine.containers["s-backend-v2"]


def errors(engine: FakeEngine) -> None:
    engine.answers["s-backend-v2"] = (500, "broken")


@pytest.mark.parametrize(
    ("happens", "words", "within"),
    [
        (ends, "s-backend-v2 ended (exit code 137, killed for using more memory than its limit, restarted 0 times)", 1),
        (starts_over, "s-backend-v2 ended (exit code 4, restarted 1 times)", 1),
        (ill, "s-backend-v2 became unhealthy: no database", 1),
        (gone, "s-backend-v2 no longer exists", 1),
        (errors, "s-backend-v2 failed its smoke check GET /backend on port 8000: 500 broken; 2xx was expected (release_smoke_checks)", 5),
    ],
)
def test_one_that_fails_while_it_is_watched_is_switched_back_and_removed(
    host: Host, happens: Callable[[FakeEngine], None], words: str, within: float
) -> None:
    host.serve("v1")
    host.images("v2")
    seen: list[tuple[float, str]] = []
    host.engine.on_delete = lambda path: seen.append((host.clock.now, host.serves))
    failed_at: list[float] = []

    def fail() -> None:
        failed_at.append(host.clock.now)
        assert host.serves == "v2~v1", "the other one gets what the new one refuses"
        happens(host.engine)

    host.clock.after(4, fail)
    with pytest.raises(Failed) as failed:
        host.rollout(monitor_seconds=20).run(release("v2"))
    message = str(failed.value)
    assert message.startswith(f"Release v2 failed within 20 s after the traffic switch; v1 is active again:\n{words}")
    assert happens is gone or message.endswith("last lines of its log:\nfirst of s-backend-v2\nlast of s-backend-v2")
    assert seen and {serves for _, serves in seen} == {"v1"}, "nothing of it goes while the edge points to it"
    back = min(when for when, _ in seen) - failed_at[0]
    assert 0.299 <= back <= within, "requests that had chosen it have reached it"
    stays(host)


def test_two_answers_that_fail_are_not_three(host: Host) -> None:
    host.serve("v1")
    host.images("v2")
    host.clock.after(4, lambda: errors(host.engine))
    host.clock.after(6.2, lambda: host.engine.answers.clear())
    host.clock.after(8, lambda: errors(host.engine))
    host.clock.after(10.2, lambda: host.engine.answers.clear())
    assert host.rollout(monitor_seconds=20).run(release("v2"))
    assert host.serves == "v2", "watched no longer"
    assert host.clock.now >= 20 and host.running == pair("v1") | pair("v2")


def test_a_first_release_has_nothing_to_go_back_to_and_is_not_watched(host: Host) -> None:
    host.images("v1")
    host.rollout(monitor_seconds=20).run(release("v1"))
    assert host.serves == "v1" and host.clock.now < 2


def test_one_that_cannot_be_asked_just_now_has_failed_that_check_and_no_more(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine runs no command in a container that just ended, and the edge points to it still."""
    host.serve("v1")
    host.images("v2")
    monkeypatch.setattr("ansible_collections.berth.stack.plugins.module_utils.release.rollout.request", request)
    for container in host.engine.containers.values():
        container["NetworkSettings"]["Networks"] = {}
    runs = iter([(0, "")] * 4)

    def execute(container: str, command: list[str], **_: Any) -> tuple[int, str]:
        message = next(runs, None)
        if message is None:
            raise EngineError(409, f"container {container} is not running")
        return message

    host.engine.execute = execute  # type: ignore[method-assign,assignment]
    host.engine._create = without_address(host.engine)  # type: ignore[method-assign]
    with pytest.raises(
        Failed, match=r"v1 is active again:\ns-backend-v2 failed its smoke check.*no response container s-backend-v2 is not"
    ):
        host.rollout(monitor_seconds=20).run(release("v2"))
    stays(host)


def without_address(engine: FakeEngine) -> Callable[..., None]:
    """As where a host has no way to its containers."""
    create = engine._create

    def made(kind: str, name: str, body: dict[str, Any]) -> None:
        create(kind, name, body)
        for network in engine.containers[name]["NetworkSettings"]["Networks"].values():
            network["IPAddress"] = ""

    return made


# how a container is asked -----------------------------------------------------------------------------------------------


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        asked = self.headers["Host"], self.headers["X-Forwarded-Proto"]
        self.send_response(418 if asked == ("localhost", None) else 200 if asked == ("app.example.com:8443", "https") else 400)
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_container_is_asked_by_its_own_address(host: Host, port: int) -> None:
    host.engine.place("s-backend-v1")
    host.engine.containers["s-backend-v1"]["NetworkSettings"]["Networks"] = {"a": {"IPAddress": ""}, "b": {"IPAddress": "127.0.0.1"}}
    assert request(host.engine, "s-backend-v1", port, "/health?x=1") == (418, "/health?x=1")
    assert host.engine.executed == []


def test_it_is_asked_for_the_public_name_as_by_the_edge(host: Host, port: int) -> None:
    host.engine.place("s-backend-v1")
    container = host.engine.containers["s-backend-v1"]
    container["NetworkSettings"]["Networks"] = {"a": {"IPAddress": "127.0.0.1"}}
    container["Config"]["Env"] = ["HEALTH_HOST=app.example.com:8443"]
    assert request(host.engine, "s-backend-v1", port, "/health")[0] == 200
    container["Config"]["Env"] = ["HEALTH_HOST=other"]
    assert request(host.engine, "s-backend-v1", port, "/health")[0] == 400


def test_one_that_the_host_has_no_way_to_is_asked_from_inside(host: Host) -> None:
    host.engine.place("s-backend-v1")
    assert request(host.engine, "s-backend-v1", 8000, "/health")[0] == 200
    assert host.engine.executed == [("s-backend-v1", ["healthcheck", "8000", "/health"])]
    host.engine.execution = (1, "refused")
    assert request(host.engine, "s-backend-v1", 8000, "/health") == (500, "refused")


@pytest.mark.parametrize("happens", [lambda engine: engine.state("s-backend-v2", **ENDED), gone])
def test_one_that_is_not_up_gives_no_answer(host: Host, happens: Callable[[FakeEngine], None]) -> None:
    host.engine.place("s-backend-v2")
    happens(host.engine)
    status, why = request(host.engine, "s-backend-v2", 8000, "/health")
    assert status == 0 and re.search(r"is not running|does not exist", why)
