"""One run of release_apply: find the release, bring the database to it, switch, record, let go what does not serve any more."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..data.backups import Backups
from ..data.dumps import Database, DumpError
from ..data.migrations import Comparison, is_alembic, listed
from ..data.revision import Revision, compared, require_compatible
from ..docker.client import Engine, EngineError
from ..docker.image_layers import content_hash
from ..docker.reconcile import RunFailed, Unhealthy, run_to_end
from ..docker.spec import SpecError
from ..secrets.store import Store as Secrets
from ..state.interrupts import Interrupted, error_message
from ..state.store import Failed, Lock, Store, fingerprint, now, with_name
from .drain import Drain, retire
from .edge import SETTLE
from .rollout import Rollout
from .swarm import SwarmRollout

# What may go wrong, and says itself what it is.
EXPECTED = (Failed, SpecError, EngineError, DumpError, RunFailed, Unhealthy)


class Deployment:
    """One run. `wanted` holds the module's options; what the manifest says of its surroundings is added to them."""

    def __init__(self, options: dict[str, Any], check: bool) -> None:
        self.options, self.check = options, check
        self.engine = Engine()
        self.store = Store(self.options["directory"])
        self.before = self.store.current
        self.lock = Lock(self.store, self.options["who"])
        self.rollout: Rollout | SwarmRollout = Rollout(self.engine, self.store, self.options, self.check)
        self.backups = Backups(self.store)
        self.database: Database | None = None
        self.revision = Revision(None, {})
        self.comparison = Comparison("unread")
        # The release that this run is about, the revisions that it found the database at, and the dumps that it made.
        self.version = ""
        self.revisions_before: list[str] | None = None
        self.dumps: list[str] = []
        self.warnings: list[str] = []

    # which one --------------------------------------------------------------------------------------------------------

    def select_release(self) -> dict[str, Any]:
        """The manifest to let serve: the one given, with a name, or one that is remembered."""
        if self.options["manifest"]:
            manifest = self.with_image_ids(self.options["manifest"])
            name = self.store.name(manifest, self.options["elsewhere"])
            made = with_name(manifest, name) | {"version": name, "fingerprint": fingerprint(manifest)}
            existing = self.store.manifest(name)
            if name == self.store.current and not self.store.pending:
                return made | {key: existing[key] for key in ("previous", "released", "by") if key in existing}
            before = self.store.current
            return made | {"previous": before if before != name else existing.get("previous", ""), "released": now(), "by": self.who}
        release = self.options["release"] or self.store.pending.get("from") or self.store.previous
        found = self.store.manifest(release)
        if not found:
            message = f"There is no release {release}" if release else f"There is none before {self.store.current or 'the first one'}"
            raise Failed(f"{message} to go back to. Nothing was changed.\n{self.list_releases()}")
        gone = [service for service, image in found["images"].items() if self.engine.find(f"/images/{image}/json") is None]
        if gone:
            raise Failed(
                f"The images of {' and '.join(gone)} of {release} are gone from this host. Nothing was changed.\n{self.list_releases()}"
            )
        return found

    def with_image_ids(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """The manifest with its images by id: a tag may be moved, and a release means what it was made of."""
        found = {name: self.engine.find(f"/images/{name}/json") for name in manifest["images"].values()}
        missing = [name for name, image in found.items() if image is None]
        if missing and not self.check:
            raise Failed(f"These images are not on this host: {', '.join(missing)}. Build them first: make build. Nothing was changed.")
        expected = self.options["contents"]
        foreign = [name for name, image in found.items() if image and expected.get(name, content_hash(image)) != content_hash(image)]
        if foreign:
            raise Failed(
                f"Under these names are other images than those that were built: {', '.join(foreign)}. Nothing was changed.\n"
                "Remove them (docker image rm) and build them again: make build"
            )
        ids = {name: image["Id"] if image else name for name, image in found.items()}

        def with_id(spec: dict[str, Any]) -> dict[str, Any]:
            return spec | {"image": ids.get(spec["image"], spec["image"])}

        return manifest | {
            "images": {service: ids[name] for service, name in manifest["images"].items()},
            "references": manifest["images"],
            "containers": [with_id(spec) for spec in manifest["containers"]],
            "migrations": [migration | {"container": with_id(migration["container"])} for migration in manifest.get("migrations") or []],
        }

    @property
    def who(self) -> str:
        return f"{self.options['who']['owner']}@{self.options['who']['host']}"

    @property
    def resume_command(self) -> str:
        """What takes up a run that did not come to its end."""
        return "make deploy" if self.options["manifest"] else f"make rollback VERSION={self.version}"

    def list_releases(self) -> str:
        rows = []
        for manifest in self.store.releases():
            existing = all(self.engine.find(f"/images/{image}/json") for image in manifest["images"].values())
            note = "serves now" if manifest["version"] == self.store.current else "" if existing else "images gone"
            rows.append(f"  {manifest['version']:<40} released {manifest.get('released', '?')}  {note}".rstrip())
        return "\n".join(["Releases on this host (make rollback VERSION=...):", *rows]) if rows else "No release was made on this host yet."

    def load_infrastructure(self, target: dict[str, Any]) -> None:
        """Take what stands around the pair from the manifest."""
        if "around" not in target:
            raise Failed(
                f"The manifest of {target['version']} is an older Berth's; deploy it anew: make deploy VERSION={target['version']}"
            )
        self.options.update(target["around"])
        edge = self.options["edge"]["container"]
        # Going back, an edge that is there stays as it is.
        if not self.options["edge_service"] and self.engine.find(f"/containers/{edge}/json") is None:
            self.options["edge_service"] = self.store.infrastructure["edge"]
        if self.options.get("swarm"):
            # How many there are of a service is no part of a release: it stays when a release goes back.
            self.options["swarm"] = self.options["swarm"] | {"replicas": self.options["replicas"]}
            self.rollout = SwarmRollout(self.engine, self.store, self.options, self.check)
        base = self.options["database"]
        self.database = Database(self.engine, base["container"], base["name"]) if base else None
        # Manifests of an older Berth do not say where the backend has its revisions: what serves does.
        serves = (self.store.manifest(self.store.current).get("around") or {}).get("database") or {}
        self.revision = Revision(self.database, serves | base if base else {})

    def ensure_infrastructure(self) -> None:
        """Have what a release stands on."""
        base, reconcile, stack = self.store.infrastructure, self.options["foundation"] == "mend", self.rollout.stack
        if self.options["foundation"] == "made":
            return
        missing = [name for name in base["volumes"] if self.engine.find(f"/volumes/{name}") is None]
        if missing:
            raise Failed(
                f"The volume {', '.join(missing)} is gone from this host, and its data with it. Nothing was changed.\n"
                "make deploy makes an empty one; make restore BACKUP=... puts a backup into it."
            )
        try:
            for name, network in base["networks"].items():
                if reconcile or self.engine.find(f"/networks/{name}") is None:
                    stack.network(network)
            existing = {name: self.engine.find(f"/containers/{name}/json") for name in base["containers"]}
            to_create = [spec for name, spec in base["containers"].items() if reconcile or existing[name] is None]
            if isinstance(self.rollout, Rollout):
                to_create += self.rollout.edge.containers_to_create()
            stack.containers(to_create)
            for name, actual in existing.items():
                if actual and not reconcile:
                    stack.ensure_running(name, actual)
            if not self.check:
                stack.wait(list(base["containers"]), self.options["wait"])
        except BaseException as error:
            why = f"the infrastructure of the release is not as expected: {error_message(error, EXPECTED)}"
            raise Failed("\n".join(filter(None, [why, stack.remove_created()]))) from error

    # the database -----------------------------------------------------------------------------------------------------

    def check_schema(self, target: dict[str, Any], final: bool) -> Callable[[], None] | None:
        """Hold the release against the revision that the database is at; Failed where it does not fit. Returns what has to be done to the
        database before the switch. A database that does not run is asked again when it does; `last`: what is remembered counts then."""
        at = self.revision.read(target, required=final and not self.check)
        if at is None and final and self.store.schema.get("heads"):
            at = self.store.schema["heads"]
        choice = self.options["schema"]
        self.comparison = compared(self.store, at, target, accepted=choice == "accept")
        # A deploy is asked for by the version of its images, which another configuration's release shares.
        name = target["image_version"] if self.options["manifest"] else target["version"]
        require_compatible(self.comparison, name, self.options["verb"], choice)
        if self.comparison.state != "breaking" or choice == "accept":
            return None
        return self._downgrade(target) if choice == "downgrade" else self._restore(target)

    def migrate(self, target: dict[str, Any]) -> None:
        """Bring the database to the release, after a dump, where it is behind."""
        schema, rolling_back = self.store.schema, not self.options["manifest"]
        due = [migration for migration in target.get("migrations") or [] if self._is_due(migration, target, schema, rolling_back)]
        existing = self.comparison.at or schema.get("migrated")
        if due and self.options["backup"] and self.database and existing and self.rollout.record_change("back the database up"):
            self._dump(f"before-{target['version']}")
        if not self.check:
            with ThreadPoolExecutor(max_workers=4) as pool:
                try:
                    list(pool.map(self._run_migration, due))
                except Interrupted:
                    # Nobody waits for minutes for what is given up; what they left in the server is ended as they are removed.
                    for migration in due:
                        with contextlib.suppress(EngineError):
                            self.engine.call("POST", f"/containers/{migration['container']['name']}/kill")
                    raise
        for migration in due:
            self.rollout.record_change(self._describe_migration(migration, target))
        if not self.check:
            self._record_schema(target, schema, due)

    def _is_due(self, migration: dict[str, Any], target: dict[str, Any], schema: dict[str, Any], rolling_back: bool) -> bool:
        """Whether a migration is to be run: where the database is behind, by its own revision; and, by a release that is new, what was not
        run against this database: another command, or, of a tool whose steps are unknown, another image."""
        service, state = migration["service"], self.comparison.state
        command, noted = migration["container"].get("entrypoint"), (schema.get("commands") or {}).get(service)
        image = (schema.get("migrated") or {}).get(service)
        alembic = migration.get("alembic") and state != "unversioned"
        if alembic and state in ("new", "behind", "unread"):
            return True
        if alembic and state != "same":
            return False
        if alembic and is_alembic(command or []):
            return not rolling_back and noted is not None and noted != command
        return image is None or (not rolling_back and (image != target["images"][service] or noted != command))

    def _run_migration(self, migration: dict[str, Any]) -> str:
        return run_to_end(self.engine, migration["container"], self.options["labels"], self.options["migrate_timeout"], self._end_sessions)

    def _end_sessions(self, addresses: list[str], when: float) -> None:
        """End what a migration that did not end well left in the server: a statement that waits for a lock goes on blocking others."""
        with contextlib.suppress(DumpError, EngineError):
            self.revision.end_sessions(addresses, when)

    def _describe_migration(self, migration: dict[str, Any], target: dict[str, Any]) -> str:
        """What a migration that ended with status 0 did, in words; Ended where it did not bring the database to the release."""
        service, before, heads = migration["service"], self.comparison.at, self.comparison.heads
        if not migration.get("alembic") or self.comparison.state == "unversioned":
            return f"migrate the database for {service}"
        after = heads if self.check else self.revision.read(target, required=True)
        command = migration["container"].get("entrypoint") or []
        if after is None or (not after and not is_alembic(command)):
            return f"migrate the database for {service}"  # nobody but the tool knows
        if sorted(after) != heads:
            raise RunFailed(
                f"the migration of {service} ended with exit status 0 and left the database at revision {listed(after)}; "
                f"the head of {target['version']} is {listed(heads)}. Its command: {' '.join(command)}"
                + ("" if after else "\nWhere env.py notes revisions in another table than alembic_version: backend_image_version_table")
            )
        if sorted(before) == heads:
            return f"run the migration command of {service} (the database stays at {listed(heads)})"
        return f"migrate the database for {service}: {listed(before)} -> {listed(heads)}"

    def _record_schema(self, target: dict[str, Any], schema: dict[str, Any], due: list[dict[str, Any]]) -> None:
        """Note what ran against this database, and the chain that it is at."""
        new = dict(schema)
        if due:
            new["migrated"] = (schema.get("migrated") or {}) | {
                migration["service"]: target["images"][migration["service"]] for migration in due
            }
            new["commands"] = (schema.get("commands") or {}) | {
                migration["service"]: migration["container"].get("entrypoint") for migration in due
            }
        if self.comparison.state in ("new", "behind", "same", "unread") and (due or self.comparison.state == "same"):
            new |= target["schema"]
        if self.comparison.state == "same":  # also by somebody's own hand: a command that differs from this one is another
            existing = {
                migration["service"]: migration["container"].get("entrypoint")
                for migration in target.get("migrations") or []
                if migration.get("alembic")
            }
            new["commands"] = existing | (new.get("commands") or {})
        if new != schema:
            self.store.record_schema(new)

    def _downgrade(self, target: dict[str, Any]) -> Callable[[], None]:
        """What takes the database back to the release; Failed where no release here has both its revision and a command for that."""
        heads = self.comparison.heads
        candidates = [self.store.manifest(self.store.current), *self.store.releases()]
        fitting = [m for m in candidates if set(self.comparison.at) <= set((m.get("schema") or {}).get("revisions") or {})]
        migration = next((step for m in fitting for step in m.get("migrations") or [] if step.get("downgrade")), None)
        if migration is None:
            raise Failed(
                f"No release on this host has revision {listed(self.comparison.at)} and a command that takes migrations back "
                "(backend_image_downgrade_command). Nothing was changed."
            )
        command = [word.replace("{revision}", heads[0]) for word in migration["downgrade"]]
        spec = migration["container"] | {"entrypoint": command}

        def downgrade() -> None:
            if self.rollout.record_change(f"take the database back: {listed(self.comparison.at)} -> {listed(heads)}"):
                self._backup_first(target)
                run_to_end(self.engine, spec, self.options["labels"], self.options["migrate_timeout"], self._end_sessions)
                self._settle(target)

        return downgrade

    def _restore(self, target: dict[str, Any]) -> Callable[[], None]:
        """What puts the newest backup back that the release can live with; Failed where there is none."""
        expected = set(target["schema"]["revisions"])
        fitting = [note for note in self.backups.all() if note["bytes"] and set(note["schema"].get("heads") or ["?"]) <= expected]
        database = self.database
        if not fitting or database is None:
            raise Failed(f"There is no backup that {target['version']} could live with (make backups shows them). Nothing was changed.")

        def restore() -> None:
            if self.rollout.record_change(f"put the backup {fitting[0]['name']} back"):
                self._backup_first(target)
                self.backups.restore(fitting[0]["name"], database)
                self._settle(target)

        return restore

    def _settle(self, target: dict[str, Any]) -> None:
        """The database went back: it is at the release, or its migrations bring it there."""
        at = self.revision.read(target, required=True)
        self.comparison = compared(self.store, at, target)
        if self.comparison.state in ("new", "behind"):
            self.migrate(target)
        elif self.comparison.state == "same":
            self._record_schema(target, self.store.schema, [])
        else:
            raise RunFailed(
                f"the database is at revision {listed(at or [])} now; the head of {target['version']} is {listed(self.comparison.heads)}"
            )

    def _backup_first(self, target: dict[str, Any]) -> None:
        if self.options["backup"] and self.database:
            self._dump(f"before-rollback-to-{target['version']}")

    def _dump(self, why: str) -> None:
        at = None if self.comparison.state in ("unread", "unversioned") else self.comparison.at
        self.dumps.append(self.backups.make(why, self.database, check=False, at=at, automatic=True)["name"])

    # all of it --------------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        # The lock may have been waited for: another run has let another release serve meanwhile.
        self.before = before = self.store.current
        target = self.select_release()
        self.version = target["version"]
        self.load_infrastructure(target)
        with self.rollout.stack.phase("database"):
            prepared = self.check_schema(target, final=self.check)
        with self.rollout.stack.phase("stand"):
            self.ensure_infrastructure()
        if self.comparison.state == "unread" and not self.check:
            try:
                prepared = self.check_schema(target, final=True)
            except BaseException as error:
                # The database was started to be asked.
                raise Failed("\n".join(filter(None, [error_message(error, EXPECTED), self.rollout.stack.remove_created()]))) from error
        self.revisions_before = None if self.comparison.state in ("unread", "unversioned") else self.comparison.at
        if self.comparison.state == "new" and (missing := self.store.schema.get("heads")):
            self.warnings.append(
                f"the database has no migrations, and this host remembers it at revision {listed(missing)}: it is another database, or "
                "its volume was lost. make backups lists what can be put back"
            )
        try:
            changed = self.rollout.run(target, lambda: self.migrate(target), prepared)
        except BaseException as error:
            why = str(error) if isinstance(error, Failed) and self.rollout.aborted else self.recover(target, error)
            moved = self.schema_change(target)
            raise Failed("\n".join(filter(None, [why, moved, self.remove_started(target)]))) from error
        fresh = target["version"] != before or bool(self.store.pending)
        if not self.check:
            self.record_release(target, fresh)
        gone: list[str] = []
        if fresh and not self.check:
            protected = {target["version"], target.get("previous", ""), before}
            gone = retire(self.engine, self.store, self.options["keep"], protected)
            gone += [f"backup {name}" for name in self.backups.prune(self.options["keep"], automatic=True)]
            needed = [manifest.get("secrets_generation", "") for manifest in self.store.releases()]
            gone += [f"generation {number} of the secrets" for number in Secrets(self.store.root / "secrets").prune(needed)]
        return {
            "changed": changed or fresh,
            "release": target["version"],
            "before": before,
            "retired": gone,
        }

    def recover(self, target: dict[str, Any], error: BaseException) -> str:
        """Remove what a run has begun that ended in the middle, and let what served before serve on; the message for a person."""
        why = error_message(error, EXPECTED)
        other = self.store.manifest(self.before) if self.before != target["version"] else {}
        if not self.rollout.aborted:
            try:
                return self.rollout.abort(target, other, why)
            except Exception as rolling_back:
                why = f"{why}\n{error_message(rolling_back, EXPECTED)}"
        existing = [spec["name"] for spec in target["containers"] if self.engine.find(f"/containers/{spec['name']}/json")]
        left = f"Still there: {', '.join(existing)}. " if existing else ""
        return (
            f"release {target['version']} failed, and what served before could not be put back:\n{why}\n"
            f"{left}What was under way is noted. To go on with it: {self.resume_command}. To go back: make rollback"
        )

    def remove_started(self, target: dict[str, Any]) -> str:
        """Remove what this run started for a release that failed where no other serves by it; what a person is told of the rest."""
        before = self.store.manifest(self.before)
        if self.check or not self.before or self.store.pending or not isinstance(self.rollout, Rollout) or self.rollout.is_running(before):
            return ""
        if target["version"] != self.before:
            return self.rollout.stack.remove_created()
        left = sorted(self.rollout.stack.created)
        return f"Started by this run, and still there: {', '.join(left)}. To stop all of the stack, data kept: make down" if left else ""

    def schema_change(self, target: dict[str, Any]) -> str:
        """What a person is told where a release failed after the database was taken to another revision; empty where it was not."""
        try:
            at = None if self.check or self.revisions_before is None else self.revision.read(target, required=True)
            if at is None or sorted(at) == sorted(self.revisions_before or []):
                return ""
            serves = self.store.manifest(self.before)
            state = compared(self.store, at, serves).state if serves else "unversioned"
        except Exception:
            return ""  # why it failed is told already
        describe = f"The database was at revision {listed(self.revisions_before or [])} before, and is at {listed(at)} now"
        if state in ("behind", "new"):
            describe += f", behind {self.before}. Its migrations again: make rollback VERSION={self.before}"
        elif state == "breaking":
            describe += f", and {self.before} cannot live with that. To go back: make rollback VERSION={self.before} SCHEMA=restore"
        elif state not in ("same", "ahead", "unversioned"):
            describe += f", which {self.before} does not have"
        dumped = f"What it held before is in the backup {self.dumps[0]} (make restore BACKUP={self.dumps[0]})" if self.dumps else ""
        return "\n".join(filter(None, [describe, dumped]))

    def record_release(self, target: dict[str, Any], fresh: bool) -> None:
        """Write down that the release serves."""
        try:
            if fresh or self.store.manifest(target["version"]) != target:
                self.store.record(target)
            self.store.end()
            if self.options["manifest"]:
                self.store.record_infrastructure(edge=self.options["edge_service"])
        except BaseException as error:
            why = error_message(error, (*EXPECTED, OSError))
            raise Failed(
                f"release {target['version']} serves, and could not be recorded in {self.store.root}: {why}\n"
                f"Mend that, then take up what is under way: {self.resume_command}"
            ) from error

    def drain(self, outcome: dict[str, Any]) -> None:
        """Let go what does not serve: at once, or, the release before, when its warm time is over."""
        if self.options.get("swarm"):
            return  # the engine drains
        drain = Drain(self.engine, self.store, self.lock)
        busy = drain.busy()
        if not outcome["changed"] and busy:
            return
        left = drain.leftovers(self.options["labels"], self.options["services"], outcome["release"])
        if busy:
            # Told to stop already, by a drain that waits for them; told twice they would break off what they do.
            left = [name for name in left if "-draining-" not in name]
        warm = [name for name in left if outcome["before"] and name.endswith(f"-{outcome['before']}")] if self.options["warm"] else []
        rest = [name for name in left if name not in warm]
        if rest and self.rollout.record_change(f"drain and remove {', '.join(rest)}"):
            gone = drain.start(rest, SETTLE, self.options["drain_wait"])
            if not gone:
                self.rollout.stack.actions[-1] += " (finishing in the background)"
        if (
            warm
            and outcome["before"] != outcome["release"]
            and self.rollout.record_change(f"keep {', '.join(warm)} warm for {self.options['warm']:.0f} s")
        ):
            drain.start(warm, self.options["warm"], 0)
        outcome["changed"] = outcome["changed"] or bool(rest)

    def finish(self, outcome: str, what: str, to: str = "") -> None:
        """Give the lock back, and write down what became of it."""
        if not self.check:
            asked = self.options["manifest"]["image_version"] if self.options["manifest"] else self.options["release"]
            describe = "; ".join(part for part in (self.options.get("what"), what) if part)
            self.lock.finish(self.options["verb"], outcome, describe, self.before, to or self.version or asked)
