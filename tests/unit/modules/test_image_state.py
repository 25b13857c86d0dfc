"""Which image a tag gets: its content decides, and a name that a user gave is not moved."""

from __future__ import annotations

import pytest
from ansible_collections.berth.stack.plugins.modules.image_state import Refused, describe, find


class Engine:
    """An engine that has `images` {name: content}, and contents without a name."""

    def __init__(self, *nameless: str, **images: str) -> None:
        self.nameless, self.created = nameless, "then"
        self.images = {name.replace("_", ":"): content for name, content in images.items()}

    def find(self, path: str):
        name = path.removeprefix("/images/").removesuffix("/json")
        content = self.images.get(name) or (name if name in (*self.images.values(), *self.nameless) else None)
        labels = {"berth.content": content, "org.opencontainers.image.created": "then"}
        return content and {"Id": content, "Created": self.created, "Config": {"Labels": labels}}

    def listing(self, kind: str, labels: dict[str, str]):
        desired = labels["berth.content"]
        names = [name for name, content in self.images.items() if content == desired]
        return [{"Id": desired, "RepoTags": names}] if names else [{"Id": desired, "RepoTags": None}] if desired in self.nameless else []


def desired(**more):
    return {"repository": "app", "tag": "v2", "content": "new"} | more


def test_what_is_there_stays():
    image, other = find(Engine(app_v2="new"), desired())
    assert (image["Id"], other) == ("new", "")


def test_content_that_is_there_under_another_tag_gets_this_one():
    image, other = find(Engine(app_v1="new"), desired())
    assert (image["Id"], other) == ("new", "new")


def test_another_repository_does_not_lend_its_image():
    assert find(Engine(other_v1="new"), desired()) == (None, "")


def test_a_tag_that_was_moved_by_hand_is_put_back():
    image, other = find(Engine(app_v2="old", app_v1="new"), desired())
    assert (image["Id"], other) == ("new", "new")


def test_an_image_that_lost_its_only_name_gets_it_back():
    image, other = find(Engine("new", app_v2="old"), desired())
    assert (image["Id"], other) == ("new", "new")


def test_a_nameless_image_that_was_built_from_the_wanted_one_is_not_taken_for_it():
    engine = Engine("new", app_v2="old")
    engine.created = "later"
    assert find(engine, desired()) == (None, "")


def test_a_moved_tag_whose_image_is_gone_is_built_again():
    assert find(Engine(app_v2="old"), desired()) == (None, "")


def test_a_name_that_a_user_gave_is_not_moved():
    with pytest.raises(Refused, match="choose another VERSION="):
        find(Engine(app_v2="old", app_v1="new"), desired(named=True))


def test_without_a_content_the_tag_decides():
    assert find(Engine(app_v2="old"), desired(content=""))[0]["Id"] == "old"


def test_what_is_told_says_layers_and_configuration_apart():
    one = {"Id": "1", "Size": 1, "RootFS": {"Layers": ["a", "b"]}, "Config": {"User": "1"}, "Os": "linux", "Architecture": "amd64"}
    told_one, told_other = describe(desired(), one), describe(desired(), one | {"Config": {"User": "0"}})
    assert told_one["layers_id"] == told_other["layers_id"]
    assert told_one["contents"] != told_other["contents"]
    assert describe(desired(), None)["layers_id"] == ""
