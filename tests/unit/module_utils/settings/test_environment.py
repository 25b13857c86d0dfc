"""Environment variables from settings: what is written in its usual form, and what is refused by its name."""

from __future__ import annotations

import datetime
import json

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.berth.stack.plugins.action.validate_roles import not_texts
from ansible_collections.berth.stack.plugins.filter.compose import as_compose_service
from ansible_collections.berth.stack.plugins.filter.container import as_container, build_arguments, build_environment
from ansible_collections.berth.stack.plugins.module_utils.docker.spec import container_body
from ansible_collections.berth.stack.plugins.module_utils.release.swarm_spec import service_body
from ansible_collections.berth.stack.plugins.module_utils.services.declared import release_services
from ansible_collections.berth.stack.plugins.module_utils.settings.environment import ValueRefused, secret_names, texts
from test_compose import CONTAINER
from test_container_filters import SERVICE
from test_swarm_spec import NETWORKS, SECRETS, SETTINGS, SPEC

WRITTEN = {
    "DEBUG": (False, "false"),
    "TRACE": (True, "true"),
    "ORIGINS": (["a", "b"], '["a", "b"]'),
    "LIMITS": ({"rps": 5, "burst": None, "on": True}, '{"rps": 5, "burst": null, "on": true}'),
    "NAME": ("Zoë", "Zoë"),
    "LIST": (["ü"], '["ü"]'),
    "NONE": ("", ""),
    "PORT": (8000, "8000"),
    "ZERO": (0, "0"),
    "RATIO": (0.25, "0.25"),
    "WORD": ("yes", "yes"),
}
REFUSED = [
    ({"EMPTY": None}, "S: EMPTY has no value: write '' for an empty one, or remove it"),
    ({"SINCE": datetime.date(2026, 1, 2)}, "S: SINCE is a date (2026-01-02): write it in quotes"),
    ({"AT": datetime.datetime(2026, 1, 2, 3)}, "S: AT is a date (2026-01-02 03:00:00): write it in quotes"),
    ({"RATE": float("nan")}, "S: RATE is the number nan: write it in quotes"),
    ({"RAW": b"x"}, "S: RAW is of the type bytes: write it in quotes"),
    ({"DAYS": [datetime.date(2026, 1, 2)]}, "S: DAYS has a date (2026-01-02) in it: write that in quotes"),
    ({"MAP": {False: 1}}, "S: MAP has the key False, which is a truth value: write it in quotes"),
    ({False: "x"}, "S: False is a truth value where the name of a variable is expected: write the name in quotes"),
    ({"A=B": "x"}, "S: A=B is no name of a variable: it must have a character at least, and no '='"),
]


def expected() -> dict[str, str]:
    return {name: written for name, (_, written) in WRITTEN.items()}


def given() -> dict[str, object]:
    return {name: value for name, (value, _) in WRITTEN.items()}


def test_every_value_has_one_form_wherever_it_runs():
    """A container, a declared service, Compose, a Swarm's service and a build: the same texts."""
    assert texts(given(), "S") == expected()
    container = as_container(SERVICE | {"environment": given()}, {}, "v1")
    assert container["environment"] == expected()
    assert set(container_body(container, {})["Env"]) == {f"{name}={value}" for name, value in expected().items()}
    networks = {"app": "s-app", "data": "s-data", "egress": "s-egress"}
    (worker,) = release_services({"w": {"command": ["w"], "environment": given()}}, SERVICE, networks)
    assert as_container(worker, {}, "v1")["environment"] == expected() | {"LOG_LEVEL": "INFO"}
    assert as_compose_service("backend", CONTAINER | {"environment": given()}, "s", {})["environment"] == expected()
    service = service_body(SPEC | {"environment": container["environment"]}, "v1", NETWORKS, SECRETS, SETTINGS)
    assert set(service["TaskTemplate"]["ContainerSpec"]["Env"]) == {f"{name}={value}" for name, value in expected().items()}
    assert json.loads(build_environment(given())) == expected()


@pytest.mark.parametrize(("variables", "message"), REFUSED)
def test_what_has_no_form_is_refused_by_its_name(variables, message):
    with pytest.raises(ValueRefused) as refused:
        texts(variables, "S")
    assert str(refused.value) == message
    for use in (
        lambda: as_container(SERVICE | {"environment": variables}, {}, "v1"),
        lambda: as_compose_service("backend", CONTAINER | {"environment": variables}, "s", {}),
        lambda: build_environment(variables),
        lambda: build_arguments(variables, "S"),
    ):
        with pytest.raises(AnsibleFilterError, match=str(next(iter(variables)))):
            use()


def test_all_that_is_wrong_is_said_at_once_and_before_a_run():
    settings = {
        "backend_image_extra_environment": {"A": None, "B": None, "C": False},
        "frontend_image_extra_environment": None,
    }
    assert [line.partition(" has no value")[0] for line in not_texts(settings, structures=True)] == [
        "backend_image_extra_environment: A", "backend_image_extra_environment: B",
    ]  # fmt: skip


def test_a_build_argument_is_one_text():
    assert build_arguments({"FAST": False, "N": 1}, "S") == {"FAST": "false", "N": "1"}
    for value, kind in ((["a"], "list"), ({"a": 1}, "mapping")):
        with pytest.raises(AnsibleFilterError, match=f"backend_image_args: EXTRAS is a {kind}.*one text"):
            build_arguments({"EXTRAS": value}, "backend_image_args")


def test_a_value_of_the_build_is_not_taken_for_a_further_variable():
    assert json.loads(build_environment({"TITLE": "x y=1 Z=2", "B": "two\nlines"})) == {"TITLE": "x y=1 Z=2", "B": "two\nlines"}
    assert build_environment({}) == ""


def test_secrets_are_known_by_their_names():
    """Of a container, a build and a declared service alike."""
    secret = [
        "BETTER_AUTH_SECRET",
        "GITHUB_TOKEN",
        "NEXT_PUBLIC_OPENAI_API_KEY",
        "SMTP_PASSWD",
        "STRIPE_CREDENTIALS",
        "SUPABASE_SERVICE_ROLE_KEY",
    ]
    other = ["GOOGLE_APPLICATION_CREDENTIALS", "NEXT_PUBLIC_CHATKIT_PUBLIC_KEY", "NEXT_PUBLIC_TITLE", "OPENAI_API_KEY_FILE", 1]
    assert secret_names(dict.fromkeys(secret, "x") | dict.fromkeys(other, "/run/secrets/x")) == secret
