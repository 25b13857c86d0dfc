"""One run of release_apply: find the release, bring the database to it, switch, record, let go what does not serve any more."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..data.backups import Backups
from ..data.dumps import Database, DumpError
from ..data.migrations import Comparison, is_alembic, words
from ..data.revision import Revision, compared, refuse
from ..docker.client import Engine, EngineError
from ..docker.image_layers import content
from ..docker.reconcile import Ended, Unhealthy, run_to_end
from ..docker.spec import SpecError
from ..secrets.store import Store as Secrets
from ..state.interrupts import Interrupted, in_words
from ..state.store import Failed, Lock, Store, fingerprint, named, now
from .drain import Drain, retire
from .edge import SETTLE
from .rollout import Switch
from .swarm import SwarmSwitch

# What may go wrong, and says itself what it is.
EXPECTED = (Failed, SpecError, EngineError, DumpError, Ended, Unhealthy)


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
        self.revision = Revision(None, {})
        self.found = Comparison("unread")
        # The release that this run is about, the revisions that it found the database at, and the dumps that it made.
        self.to = ""
        self.began: list[str] | None = None
        self.dumps: list[str] = []
        self.warnings: list[str] = []

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

    @property
    def again(self) -> str:
        """What takes up a run that did not come to its end."""
        return "make deploy" if self.wanted["manifest"] else f"make rollback VERSION={self.to}"

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
        # Manifests of an older Berth do not say where the backend has its revisions: what serves does.
        serves = (self.store.manifest(self.store.current).get("around") or {}).get("database") or {}
        self.revision = Revision(self.database, serves | base if base else {})

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
        except BaseException as error:
            why = f"the infrastructure of the release is not as expected: {in_words(error, EXPECTED)}"
            raise Failed("\n".join(filter(None, [why, stack.discard()]))) from error

    # the database -----------------------------------------------------------------------------------------------------

    def compatible(self, target: dict[str, Any], last: bool) -> Callable[[], None] | None:
        """Hold the release against the revision that the database is at; Failed where it does not fit. Returns what has to be done to the
        database before the switch. A database that does not run is asked again when it does; `last`: what is remembered counts then."""
        at = self.revision.read(target, must=last and not self.check)
        if at is None and last and self.store.schema.get("heads"):
            at = self.store.schema["heads"]
        choice = self.wanted["schema"]
        self.found = compared(self.store, at, target, accepted=choice == "accept")
        # A deploy is asked for by the version of its images, which another configuration's release shares.
        name = target["image_version"] if self.wanted["manifest"] else target["version"]
        refuse(self.found, name, self.wanted["verb"], choice)
        if self.found.state != "breaking" or choice == "accept":
            return None
        return self._downgrade(target) if choice == "downgrade" else self._restore(target)

    def migrate(self, target: dict[str, Any]) -> None:
        """Bring the database to the release, after a dump, where it is behind."""
        schema, back = self.store.schema, not self.wanted["manifest"]
        due = [one for one in target.get("migrations") or [] if self._due(one, target, schema, back)]
        there = self.found.at or schema.get("migrated")
        if due and self.wanted["backup"] and self.database and there and self.switch.did("back the database up"):
            self._dump(f"before-{target['version']}")
        if not self.check:
            with ThreadPoolExecutor(max_workers=4) as pool:
                try:
                    list(pool.map(self._migration, due))
                except Interrupted:
                    # Nobody waits for minutes for what is given up; what they left in the server is ended as they are removed.
                    for one in due:
                        with contextlib.suppress(EngineError):
                            self.engine.call("POST", f"/containers/{one['container']['name']}/kill")
                    raise
        for one in due:
            self.switch.did(self._migrated(one, target))
        if not self.check:
            self._remember(target, schema, due)

    def _due(self, one: dict[str, Any], target: dict[str, Any], schema: dict[str, Any], back: bool) -> bool:
        """Whether a migration is to be run: where the database is behind, by its own revision; and, by a release that is new, what was not
        run against this database: another command, or, of a tool whose steps are unknown, another image."""
        service, state = one["service"], self.found.state
        command, noted = one["container"].get("entrypoint"), (schema.get("commands") or {}).get(service)
        image = (schema.get("migrated") or {}).get(service)
        alembic = one.get("alembic") and state != "unversioned"
        if alembic and state in ("new", "behind", "unread"):
            return True
        if alembic and state != "same":
            return False
        if alembic and is_alembic(command or []):
            return not back and noted is not None and noted != command
        return image is None or (not back and (image != target["images"][service] or noted != command))

    def _migration(self, one: dict[str, Any]) -> str:
        return run_to_end(self.engine, one["container"], self.wanted["labels"], self.wanted["migrate_timeout"], self._gone)

    def _gone(self, addresses: list[str], when: float) -> None:
        """End what a migration that did not end well left in the server: a statement that waits for a lock goes on blocking others."""
        with contextlib.suppress(DumpError, EngineError):
            self.revision.end_sessions(addresses, when)

    def _migrated(self, one: dict[str, Any], target: dict[str, Any]) -> str:
        """What a migration that ended with status 0 did, in words; Ended where it did not bring the database to the release."""
        service, before, heads = one["service"], self.found.at, self.found.heads
        if not one.get("alembic") or self.found.state == "unversioned":
            return f"migrate the database for {service}"
        after = heads if self.check else self.revision.read(target, must=True)
        command = one["container"].get("entrypoint") or []
        if after is None or (not after and not is_alembic(command)):
            return f"migrate the database for {service}"  # nobody but the tool knows
        if sorted(after) != heads:
            raise Ended(
                f"the migration of {service} ended with exit status 0 and left the database at revision {words(after)}; "
                f"the head of {target['version']} is {words(heads)}. Its command: {' '.join(command)}"
                + ("" if after else "\nWhere env.py notes revisions in another table than alembic_version: backend_image_version_table")
            )
        if sorted(before) == heads:
            return f"run the migration command of {service} (the database stays at {words(heads)})"
        return f"migrate the database for {service}: {words(before)} -> {words(heads)}"

    def _remember(self, target: dict[str, Any], schema: dict[str, Any], due: list[dict[str, Any]]) -> None:
        """Note what ran against this database, and the chain that it is at."""
        new = dict(schema)
        if due:
            new["migrated"] = (schema.get("migrated") or {}) | {one["service"]: target["images"][one["service"]] for one in due}
            new["commands"] = (schema.get("commands") or {}) | {one["service"]: one["container"].get("entrypoint") for one in due}
        if self.found.state in ("new", "behind", "same", "unread") and (due or self.found.state == "same"):
            new |= target["schema"]
        if self.found.state == "same":  # also by somebody's own hand: a command that differs from this one is another
            there = {one["service"]: one["container"].get("entrypoint") for one in target.get("migrations") or [] if one.get("alembic")}
            new["commands"] = there | (new.get("commands") or {})
        if new != schema:
            self.store.migrated(new)

    def _downgrade(self, target: dict[str, Any]) -> Callable[[], None]:
        """What takes the database back to the release; Failed where no release here has both its revision and a command for that."""
        heads = self.found.heads
        candidates = [self.store.manifest(self.store.current), *self.store.releases()]
        fitting = [m for m in candidates if set(self.found.at) <= set((m.get("schema") or {}).get("revisions") or {})]
        one = next((step for m in fitting for step in m.get("migrations") or [] if step.get("downgrade")), None)
        if one is None:
            raise Failed(
                f"No release on this host has revision {words(self.found.at)} and a command that takes migrations back "
                "(backend_image_downgrade_command). Nothing was changed."
            )
        command = [word.replace("{revision}", heads[0]) for word in one["downgrade"]]
        spec = one["container"] | {"entrypoint": command}

        def downgrade() -> None:
            if self.switch.did(f"take the database back: {words(self.found.at)} -> {words(heads)}"):
                self._backup_first(target)
                run_to_end(self.engine, spec, self.wanted["labels"], self.wanted["migrate_timeout"], self._gone)
                self._settle(target)

        return downgrade

    def _restore(self, target: dict[str, Any]) -> Callable[[], None]:
        """What puts the newest backup back that the release can live with; Failed where there is none."""
        known = set(target["schema"]["revisions"])
        fitting = [note for note in self.backups.all() if note["bytes"] and set(note["schema"].get("heads") or ["?"]) <= known]
        database = self.database
        if not fitting or database is None:
            raise Failed(f"There is no backup that {target['version']} could live with (make backups shows them). Nothing was changed.")

        def restore() -> None:
            if self.switch.did(f"put the backup {fitting[0]['name']} back"):
                self._backup_first(target)
                self.backups.restore(fitting[0]["name"], database)
                self._settle(target)

        return restore

    def _settle(self, target: dict[str, Any]) -> None:
        """The database went back: it is at the release, or its migrations bring it there."""
        at = self.revision.read(target, must=True)
        self.found = compared(self.store, at, target)
        if self.found.state in ("new", "behind"):
            self.migrate(target)
        elif self.found.state == "same":
            self._remember(target, self.store.schema, [])
        else:
            raise Ended(f"the database is at revision {words(at or [])} now; the head of {target['version']} is {words(self.found.heads)}")

    def _backup_first(self, target: dict[str, Any]) -> None:
        if self.wanted["backup"] and self.database:
            self._dump(f"before-rollback-to-{target['version']}")

    def _dump(self, why: str) -> None:
        at = None if self.found.state in ("unread", "unversioned") else self.found.at
        self.dumps.append(self.backups.make(why, self.database, check=False, at=at, automatic=True)["name"])

    # all of it --------------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        # The lock may have been waited for: another run has let another release serve meanwhile.
        self.before = before = self.store.current
        target = self.target()
        self.to = target["version"]
        self.around(target)
        with self.switch.stack.phase("database"):
            prepared = self.compatible(target, last=self.check)
        with self.switch.stack.phase("stand"):
            self.stand()
        if self.found.state == "unread" and not self.check:
            try:
                prepared = self.compatible(target, last=True)
            except BaseException as error:
                # The database was started to be asked.
                raise Failed("\n".join(filter(None, [in_words(error, EXPECTED), self.switch.stack.discard()]))) from error
        self.began = None if self.found.state in ("unread", "unversioned") else self.found.at
        if self.found.state == "new" and (lost := self.store.schema.get("heads")):
            self.warnings.append(
                f"the database has no migrations, and this host remembers it at revision {words(lost)}: it is another one, or its volume "
                "was lost. make backups lists what can be put back"
            )
        try:
            changed = self.switch.to(target, lambda: self.migrate(target), prepared)
        except BaseException as error:
            why = str(error) if isinstance(error, Failed) and self.switch.gave_up else self.put_back(target, error)
            moved = self.moved(target)
            raise Failed("\n".join(filter(None, [why, moved, self.let_go(target)]))) from error
        fresh = target["version"] != before or bool(self.store.pending)
        if not self.check:
            self.remember(target, fresh)
        gone: list[str] = []
        if fresh and not self.check:
            protected = {target["version"], target.get("previous", ""), before}
            gone = retire(self.engine, self.store, self.wanted["keep"], protected)
            gone += [f"backup {name}" for name in self.backups.prune(self.wanted["keep"], automatic=True)]
            needed = [manifest.get("secrets_generation", "") for manifest in self.store.releases()]
            gone += [f"generation {number} of the secrets" for number in Secrets(self.store.root / "secrets").prune(needed)]
        return {
            "changed": changed or fresh,
            "release": target["version"],
            "before": before,
            "retired": gone,
        }

    def put_back(self, target: dict[str, Any], error: BaseException) -> str:
        """Remove what a run has begun that ended in the middle, and let what served before serve on; the message for a person."""
        why = in_words(error, EXPECTED)
        other = self.store.manifest(self.before) if self.before != target["version"] else {}
        if not self.switch.gave_up:
            try:
                return self.switch.give_up(target, other, why)
            except Exception as back:
                why = f"{why}\n{in_words(back, EXPECTED)}"
        there = [spec["name"] for spec in target["containers"] if self.engine.find(f"/containers/{spec['name']}/json")]
        left = f"Still there: {', '.join(there)}. " if there else ""
        return (
            f"release {target['version']} failed, and what served before could not be put back:\n{why}\n"
            f"{left}What was under way is noted. To go on with it: {self.again}. To go back: make rollback"
        )

    def let_go(self, target: dict[str, Any]) -> str:
        """Remove what this run started for a release that failed where no other serves by it; what a person is told of the rest."""
        before = self.store.manifest(self.before)
        if self.check or not self.before or self.store.pending or not isinstance(self.switch, Switch) or self.switch.runs(before):
            return ""
        if target["version"] != self.before:
            return self.switch.stack.discard()
        left = sorted(self.switch.stack.created)
        return f"Started by this run, and still there: {', '.join(left)}. To stop all of the stack, data kept: make down" if left else ""

    def moved(self, target: dict[str, Any]) -> str:
        """What a person is told where a release failed after the database was taken to another revision; empty where it was not."""
        try:
            at = None if self.check or self.began is None else self.revision.read(target, must=True)
            if at is None or sorted(at) == sorted(self.began or []):
                return ""
            serves = self.store.manifest(self.before)
            state = compared(self.store, at, serves).state if serves else "unversioned"
        except Exception:
            return ""  # why it failed is told already
        told = f"The database was at revision {words(self.began or [])} before, and is at {words(at)} now"
        if state in ("behind", "new"):
            told += f", behind {self.before}. Its migrations again: make rollback VERSION={self.before}"
        elif state == "breaking":
            told += f", and {self.before} cannot live with that. To go back: make rollback VERSION={self.before} SCHEMA=restore"
        elif state not in ("same", "ahead", "unversioned"):
            told += f", which {self.before} does not have"
        dumped = f"What it held before is in the backup {self.dumps[0]} (make restore BACKUP={self.dumps[0]})" if self.dumps else ""
        return "\n".join(filter(None, [told, dumped]))

    def remember(self, target: dict[str, Any], fresh: bool) -> None:
        """Write down that the release serves."""
        try:
            if fresh or self.store.manifest(target["version"]) != target:
                self.store.record(target)
            self.store.end()
            if self.wanted["manifest"]:
                self.store.stand(edge=self.wanted["edge_service"])
        except BaseException as error:
            why = in_words(error, (*EXPECTED, OSError))
            raise Failed(
                f"release {target['version']} serves, and could not be recorded in {self.store.root}: {why}\n"
                f"Mend that, then take up what is under way: {self.again}"
            ) from error

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
            self.lock.record(self.wanted["verb"], outcome, told, self.before, to or self.to or asked)
