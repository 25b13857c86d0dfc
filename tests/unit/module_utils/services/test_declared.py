"""Services and jobs as they are declared: what is refused, and the containers, secrets, images and connections that follow."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from ansible_collections.berth.stack.plugins.filter.container import as_container
from ansible_collections.berth.stack.plugins.filter.services import release_services
from ansible_collections.berth.stack.plugins.module_utils.docker.spec import KEYS, container_body
from ansible_collections.berth.stack.plugins.module_utils.release.swarm_spec import service_body
from ansible_collections.berth.stack.plugins.module_utils.secrets.store import render
from ansible_collections.berth.stack.plugins.module_utils.services import declared
from ansible_collections.berth.stack.plugins.module_utils.services.declared import duration, problems

NETWORKS = {"edge": "s-edge", "app": "s-app", "data": "s-data", "egress": "s-egress"}
BACKEND = {
    "name": "s-backend-@release@",
    "service": "backend",
    "repository": "s-backend",
    "tag": "v1",
    "release": "@release@",
    "networks": [{"name": "s-app", "aliases": ["backend"]}, {"name": "s-data"}],
    "secrets": "/var/lib/s/secrets/3/backend",
    "environment": {"LOG_LEVEL": "INFO"},
    "mem_limit": "512m",
    "user": "65532:65532",
    "stop_grace_period": 40,
}
GIVEN = {
    "networks": ["app", "data", "egress"], "secrets": ["openai_api_key", "database_url"], "environment_secrets": ["ALLOWED_TOKEN"],
    "timezone": "UTC", "engine": "hosts",
}  # fmt: skip
REDIS = {"redis": {"package": "redis"}}
WORKER = {"worker": {"command": ["python3", "worker.py"]}}
SEARCH = {
    "search": {"image": "r.test/search:1.2", "user": "1000", "expose": [7700], "volumes": ["index:/data"], "secrets": ["openai_api_key"]}
}
JOBS = {"nightly": {"schedule": "0 2 * * *", "command": ["python3", "nightly.py"], "timeout": "2h", "environment": {"DAYS": 3}}}
RELEASE = {"backend": BACKEND, "variables": {}, "networks": NETWORKS, "timezone": "Europe/Berlin", "directory": "/var/lib/s/jobs"}


def test_what_is_declared_well_is_not_refused():
    more = {
        "cache": {
            "image": "r.test/c@sha256:" + "0" * 64,
            "user": "5:5",
            "networks": {"app": {"aliases": ["c"]}},
            "healthcheck": {"disable": True},
        }
    }
    check = {"healthcheck": {"test": ["CMD", "true"], "interval": "1m30s", "retries": 3}, "environment": {"ALLOWED_TOKEN": "x"}}
    named = {"secrets": ["redis_url", "database_url"]}
    assert problems({**REDIS, **WORKER, **SEARCH, **more, "other": WORKER["worker"] | check | named}, JOBS, GIVEN) == []
    assert problems({}, {}, GIVEN) == []


@pytest.mark.parametrize(
    ("services", "message"),
    [
        ([], "stack_services must be a mapping of names"),
        ({"backend": WORKER["worker"]}, "stack_services.backend: no name of a service"),
        ({"Worker": WORKER["worker"]}, "no name of a service"),
        ({"worker": ["python3"]}, "stack_services.worker: must be a mapping"),
        ({"worker": {}}, "stack_services.worker.command: a list"),
        ({"worker": {"command": "python3 worker.py"}}, "stack_services.worker.command: a list"),
        ({"worker": {"command": ["x"], "ports": ["80:80"]}}, "has no key ports; keys: command, cpus"),
        ({"worker": {"command": ["x"], "volumes": ["a:/a"]}}, "has no key volumes"),
        ({"worker": {"command": ["x"], "memory": "1g"}}, "has no key memory"),
        ({"redis": {"package": "mysql"}}, "'mysql' is none of redis, valkey; for others set image"),
        ({"c": {"image": "redis", "user": "1"}}, "names no version"),
        ({"c": {"image": "host:5000/redis:latest", "user": "1"}}, "names no version"),
        ({"c": {"image": "host:5000/redis", "user": "1"}}, "names no version"),
        ({"c": {"image": "redis:7"}}, "stack_services.c.user"),
        ({"c": {"image": "redis:7", "user": "0:0"}}, "stack_services.c.user"),
        ({"worker": {"command": ["x"], "mem_limit": "much"}}, "stack_services.worker.mem_limit: 'much' is not a size"),
        ({"worker": {"command": ["x"], "cpus": "two"}}, "stack_services.worker.cpus: 'two' is no number"),
        ({"worker": {"command": ["x"], "stop_grace_period": "soon"}}, "stop_grace_period: 'soon' is no duration"),
        ({"worker": {"command": ["x"], "networks": ["edge"]}}, "networks: edge: networks are app, data, egress"),
        ({"worker": {"command": ["x"], "expose": ["80:80"]}}, "expose"),
        ({"worker": {"command": ["x"], "health_path": "/up"}}, "health_path: a path that begins with /, of the first port in expose"),
        ({"redis": {"package": "redis", "volumes": ["/srv:/data"]}}, "volumes: /srv:/data: NAME:/PATH"),
        ({"redis": {"package": "redis", "volumes": ["database:/data"]}}, "volumes: database:/data"),
        ({"a": SEARCH["search"], "b": SEARCH["search"]}, "two services have the volume index"),
        ({"worker": {"command": ["x"], "secrets": ["nothing"]}}, "there is no secret nothing: declare it in secrets_extra_schema"),
        ({"worker": {"command": ["x"], "environment": {"A": None}}}, "stack_services.worker.environment: A has no value"),
        ({"worker": {"command": ["x"], "environment": {"API_TOKEN": "x"}}}, "API_TOKEN shows in docker inspect"),
        ({"worker": {"command": ["x"], "healthcheck": {"test": "curl localhost"}}}, "healthcheck.test: must be a list"),
        ({"worker": {"command": ["x"], "healthcheck": {"every": 3}}}, "healthcheck: keys are"),
    ],
)
def test_a_service_that_cannot_be_is_refused_by_its_name(services, message):
    found = problems(services, {}, GIVEN)
    assert len(found) == 1 and message in found[0], found


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({"command": ["x"]}, "stack_jobs.j.schedule: '' has 0 fields"),
        ({"schedule": "@daily"}, "stack_jobs.j.command: a list"),
        ({"schedule": "@daily", "command": ["x"], "timeout": "long"}, "stack_jobs.j.timeout: 'long' is no duration"),
        ({"schedule": "@daily", "command": ["x"], "timeout": 0}, "more than 0 seconds"),
        ({"schedule": "@daily", "command": ["x"], "retries": 3}, "stack_jobs.j: a mapping with command, environment, make_up"),
        ({"schedule": "@daily", "command": ["x"], "make_up": "no"}, "stack_jobs.j.make_up"),
        ({"schedule": "@daily", "command": ["x"], "environment": {"DB_PASSWORD": "x"}}, "DB_PASSWORD shows in docker inspect"),
    ],
)
def test_a_job_that_cannot_be_is_refused_by_its_name(job, message):
    found = problems({}, {"j": job}, GIVEN)
    assert len(found) == 1 and message in found[0], found


def test_a_time_zone_that_is_none_and_jobs_on_a_swarm_are_refused():
    assert "stack_jobs_timezone: 'Mars/North' is no time zone" in problems({}, JOBS, GIVEN | {"timezone": "Mars/North"})[0]
    assert "a Swarm does not run jobs" in problems(WORKER, JOBS, GIVEN | {"engine": "swarm"})[0]
    assert problems(WORKER, {}, GIVEN | {"engine": "swarm"}) == []


def test_the_scheduler_of_jobs_takes_limits_alone():
    assert problems({"scheduler": {"mem_limit": "1g", "networks": ["data"]}}, JOBS, GIVEN) == []
    assert "the scheduler of stack_jobs has no key command" in problems({"scheduler": {"command": ["celery", "beat"]}}, JOBS, GIVEN)[0]
    assert problems({"scheduler": {"command": ["celery", "beat"]}}, {}, GIVEN) == []


@pytest.mark.parametrize(("value", "seconds"), [(90, 90), ("90", 90), ("1m30s", 90), ("2h", 7200), ("0.5s", 0.5), (1.5, 1.5)])
def test_durations_are_composes(value, seconds):
    assert duration(value) == seconds


@pytest.mark.parametrize("value", ["", "1d", "h", "-5", True, None])
def test_no_durations(value):
    with pytest.raises(ValueError, match="no duration"):
        duration(value)


# containers -----------------------------------------------------------------------------------------------------------


def test_a_command_is_hardened_named_and_released_as_the_backend_is():
    entry = {
        "command": ["python3", "-m", "mcp_server"],
        "expose": [8001],
        "health_path": "/up",
        "mem_limit": "128m",
        "environment": {"A": 1},
    }
    (mcp,) = release_services({"mcp": entry}, {}, RELEASE)
    assert mcp["name"] == "s-mcp-@release@" and mcp["service"] == "mcp" and mcp["entrypoint"] == entry["command"] and mcp["command"] == []
    assert mcp["environment"] == {"LOG_LEVEL": "INFO", "PORT": "8001", "HEALTH_PATH": "/up", "A": 1}
    assert mcp["networks"] == [{"name": "s-app", "aliases": ["mcp"]}, {"name": "s-data", "aliases": ["mcp"]}]
    spec = as_container(mcp, {"read_only": True, "labels": {"berth.stack": "s"}}, "v1")
    assert (
        spec["image"] == "s-backend:v1" and spec["read_only"] and spec["labels"]["berth.service"] == "mcp" and spec["mem_limit"] == "128m"
    )
    assert set(spec) <= KEYS
    assert container_body(spec, {"Config": {"ExposedPorts": {"8000/tcp": {}}}})["ExposedPorts"] == {"8000/tcp": {}, "8001/tcp": {}}
    assert "healthcheck" not in mcp or "test" not in mcp["healthcheck"], "the image's check, with its port and path"


def test_a_command_without_a_port_is_not_asked_for_its_health():
    (worker,) = release_services(WORKER, {}, RELEASE)
    assert worker["healthcheck"] == {"test": ["NONE"]} and worker["stop_grace_period"] == 40
    given = {"worker": WORKER["worker"] | {"healthcheck": {"test": ["CMD", "ok"], "interval": "1m"}, "stop_grace_period": "5m"}}
    (worker,) = release_services(given, {}, RELEASE)
    assert worker["healthcheck"] == {"test": ["CMD", "ok"], "interval": 60} and worker["stop_grace_period"] == 300


def test_networks_and_names_in_them_are_declared():
    (worker,) = release_services({"worker": WORKER["worker"] | {"networks": {"egress": None, "data": {"aliases": ["w1"]}}}}, {}, RELEASE)
    assert worker["networks"] == [{"name": "s-egress", "aliases": ["worker"]}, {"name": "s-data", "aliases": ["w1"]}]


def test_a_command_has_the_backends_way_out_only_where_it_has_its_egress_network():
    relay = {"name": "s-egress-backend", "links": {"api.example.org": "s-egress-backend-v1"}}
    outside = RELEASE | {"backend": BACKEND | {"networks": [*BACKEND["networks"], {"name": "s-egress"}, relay]}}
    names = [network["name"] for network in release_services(WORKER, {}, outside)[0]["networks"]]
    assert names == ["s-app", "s-data", "s-egress", "s-egress-backend"]
    assert release_services(WORKER, {}, outside)[0]["networks"][-1] == relay
    inner = {"worker": WORKER["worker"] | {"networks": ["data"]}}
    assert [network["name"] for network in release_services(inner, {}, outside)[0]["networks"]] == ["s-data"]


def test_a_service_on_a_swarm_is_one_like_the_backend():
    (worker,) = release_services(WORKER, {}, RELEASE | {"backend": BACKEND | {"name": "s-backend-v1"}})
    spec = as_container(worker, {"labels": {}}, "v1")
    settings = {"replicas": 2, "constraints": [], "endpoint_mode": "vip", "monitor": 1, "parallelism": 1}
    body = service_body(spec, "v1", {"s-app": "1", "s-data": "2"}, {}, settings)
    assert body["Name"] == "s-worker" and body["TaskTemplate"]["ContainerSpec"]["Command"] == ["python3", "worker.py"]


def test_secrets_that_are_set_inside_the_process_are_those_of_its_files():
    variables = {"variables": {"DATABASE_URL": "database_url", "STRIPE_KEY": "stripe_key"}}
    (worker,) = release_services(WORKER, {}, RELEASE | variables)
    assert worker["entrypoint"][4:] == ["DATABASE_URL=database_url", "STRIPE_KEY=stripe_key", "--", "python3", "worker.py"]
    (worker,) = release_services({"worker": WORKER["worker"] | {"secrets": ["database_url"]}}, {}, RELEASE | variables)
    assert worker["entrypoint"][4:] == ["DATABASE_URL=database_url", "--", "python3", "worker.py"]
    assert worker["secrets"] == "/var/lib/s/secrets/3/worker"


def test_jobs_run_in_one_container_that_waits_for_the_longest_of_them():
    more = {"hourly": {"schedule": "0 * * * *", "command": ["x"]}}
    worker, scheduler = release_services(WORKER | {"scheduler": {"mem_limit": "1g"}}, JOBS | more, RELEASE)
    assert (worker["service"], scheduler["service"], scheduler["name"]) == ("worker", "scheduler", "s-scheduler-@release@")
    assert scheduler["stop_grace_period"] == 7200 + 10 + 10 and scheduler["mem_limit"] == "1g"
    program, flags, c, text, configuration = scheduler["entrypoint"]
    assert (program, flags, c) == ("python3", "-IS", "-c") and len(text) < 100_000, "one argument may have 128 KiB"
    given = json.loads(configuration)
    assert given["release"] == "@release@" and given["timezone"] == "Europe/Berlin"
    assert given["jobs"]["nightly"] == {
        "schedule": "0 2 * * *", "command": ["python3", "nightly.py"], "timeout": 7200, "environment": {"DAYS": "3"}, "make_up": True,
    }  # fmt: skip
    mounts = {mount["target"]: (mount["source"], mount.get("read_only", False)) for mount in scheduler["mounts"]}
    assert mounts == {"/run/jobs/release": ("/var/lib/s/jobs/release", True), "/run/jobs/runs": ("/var/lib/s/jobs/runs", False)}
    assert set(as_container(scheduler, {}, "v1")) <= KEYS
    assert release_services(WORKER, {}, RELEASE)[-1]["service"] == "worker", "no scheduler without jobs"


def test_the_health_check_of_the_scheduler_fails_where_it_stands_still(tmp_path, monkeypatch):
    alive = tmp_path / "alive"
    monkeypatch.setattr(declared.scheduler, "ALIVE", str(alive))
    (scheduler,) = release_services({}, JOBS, RELEASE)
    check = scheduler["healthcheck"]["test"][1:]
    assert subprocess.run([sys.executable, *check[1:]], capture_output=True, check=False).returncode != 0, "it never worked"
    alive.touch()
    assert subprocess.run([sys.executable, *check[1:]], check=False).returncode == 0
    os.utime(alive, (1, 1))
    assert subprocess.run([sys.executable, *check[1:]], check=False).returncode == 1


def infrastructure(services: dict) -> list[dict]:
    return declared.infrastructure_services(services, "s", NETWORKS, {"contents": {"redis": "a" * 64}, "secrets": "/secrets/3"})


def test_a_server_from_a_package_has_its_user_volume_password_and_bounds():
    (redis,) = infrastructure(
        {"redis": {"package": "redis", "mem_limit": "64m", "command": ["--maxmemory-policy", "allkeys-lru"]}, **WORKER}
    )
    assert redis["name"] == "s-redis" and redis["repository"] == "s-redis" and redis["tag"] == "a" * 12 and redis["user"] == "71:71"
    assert redis["command"] == ["--maxmemory", str(48 * 1024**2), "--maxmemory-policy", "allkeys-lru"]
    assert redis["mounts"] == [{"type": "volume", "source": "s-redis", "target": "/data"}]
    assert redis["networks"] == [{"name": "s-data", "aliases": ["redis"]}] and redis["secrets"] == "/secrets/3/redis"
    assert declared.volumes([redis]) == [{"name": "s-redis", "labels": {"berth.service": "redis", "berth.version": "any"}}]
    spec = as_container(redis, {"cap_drop": ["ALL"], "labels": {"berth.stack": "s"}}, "")
    assert set(spec) <= KEYS and spec["labels"]["berth.declared"] == "package" and spec["cap_drop"] == ["ALL"]
    assert infrastructure({"redis": {"package": "redis", "volumes": []}})[0]["mounts"] == []


def test_any_image_runs_as_it_is_declared():
    (search,) = infrastructure(SEARCH)
    assert search["user"] == "1000:1000" and search["expose"] == [7700] and "command" not in search and "entrypoint" not in search
    assert search["mounts"] == [{"type": "volume", "source": "s-index", "target": "/data"}] and search["secrets"] == "/secrets/3/search"


def test_images_are_named_by_what_they_are_built_from():
    services = {**REDIS, "queue": {"package": "valkey"}, **SEARCH, **WORKER}
    bases = {"bookworm": {"reference": "b:12", "layers_id": "1"}, "trixie": {"reference": "b:13", "layers_id": "2"}}
    made = declared.recipes(services, bases, "/files")
    assert {name: (recipe["base"], recipe["args"]) for name, recipe in made.items()} == {
        "redis": ("1", {"BASE_IMAGE": "b:12", "SERVER": "redis"}),
        "queue": ("2", {"BASE_IMAGE": "b:13", "SERVER": "valkey"}),
        "search": ("", {"IMAGE": "r.test/search:1.2"}),
    }
    assert declared.debian_releases(services) == ["bookworm", "trixie"] and declared.debian_releases(WORKER) == []
    builds = declared.builds(made, "s", {"redis": "b" * 64}, "rev")
    assert [(one["repository"], one["tag"]) for one in builds] == [("s-redis", "b" * 12), ("s-queue", ""), ("s-search", "")]


# secrets --------------------------------------------------------------------------------------------------------------

FILES = {"backend": {"uid": 65532, "files": {"database_url": "postgresql://u:{backend_password:url}@db/x"}}}
SCHEMA = {"backend_password": {"services": ["backend"]}, "openai_api_key": {"services": ["backend"]}}


def test_a_servers_password_is_made_and_the_backend_gets_its_url():
    services = {"my-redis": {"package": "redis"}, "worker": {"command": ["x"], "secrets": ["my_redis_url", "database_url"]}, **SEARCH}
    files = declared.with_files(FILES, services)
    schema = declared.with_users(declared.with_passwords(SCHEMA, services), services, files)
    values = {"backend_password": "p", "openai_api_key": "k", "my_redis_password": "new"}
    history = {name: {"version": 2, "previous": ["old"]} for name in values}
    rendered = render(
        files, {name: {"versions": 1, "services": [], **spec} for name, spec in schema.items()}, {"values": values, "history": history}, 3
    )
    assert rendered == {
        "backend": {"openai_api_key": "k", "my_redis_url": "redis://:new@my-redis:6379/0", "database_url": "postgresql://u:p@db/x"},
        "my-redis": {"password": "2:new,1:old"},
        "worker": {"my_redis_url": "redis://:new@my-redis:6379/0", "database_url": "postgresql://u:p@db/x"},
        "search": {"openai_api_key": "k"},
    }
    assert files["my-redis"]["uid"] == 71 and files["worker"]["uid"] == 65532 and files["search"]["uid"] == 1000
    assert SCHEMA["openai_api_key"]["services"] == ["backend"] and "my_redis_url" not in FILES["backend"]["files"], "the given ones stay"


def test_without_services_secrets_and_connections_are_the_stacks():
    assert declared.with_files(FILES, WORKER) == FILES and declared.with_passwords(SCHEMA, WORKER) == SCHEMA
    assert declared.with_users(SCHEMA, WORKER, FILES) == SCHEMA
    assert declared.with_services(POLICY, {}, {}, CONNECTIONS) == POLICY


# connections ----------------------------------------------------------------------------------------------------------

POLICY = {
    "edge": {"needs": ["frontend", "backend"], "neighbours": [], "internet": False},
    "frontend": {"needs": ["backend", "database"], "neighbours": ["edge"], "internet": False},
    "backend": {"needs": ["frontend", "database"], "neighbours": ["edge"], "internet": True},
    "database": {"needs": [], "neighbours": ["frontend", "backend"], "internet": False},
}
CONNECTIONS = {
    "networks": NETWORKS,
    "ways_out": ["s-internet"],
    "own": {
        "edge": [{"name": "s-edge"}, {"name": "s-app"}],
        "frontend": [{"name": "s-app"}, {"name": "s-data"}],
        "backend": [{"name": "s-app"}, {"name": "s-data"}, {"name": "s-egress"}, {"name": "s-internet"}],
        "database": [{"name": "s-data"}],
    },
}


def test_the_network_policy_follows_the_networks_and_ports():
    services = {**REDIS, **WORKER, "mail": {"image": "r.test/m:1", "user": "1", "expose": [25], "networks": ["egress"]}}
    found = declared.with_services(POLICY, services, JOBS, CONNECTIONS)
    assert found["redis"] == {"needs": [], "neighbours": ["frontend", "backend", "database"], "internet": False}
    assert found["worker"] == {"needs": [], "neighbours": ["edge", "frontend", "backend", "database", "redis", "mail"], "internet": True}
    assert found["scheduler"] == found["worker"]
    assert found["mail"] == {"needs": [], "neighbours": ["backend"], "internet": False}
    inner = declared.with_services(POLICY, {"worker": WORKER["worker"] | {"networks": ["data"]}}, {}, CONNECTIONS)
    assert inner["worker"] == {"needs": [], "neighbours": ["frontend", "backend", "database"], "internet": False}
    assert found["edge"] == POLICY["edge"], "it shares no network with one that has a port"
    assert found["backend"]["neighbours"] == ["edge", "redis", "mail"] and found["database"]["neighbours"] == [
        "frontend",
        "backend",
        "redis",
    ]
