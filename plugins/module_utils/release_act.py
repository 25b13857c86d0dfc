"""One run of release_apply: find the release, bring the database to it, switch, record, let go what does not serve any more."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.backups import Backups
from ansible.module_utils.container_spec import SpecError
from ansible.module_utils.drain import Drain, retire
from ansible.module_utils.dumps import Database, DumpError
from ansible.module_utils.edge import SETTLE
from ansible.module_utils.engine import Engine, EngineError
from ansible.module_utils.image_layers import content
from ansible.module_utils.migrations import judge
from ansible.module_utils.releases import Failed, Lock, Store, fingerprint, named, now
from ansible.module_utils.secret_store import Store as Secrets
from ansible.module_utils.stack import Ended, Unhealthy, run_to_end
from ansible.module_utils.swarm_switch import SwarmSwitch
from ansible.module_utils.switch import Switch


class Act:
    """One run. `wanted` holds the module's options; what the manifest says of its surroundings is added to them."""

    def __init__(self, wanted: dict[str, Any], check: bool) -> None:
        self.wanted, self.check = wanted, check
        self.engine = Engine()
        self.store = Store(self.wanted["directory"])
        self.before = self.store.current
        self.lock = Lock(self.store, self.wanted["who"])
        self.switch: Switch | SwarmSwitch = Switch(self.engine, self.store, self.wanted, self.check)
        self.backups = Backups(self.store)
        self.database: Database | None = None

    # which one --------------------------------------------------------------------------------------------------------

    def target(self) -> dict[str, Any]:
        """The manifest to let serve: the one given, with a name, or one that is remembered."""
        if self.wanted["manifest"]:
            manifest = self.identified(self.wanted["manifest"])
            name = self.store.name(manifest, self.wanted["elsewhere"])
            made = named(manifest, name) | {"version": name, "fingerprint": fingerprint(manifest)}
            there = self.store.manifest(name)
            if name == self.store.current and not self.store.pending:
                return made | {key: there[key] for key in ("previous", "released", "by") if key in there}
            before = self.store.current
            return made | {"previous": before if before != name else there.get("previous", ""), "released": now(), "by": self.who}
        release = self.wanted["release"] or self.store.pending.get("from") or self.store.previous
        found = self.store.manifest(release)
        if not found:
            said = f"There is no release {release}" if release else f"There is none before {self.store.current or 'the first one'}"
            raise Failed(f"{said} to go back to. Nothing was changed.\n{self.listing()}")
        gone = [service for service, image in found["images"].items() if self.engine.find(f"/images/{image}/json") is None]
        if gone:
            raise Failed(f"The images of {' and '.join(gone)} of {release} are gone from this host. Nothing was changed.\n{self.listing()}")
        return found

    def identified(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """The manifest with its images by id: a tag may be moved, and a release means what it was made of."""
        found = {name: self.engine.find(f"/images/{name}/json") for name in manifest["images"].values()}
        missing = [name for name, image in found.items() if image is None]
        if missing and not self.check:
            raise Failed(f"These images are not on this host: {', '.join(missing)}. Build them first: make build. Nothing was changed.")
        known = self.wanted["contents"]
        foreign = [name for name, image in found.items() if image and known.get(name, content(image)) != content(image)]
        if foreign:
            raise Failed(
                f"Under these names are other images than those that were built: {', '.join(foreign)}. Nothing was changed.\n"
                "Remove them (docker image rm) and build them again: make build"
            )
        ids = {name: image["Id"] if image else name for name, image in found.items()}

        def own(spec: dict[str, Any]) -> dict[str, Any]:
            return spec | {"image": ids.get(spec["image"], spec["image"])}

        return manifest | {
            "images": {service: ids[name] for service, name in manifest["images"].items()},
            "references": manifest["images"],
            "containers": [own(spec) for spec in manifest["containers"]],
            "migrations": [one | {"container": own(one["container"])} for one in manifest.get("migrations") or []],
        }

    @property
    def who(self) -> str:
        return f"{self.wanted['who']['owner']}@{self.wanted['who']['host']}"

    def listing(self) -> str:
        rows = []
        for manifest in self.store.releases():
            there = all(self.engine.find(f"/images/{image}/json") for image in manifest["images"].values())
            note = "serves now" if manifest["version"] == self.store.current else "" if there else "images gone"
            rows.append(f"  {manifest['version']:<40} released {manifest.get('released', '?')}  {note}".rstrip())
        return "\n".join(["Releases on this host (make rollback VERSION=...):", *rows]) if rows else "No release was made on this host yet."

    def around(self, target: dict[str, Any]) -> None:
        """Take what stands around the pair from the manifest."""
        if "around" not in target:
            raise Failed(
                f"The manifest of {target['version']} is an older Berth's; deploy it anew: make deploy VERSION={target['version']}"
            )
        self.wanted.update(target["around"])
        edge = self.wanted["edge"]["container"]
        # Going back, an edge that is there stays as it is.
        if not self.wanted["edge_service"] and self.engine.find(f"/containers/{edge}/json") is None:
            self.wanted["edge_service"] = self.store.foundation["edge"]
        if self.wanted.get("swarm"):
            # How many there are of a service is no part of a release: it stays when a release goes back.
            self.wanted["swarm"] = self.wanted["swarm"] | {"replicas": self.wanted["replicas"]}
            self.switch = SwarmSwitch(self.engine, self.store, self.wanted, self.check)
        base = self.wanted["database"]
        self.database = Database(self.engine, base["container"], base["name"]) if base else None

    def stand(self) -> None:
        """Have what a release stands on."""
        base, mend, stack = self.store.foundation, self.wanted["foundation"] == "mend", self.switch.stack
        if self.wanted["foundation"] == "made":
            return
        lost = [name for name in base["volumes"] if self.engine.find(f"/volumes/{name}") is None]
        if lost:
            raise Failed(
                f"The volume {', '.join(lost)} is gone from this host, and its data with it. Nothing was changed.\n"
                "make deploy makes an empty one; make restore BACKUP=... puts a backup into it."
            )
        try:
            for name, network in base["networks"].items():
                if mend or self.engine.find(f"/networks/{name}") is None:
                    stack.network(network)
            there = {name: self.engine.find(f"/containers/{name}/json") for name in base["containers"]}
            making = [spec for name, spec in base["containers"].items() if mend or there[name] is None]
            if isinstance(self.switch, Switch):
                making += self.switch.edge.begin()
            stack.containers(making)
            for name, actual in there.items():
                if actual and not mend:
                    stack.wake(name, actual)
            if not self.check:
                stack.wait(list(base["containers"]), self.wanted["wait"])
        except (EngineError, SpecError, Unhealthy) as error:
            raise Failed(f"what the release stands on is not as it has to be: {error}") from error

    # the database -----------------------------------------------------------------------------------------------------

    def migrate(self, target: dict[str, Any]) -> None:
        """Bring the database to the release, after a dump, where it is behind."""
        schema, back = self.store.schema, not self.wanted["manifest"]
        due = [one for one in target.get("migrations") or [] if self._due(one, target, schema, back)]
        if not due:
            return
        if self.wanted["backup"] and self.database and schema.get("migrated") and self.switch.did("back the database up"):
            self.backups.make(f"before-{target['version']}", self.database, check=False)
        outputs = [one["changed"] for one in due]  # in check mode each of them is taken to change something
        if not self.check:
            with ThreadPoolExecutor(max_workers=4) as pool:
                outputs = list(pool.map(self._migration, due))
        for one, output in zip(due, outputs, strict=True):
            if one["changed"] in output:
                self.switch.did(f"migrate the database for {one['service']}")
        if not self.check:
            migrated = (schema.get("migrated") or {}) | {one["service"]: target["images"][one["service"]] for one in due}
            self.store.migrated({**schema, **(target.get("schema") or {}), "migrated": migrated})

    @staticmethod
    def _due(one: dict[str, Any], target: dict[str, Any], schema: dict[str, Any], back: bool) -> bool:
        """Whether a migration is to be run. Of those whose steps are unknown: with each new image, and never when going back."""
        service = one["service"]
        if service not in (schema.get("migrated") or {}):
            return True
        facts = (target.get("schema") or {}) if one.get("alembic") else {}
        if facts:
            return judge(schema, facts)[0] == "behind" or (schema.get("heads") != facts["heads"] and judge(schema, facts)[0] == "same")
        return not back and schema["migrated"][service] != target["images"][service]

    def _migration(self, one: dict[str, Any]) -> str:
        return run_to_end(self.engine, one["container"], self.wanted["labels"], self.wanted["migrate_timeout"])

    def compatible(self, target: dict[str, Any]) -> Callable[[], None] | None:
        """What has to be done to the database before the switch; Failed where the release cannot live with it."""
        state, breaking = judge(self.store.schema, target.get("schema") or {})
        if state != "breaks":
            return None
        if not self.wanted["schema"]:
            told = "\n".join(f"  {name}: {'; '.join(words)}" for name, words in breaking.items())
            raise Failed(
                f"{target['version']} cannot live with the database as it is: migrations since then take away what it needs.\n{told}\n"
                "Nothing was changed. Choose what to do with the database:\n"
                "  make rollback ... SCHEMA=downgrade   run these migrations backwards; what was written since stays where they keep it\n"
                "  make rollback ... SCHEMA=restore     put the backup back that was made before them; what was written since is lost"
            )
        return lambda: self._downgrade(target) if self.wanted["schema"] == "downgrade" else self._restore(target)

    def _downgrade(self, target: dict[str, Any]) -> None:
        heads = target["schema"]["heads"]
        newest = self.store.manifest(self.store.current)
        one = next((m for m in newest.get("migrations") or [] if m.get("downgrade")), None)
        if one is None:
            raise Failed("the release that serves has no command that takes migrations back (backend_image_downgrade_command)")
        command = [word.replace("{revision}", heads[0]) for word in one["downgrade"]]
        if self.switch.did(f"take the database back to {', '.join(heads)}"):
            self._backup_first(target)
            run_to_end(self.engine, one["container"] | {"entrypoint": command}, self.wanted["labels"], self.wanted["migrate_timeout"])
            self.store.migrated(self.store.schema | target["schema"])

    def _restore(self, target: dict[str, Any]) -> None:
        known = set(target["schema"]["revisions"])
        fitting = [note for note in self.backups.all() if note["bytes"] and set(note["schema"].get("heads") or ["?"]) <= known]
        if not fitting or self.database is None:
            raise Failed(f"there is no backup that {target['version']} could live with (make backup shows them)")
        if self.switch.did(f"put the backup {fitting[0]['name']} back"):
            self._backup_first(target)
            self.backups.restore(fitting[0]["name"], self.database)

    def _backup_first(self, target: dict[str, Any]) -> None:
        if self.wanted["backup"] and self.database:
            self.backups.make(f"before-rollback-to-{target['version']}", self.database, check=False)

    # all of it --------------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        before, target = self.before, self.target()
        self.around(target)
        rollback = not self.wanted["manifest"]
        prepared = self.compatible(target) if rollback else None
        with self.switch.stack.phase("stand"):
            self.stand()
        try:
            changed = self.switch.to(target, lambda: prepared or self.migrate(target), prepared)
        except (Ended, DumpError, EngineError) as error:
            if before and before != target["version"]:
                self.switch.give_up(target, self.store.manifest(before), "")
            raise Failed(f"release {target['version']} did not get traffic: {error}") from error
        fresh = target["version"] != before or bool(self.store.pending)
        if not self.check:
            if fresh or self.store.manifest(target["version"]) != target:
                self.store.record(target)
            self.store.end()
            if self.wanted["manifest"]:
                self.store.stand(edge=self.wanted["edge_service"])
        gone: list[str] = []
        if fresh and not self.check:
            protected = {target["version"], target.get("previous", ""), before}
            gone = retire(self.engine, self.store, self.wanted["keep"], protected)
            gone += [f"backup {name}" for name in self.backups.prune(self.wanted["keep"])]
            needed = [manifest.get("secrets_generation", "") for manifest in self.store.releases()]
            gone += [f"generation {number} of the secrets" for number in Secrets(self.store.root / "secrets").prune(needed)]
        return {
            "changed": changed or fresh,
            "release": target["version"],
            "before": before,
            "retired": gone,
        }

    def drain(self, outcome: dict[str, Any]) -> None:
        """Let go what does not serve: at once, or, the release before, when its warm time is over."""
        if self.wanted.get("swarm"):
            return  # the engine drains
        drain = Drain(self.engine, self.store, self.lock)
        busy = drain.busy()
        if not outcome["changed"] and busy:
            return
        left = drain.leftovers(self.wanted["labels"], self.wanted["services"], outcome["release"])
        if busy:
            # Told to stop already, by a drain that waits for them; told twice they would break off what they do.
            left = [name for name in left if "-draining-" not in name]
        warm = [name for name in left if outcome["before"] and name.endswith(f"-{outcome['before']}")] if self.wanted["warm"] else []
        rest = [name for name in left if name not in warm]
        if rest and self.switch.did(f"drain and remove {', '.join(rest)}"):
            gone = drain.start(rest, SETTLE, self.wanted["drain_wait"])
            if not gone:
                self.switch.stack.actions[-1] += " (finishing in the background)"
        if (
            warm
            and outcome["before"] != outcome["release"]
            and self.switch.did(f"keep {', '.join(warm)} warm for {self.wanted['warm']:.0f} s")
        ):
            drain.start(warm, self.wanted["warm"], 0)
        outcome["changed"] = outcome["changed"] or bool(rest)

    def done(self, outcome: str, what: str, to: str = "") -> None:
        """Give the lock back, and write down what became of it."""
        if not self.check:
            asked = self.wanted["manifest"]["image_version"] if self.wanted["manifest"] else self.wanted["release"]
            told = "; ".join(part for part in (self.wanted.get("what"), what) if part)
            self.lock.record(self.wanted["verb"], outcome, told, self.before, to or asked)
