"""One run of release_apply: select the release, migrate the database, roll out, record, remove what is no longer needed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..data.backups import Backups
from ..data.dumps import Database, DumpError
from ..data.external import External, database_of
from ..data.migrations import Comparison, is_alembic, listed
from ..data.revision import Revision, compared, require_compatible
from ..data.server_log import refused_statements
from ..docker.client import Engine, EngineError
from ..docker.image_layers import content_hash
from ..docker.ownership import DECLARED
from ..docker.reconcile import RunFailed, Unhealthy
from ..docker.spec import SpecError
from ..secrets.store import Store as Secrets
from ..state.interrupts import Interrupted, error_message
from ..state.store import Failed, Lock, Store, fingerprint, now, with_name
from .drain import Drain, retire
from .edge import SETTLE
from .migration import Migration, command_text
from .rollout import Rollout
from .swarm import SwarmRollout

# Errors whose message is complete: it is printed without the type and the line of code.
EXPECTED = (Failed, SpecError, EngineError, DumpError, RunFailed, Unhealthy)


def joined(*parts: str) -> str:
    """The parts that are not empty, one a line."""
    return "\n".join(filter(None, parts))


class Deployment:
    """One run. `options`: the module's parameters; load_infrastructure() adds the manifest's `around` to them."""

    def __init__(self, options: dict[str, Any], check: bool) -> None:
        self.options, self.check = options, check
        self.engine = Engine()
        self.store = Store(options["directory"])
        self.before = self.store.current
        self.lock = Lock(self.store, options["who"])
        self.rollout: Rollout | SwarmRollout = Rollout(self.engine, self.store, options, check)
        self.backups = Backups(self.store)
        self.database: Database | None = None
        self.revision = Revision(None, {})
        self.comparison = Comparison("unread")
        # The release that this run deploys, the database's revisions before it, and the dumps that it made.
        self.version = ""
        self.revisions_before: list[str] | None = None
        self.dumps: list[str] = []
        self.warnings: list[str] = []

    # select the release -----------------------------------------------------------------------------------------------

    def select_release(self) -> dict[str, Any]:
        """The manifest to deploy: the given one, with a name, or a recorded one."""
        if self.options["manifest"]:
            manifest = self.with_image_ids(self.options["manifest"])
            name = self.store.name(manifest, self.options["fleet_release"])
            new = with_name(manifest, name) | {"version": name, "fingerprint": fingerprint(manifest)}
            existing = self.store.manifest(name)
            if name == self.store.current and not self.store.pending:
                return new | {key: existing[key] for key in ("previous", "released", "by") if key in existing}
            before = self.store.current
            return new | {"previous": before if before != name else existing.get("previous", ""), "released": now(), "by": self.who}
        release = self.options["release"] or self.store.pending.get("from") or self.store.previous
        found = self.store.manifest(release)
        if not found:
            problem = f"There is no release {release}" if release else f"There is no release before {self.store.current or 'the first one'}"
            raise Failed(f"{problem} to roll back to. Nothing was changed.\n{self.list_releases()}")
        gone = [service for service, image in found["images"].items() if self.engine.find(f"/images/{image}/json") is None]
        if gone:
            raise Failed(
                f"The images of {' and '.join(gone)} of {release} are no longer on this host. Nothing was changed.\n{self.list_releases()}"
            )
        return found

    def with_image_ids(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """The manifest with image ids instead of tags: a tag may move, a release must not."""
        found = {name: self.engine.find(f"/images/{name}/json") for name in manifest["images"].values()}
        missing = [name for name, image in found.items() if image is None]
        if missing and not self.check:
            raise Failed(f"These images are not on this host: {', '.join(missing)}. Build them first: make build. Nothing was changed.")
        expected = self.options["contents"]
        foreign = [name for name, image in found.items() if image and expected.get(name, content_hash(image)) != content_hash(image)]
        if foreign:
            raise Failed(
                f"These tags name other images than the ones that were built: {', '.join(foreign)}. Nothing was changed.\n"
                "Remove them (docker image rm) and build them again: make build"
            )
        ids = {name: image["Id"] if image else name for name, image in found.items()}

        def with_id(spec: dict[str, Any]) -> dict[str, Any]:
            return spec | {"image": ids.get(spec["image"], spec["image"])}

        return manifest | {
            "images": {service: ids[name] for service, name in manifest["images"].items()},
            "references": manifest["images"],
            "containers": [with_id(spec) for spec in manifest["containers"]],
            "migrations": [step | {"container": with_id(step["container"])} for step in manifest.get("migrations") or []],
        }

    @property
    def who(self) -> str:
        return f"{self.options['who']['owner']}@{self.options['who']['host']}"

    @property
    def resume_command(self) -> str:
        """The command that continues a run which did not finish."""
        return "make deploy" if self.options["manifest"] else f"make rollback VERSION={self.version}"

    def list_releases(self) -> str:
        rows = []
        for manifest in self.store.releases():
            complete = all(self.engine.find(f"/images/{image}/json") for image in manifest["images"].values())
            note = "active" if manifest["version"] == self.store.current else "" if complete else "images missing"
            rows.append(f"  {manifest['version']:<40} released {manifest.get('released', '?')}  {note}".rstrip())
        return "\n".join(["Releases on this host (make rollback VERSION=...):", *rows]) if rows else "This host has no releases yet."

    # infrastructure ---------------------------------------------------------------------------------------------------

    def load_infrastructure(self, target: dict[str, Any]) -> None:
        """Add what the manifest says of the infrastructure (key `around`) to the options."""
        if "around" not in target:
            raise Failed(
                f"The manifest of {target['version']} is of an older Berth; deploy it again: make deploy VERSION={target['version']}"
            )
        self.options.update(target["around"])
        self.options["services_declared"] = target.get("services") or {}
        edge = self.options["edge"]["container"]
        # A rollback leaves an existing edge as it is.
        if not self.options["edge_service"] and self.engine.find(f"/containers/{edge}/json") is None:
            self.options["edge_service"] = self.store.infrastructure["edge"]
        if self.options.get("swarm"):
            # The number of replicas is not part of a release: a rollback keeps it.
            self.options["swarm"] = self.options["swarm"] | {"replicas": self.options["replicas"]}
            self.rollout = SwarmRollout(self.engine, self.store, self.options, self.check)
        base = self.options["database"]
        self.database = database_of(self.engine, base)
        # Manifests of an older Berth do not name the backend's schema: take it from the active release.
        active = (self.store.manifest(self.store.current).get("around") or {}).get("database") or {}
        self.revision = Revision(self.database, active | base if base else {})

    def ensure_infrastructure(self) -> None:
        """Ensure that the recorded networks, volumes and containers exist and run; with `reconcile`, that they are as recorded."""
        recorded, reconcile, stack = self.store.infrastructure, self.options["infrastructure"] == "reconcile", self.rollout.stack
        if self.options["infrastructure"] == "skip":
            return
        missing = [name for name in recorded["volumes"] if self.engine.find(f"/volumes/{name}") is None]
        if missing:
            raise Failed(
                f"The volume {', '.join(missing)} is missing on this host, with its data. Nothing was changed.\n"
                "make deploy creates an empty one; make restore BACKUP=... restores a backup into it."
            )
        try:
            for name, network in recorded["networks"].items():
                if reconcile or self.engine.find(f"/networks/{name}") is None:
                    stack.network(network)
            existing = {name: self.engine.find(f"/containers/{name}/json") for name in recorded["containers"]}
            specs = [spec for name, spec in recorded["containers"].items() if reconcile or existing[name] is None]
            if not self.options["manifest"]:
                specs += self._missing_services(recorded["containers"])
            if isinstance(self.rollout, Rollout):
                specs += self.rollout.edge.containers_to_create()
            stack.containers(specs)
            for name, actual in existing.items():
                if actual and not reconcile:
                    stack.ensure_running(name, actual)
            if not self.check:
                stack.wait(list(recorded["containers"]), self.options["health_timeout"])
        except BaseException as error:
            problem = f"the infrastructure could not be reconciled: {error_message(error, EXPECTED)}"
            raise Failed(joined(problem, stack.remove_created())) from error

    def _missing_services(self, recorded: dict[str, Any]) -> list[dict[str, Any]]:
        """The services that a recorded release needs and that a later deployment removed; creates their volumes where they are gone."""
        declared = self.options["services_declared"]
        specs = [spec for spec in declared.get("containers") or [] if spec["name"] not in recorded]
        missing = [spec for spec in specs if self.engine.find(f"/containers/{spec['name']}/json") is None]
        mounted = {mount["source"] for spec in missing for mount in spec.get("mounts") or []}
        for volume in declared.get("volumes") or []:
            if volume["name"] in mounted:
                self.rollout.stack.volume(volume)
        return missing

    # the database -----------------------------------------------------------------------------------------------------

    def check_schema(self, target: dict[str, Any], final: bool) -> Callable[[], None] | None:
        """Compare the release with the database's revision; Failed where they do not fit. Returns what has to be done to the database
        before the traffic switch. A database that does not run is read later; `final`: the recorded revision is used instead."""
        at = self.revision.read(target, required=final and not self.check)
        if at is None and final and self.store.schema.get("heads"):
            at = self.store.schema["heads"]
        choice = self.options["schema"]
        self.comparison = compared(self.store, at, target, choice == "accept", self.revision)
        # A deploy names the version of the images, which releases with another configuration share.
        name = target["image_version"] if self.options["manifest"] else target["version"]
        require_compatible(self.comparison, name, self.options["verb"], choice)
        if self.comparison.state != "breaking" or choice == "accept":
            return None
        return self._downgrade(target) if choice == "downgrade" else self._restore(target)

    def migrate(self, target: dict[str, Any]) -> None:
        """Run the release's pending migrations, after a dump."""
        schema, steps = self.store.schema, target.get("migrations") or []
        identity = self.revision.identity() if steps else ""
        if identity and schema.get("database", identity) != identity:
            # Another database than the one that is recorded: what ran there did not run here.
            schema = {key: value for key, value in schema.items() if key not in ("migrated", "commands")}
        due = [step for step in steps if self._is_due(step, target, schema)]
        outputs: dict[str, str] = {}
        has_data = self.comparison.at or self.store.schema.get("migrated")
        if due and self.options["backup"] and self.database and has_data and self.rollout.record_change("back up the database"):
            self._dump(f"before-{target['version']}")
        if not self.check:
            started = time.time()
            with ThreadPoolExecutor(max_workers=4) as pool:
                try:
                    for step, output in zip(due, pool.map(lambda step: self._run_step(target, step), due), strict=True):
                        outputs[step["service"]] = output
                except Interrupted:
                    # Do not wait for a migration that is given up; its sessions in the server end as its container is removed.
                    for step in due:
                        with contextlib.suppress(EngineError):
                            self.engine.call("POST", f"/containers/{step['container']['name']}/kill")
                    raise
            if due and self.database and not isinstance(self.database, External):  # whose log is not here
                self._warn_of_refused_statements(self.database, started)
        for step in due:
            self.rollout.record_change(self._describe_migration(step, target, outputs.get(step["service"], "")))
        if not self.check:
            self._record_schema(target, schema | ({"database": identity} if due and identity else {}), due)

    def _is_due(self, step: dict[str, Any], target: dict[str, Any], schema: dict[str, Any]) -> bool:
        """Whether to run a migration: the database's revision is behind; or, for a new release, its check command says so; or the command,
        or the image of a tool whose steps are unknown, has not run against this database."""
        service, state, rollback = step["service"], self.comparison.state, not self.options["manifest"]
        command, last_command = step["container"].get("entrypoint"), (schema.get("commands") or {}).get(service)
        image = (schema.get("migrated") or {}).get(service)
        alembic = step.get("alembic") and state != "unversioned"
        if alembic and state in ("new", "behind", "unread"):
            return True
        if alembic and state != "same":
            return False
        if alembic and is_alembic(command or []):
            return not rollback and last_command is not None and last_command != command
        if step.get("check") and not rollback and not self.check:
            return bool(self._pending(step, target))
        return image is None or (not rollback and (image != target["images"][service] or last_command != command))

    def _run_step(self, target: dict[str, Any], step: dict[str, Any]) -> str:
        return self._run_container(target, step["service"], step["container"])

    def _pending(self, step: dict[str, Any], target: dict[str, Any]) -> str:
        """What a migration's check command says where its exit status is not 0, that is, migrations are pending; empty where it is."""
        try:
            self._run_container(target, step["service"], step["container"] | {"entrypoint": step["check"]}, "check")
            return ""
        except RunFailed as error:
            if error.status is None:
                raise
            return str(error)

    def _run_container(self, target: dict[str, Any], service: str, spec: dict[str, Any], kind: str = "migration") -> str:
        """Run a one-off container of a migration for a release; its log is kept with the release."""
        login = Secrets(self.store.root / "secrets").database_login(target.get("secrets_generation", ""), service)
        about = (
            f"{kind} of {service} for {target['version']}, image {spec['image']}, login {login or 'unknown'}: "
            f"{command_text(spec.get('entrypoint') or [])}"
        )
        log = self.store.migration_log(target["version"], service, kind)
        return Migration(self.engine, self.revision, spec, self.options["labels"], self.options, log, about).run()

    def _warn_of_refused_statements(self, database: Database, started: float) -> None:
        """Warn of statements that the server refused since a time: a migration that catches the error exits with 0 all the same."""
        try:
            log = self.engine.logs(database.container, 2000, since=started)
        except EngineError:
            return  # what cannot be read does not undo a migration that succeeded
        # While another release serves, only statements that define objects are certain to be the migration's.
        if refused := refused_statements(log, definitions_only=bool(self.before)):
            more = f"\n  and {len(refused) - 5} more (make logs SERVICE=database)" if len(refused) > 5 else ""
            self.warnings.append(
                "The migrations exited with 0, but the database refused statements meanwhile; check that all tables exist:\n  "
                + "\n  ".join(refused[:5])
                + more
            )

    def _describe_migration(self, step: dict[str, Any], target: dict[str, Any], output: str) -> str:
        """The action line of a migration that succeeded; RunFailed where the database is not at the release's head after it, or its check
        command says that migrations are pending. Of a tool whose steps are unknown it has the output's last line: only the tool knows
        whether there was anything to do."""
        service, before, heads = step["service"], self.comparison.at, self.comparison.heads
        if not step.get("alembic") or self.comparison.state == "unversioned":
            if step.get("check") and not self.check and self.options["manifest"] and (pending := self._pending(step, target)):
                raise RunFailed(f"the migration of {service} ended with exit status 0, and its check command still reports:\n{pending}")
            last = output.splitlines()[-1].strip()[:160] if output.strip() else ""
            return f"migrate the database for {service}" + (f": {last}" if last else "")
        after = heads if self.check else self.revision.read(target, required=True)
        command = step["container"].get("entrypoint") or []
        if after is None or (not after and not is_alembic(command)):
            return f"migrate the database for {service}"  # the tool keeps its revision elsewhere
        if sorted(after) != heads:
            raise RunFailed(
                f"the migration of {service} ended with exit status 0 and left the database at revision {listed(after)}; "
                f"the head of {target['version']} is {listed(heads)}. Its command: {' '.join(command)}"
                + ("" if after else "\nWhere env.py stores revisions in another table than alembic_version: backend_image_version_table")
            )
        if sorted(before) == heads:
            return f"run the migration command of {service} (the database stays at {listed(heads)})"
        return f"migrate the database for {service}: {listed(before)} -> {listed(heads)}"

    def _record_schema(self, target: dict[str, Any], schema: dict[str, Any], due: list[dict[str, Any]]) -> None:
        """Record which images and commands ran against this database, and its chain of revisions."""
        new = dict(schema)

        def commands(steps: list[dict[str, Any]]) -> dict[str, Any]:
            return {step["service"]: step["container"].get("entrypoint") for step in steps}

        if due:
            new["migrated"] = (schema.get("migrated") or {}) | {step["service"]: target["images"][step["service"]] for step in due}
            new["commands"] = (schema.get("commands") or {}) | commands(due)
        if self.comparison.state in ("new", "behind", "same", "unread") and (due or self.comparison.state == "same"):
            new |= target["schema"]
        if self.comparison.state == "same":  # also where somebody ran the migrations by hand
            alembic = [step for step in target.get("migrations") or [] if step.get("alembic")]
            new["commands"] = commands(alembic) | (new.get("commands") or {})
        if new != schema:
            self.store.record_schema(new)

    def _downgrade(self, target: dict[str, Any]) -> Callable[[], None]:
        """What downgrades the database to the release; Failed where no recorded release has its revision and a downgrade command."""
        heads = self.comparison.heads
        candidates = [self.store.manifest(self.store.current), *self.store.releases()]
        fitting = [m for m in candidates if set(self.comparison.at) <= set((m.get("schema") or {}).get("revisions") or {})]
        step = next((step for m in fitting for step in m.get("migrations") or [] if step.get("downgrade")), None)
        if step is None:
            raise Failed(
                f"No release on this host has revision {listed(self.comparison.at)} and a downgrade command "
                "(backend_image_downgrade_command). Nothing was changed."
            )
        spec = step["container"] | {"entrypoint": [word.replace("{revision}", heads[0]) for word in step["downgrade"]]}

        def downgrade() -> None:
            if self.rollout.record_change(f"downgrade the database: {listed(self.comparison.at)} -> {listed(heads)}"):
                self._backup_first(target)
                self._run_container(target, step["service"], spec, "downgrade")
                self._after_schema_change(target)

        return downgrade

    def _restore(self, target: dict[str, Any]) -> Callable[[], None]:
        """What restores the newest backup that fits the release; Failed where there is none."""
        if isinstance(self.database, External):
            raise Failed(
                f"SCHEMA=restore is refused: the database {self.database.place} is not the stack's (database_external). "
                "Nothing was changed.\n"
                "Choose SCHEMA=downgrade, or restore it yourself (make backups, make restore BACKUP=...) and then use SCHEMA=accept"
            )
        revisions = set(target["schema"]["revisions"])
        fitting = [note for note in self.backups.all() if note["bytes"] and set(note["schema"].get("heads") or ["?"]) <= revisions]
        database = self.database
        if not fitting or database is None:
            raise Failed(f"No backup fits {target['version']} (make backups lists them). Nothing was changed.")

        def restore() -> None:
            if self.rollout.record_change(f"restore the backup {fitting[0]['name']}"):
                self._backup_first(target)
                self.backups.restore(fitting[0]["name"], database)
                self._after_schema_change(target)

        return restore

    def _after_schema_change(self, target: dict[str, Any]) -> None:
        """After a downgrade or restore: record the schema, or migrate from there to the release."""
        at = self.revision.read(target, required=True)
        self.comparison = compared(self.store, at, target)
        if self.comparison.state in ("new", "behind"):
            self.migrate(target)
        elif self.comparison.state == "same":
            self._record_schema(target, self.store.schema, [])
        else:
            heads = listed(self.comparison.heads)
            raise RunFailed(f"the database is now at revision {listed(at or [])}; the head of {target['version']} is {heads}")

    def _backup_first(self, target: dict[str, Any]) -> None:
        if self.options["backup"] and self.database:
            self._dump(f"before-rollback-to-{target['version']}")

    def _dump(self, why: str) -> None:
        at = None if self.comparison.state in ("unread", "unversioned") else self.comparison.at
        self.dumps.append(self.backups.make(why, self.database, check=False, at=at, automatic=True)["name"])

    # the whole run ----------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        # Another run may have activated another release while this one waited for the lock.
        self.before = before = self.store.current
        target = self.select_release()
        self.version = target["version"]
        self.load_infrastructure(target)
        stack = self.rollout.stack
        with stack.phase("database"):
            prepare = self.check_schema(target, final=self.check)
        with stack.phase("infrastructure"):
            self.ensure_infrastructure()
        if self.comparison.state == "unread" and not self.check:
            try:
                prepare = self.check_schema(target, final=True)
            except BaseException as error:
                # The database was started only to read its revision.
                raise Failed(joined(error_message(error, EXPECTED), stack.remove_created())) from error
        self.revisions_before = None if self.comparison.state in ("unread", "unversioned") else self.comparison.at
        if self.comparison.state == "new" and (recorded := self.store.schema.get("heads")):
            self.warnings.append(
                f"The database has no migrations, but revision {listed(recorded)} is recorded for it: it is another database, or its "
                "volume was lost. make backups lists what can be restored"
            )
        try:
            changed = self.rollout.run(target, lambda: self.migrate(target), prepare)
        except BaseException as error:
            problem = str(error) if isinstance(error, Failed) and self.rollout.aborted else self.recover(target, error)
            raise Failed(joined(problem, self.schema_change(target), self.remove_started(target))) from error
        new = target["version"] != before or bool(self.store.pending)
        if not self.check:
            self.record_release(target, new)
        if self.options["manifest"]:
            self.remove_undeclared(target)
            changed = changed or bool(self.rollout.stack.actions)
        retired: list[str] = []
        if new and not self.check:
            retired = retire(self.engine, self.store, self.options["retain"], {target["version"], target.get("previous", ""), before})
            retired += [f"backup {name}" for name in self.backups.prune(self.options["retain"], automatic=True)]
            self.store.forget_logs()
            needed = [manifest.get("secrets_generation", "") for manifest in self.store.releases()]
            retired += [f"secret generation {number}" for number in Secrets(self.store.root / "secrets").prune(needed)]
        return {"changed": changed or new, "release": target["version"], "before": before, "retired": retired}

    def recover(self, target: dict[str, Any], error: BaseException) -> str:
        """Abort the rollout after an unexpected error, so that the previous release stays active; returns the message."""
        problem = error_message(error, EXPECTED)
        previous = self.store.manifest(self.before) if self.before != target["version"] else {}
        if not self.rollout.aborted:
            try:
                return self.rollout.abort(target, previous, problem)
            except Exception as second:
                problem = f"{problem}\n{error_message(second, EXPECTED)}"
        left = ", ".join(spec["name"] for spec in target["containers"] if self.engine.find(f"/containers/{spec['name']}/json"))
        return (
            f"Release {target['version']} failed, and the previous release could not be restored:\n{problem}\n"
            f"{f'Not removed: {left}. ' if left else ''}"
            f"The unfinished operation is recorded. To continue: {self.resume_command}. To roll back: make rollback"
        )

    def remove_started(self, target: dict[str, Any]) -> str:
        """Remove what this run started for a failed release where no other release is active; returns a message about the rest."""
        before = self.store.manifest(self.before)
        if self.check or not self.before or self.store.pending or not isinstance(self.rollout, Rollout) or self.rollout.is_running(before):
            return ""
        if target["version"] != self.before:
            return self.rollout.stack.remove_created()
        left = sorted(self.rollout.stack.created)
        return f"Started by this run and left running: {', '.join(left)}. To stop the stack and keep its data: make down" if left else ""

    def schema_change(self, target: dict[str, Any]) -> str:
        """The message where a release failed after it had changed the database's revision; empty where it had not."""
        try:
            at = None if self.check or self.revisions_before is None else self.revision.read(target, required=True)
            if at is None or sorted(at) == sorted(self.revisions_before or []):
                return ""
            active = self.store.manifest(self.before)
            state = compared(self.store, at, active).state if active else "unversioned"
        except Exception:
            return ""  # the message already has the reason of the failure
        message = f"The database was at revision {listed(self.revisions_before or [])} and is now at {listed(at)}"
        if state in ("behind", "new"):
            message += f", behind {self.before}. To migrate it again: make rollback VERSION={self.before}"
        elif state == "breaking":
            message += f", which {self.before} is not compatible with. To roll back: make rollback VERSION={self.before} SCHEMA=restore"
        elif state not in ("same", "ahead", "unversioned"):
            message += f", which {self.before} does not have"
        dump = self.dumps[0] if self.dumps else ""
        return joined(message, f"Its previous content is in the backup {dump} (make restore BACKUP={dump})" if dump else "")

    def record_release(self, target: dict[str, Any], new: bool) -> None:
        """Record that the release is active."""
        try:
            if new or self.store.manifest(target["version"]) != target:
                self.store.record(target)
            self.store.end()
            if self.options["manifest"]:
                self.store.record_infrastructure(edge=self.options["edge_service"])
        except BaseException as error:
            raise Failed(
                f"Release {target['version']} is active, but could not be recorded in {self.store.root}: "
                f"{error_message(error, (*EXPECTED, OSError))}\nCorrect that, then continue: {self.resume_command}"
            ) from error

    def drain(self, outcome: dict[str, Any]) -> None:
        """Drain and remove old containers: at once, or, those of the previous release, after the standby time."""
        if self.options.get("swarm"):
            return  # the engine drains
        drain = Drain(self.engine, self.store, self.lock)
        busy = drain.busy()
        if not outcome["changed"] and busy:
            return
        # Also of services that this release does not have any more; one that moved to the infrastructure stays.
        known = [self.options, *((manifest.get("around") or {}) for manifest in self.store.releases())]
        services = sorted({service for one in known for service in one.get("services") or []})
        old = drain.leftovers(self.options["labels"], services, outcome["release"])
        old = [name for name in old if name not in self.store.infrastructure["containers"]]
        if busy:
            # The running drain has already stopped these; a second signal would cut their requests.
            old = [name for name in old if "-draining-" not in name]
        # What works without being asked (workers, the scheduler) must not do so beside the new release's, and may take long to end.
        unasked = {service for one in known for service in one.get("background") or []}
        background = [name for name in old if self._service_of(name) in unasked]
        # The way out of a job that still runs.
        relays = [name for name in old if background and self._service_of(name).startswith("egress-")]
        others = [actual["Id"] for name in old if name not in relays and (actual := self.engine.find(f"/containers/{name}/json"))]
        old = [name for name in old if name not in background and name not in relays]
        for name in background:
            if self.rollout.record_change(f"drain and remove {name} (in the background)"):
                drain.start([name], 0, 0)
        if relays and self.rollout.record_change(f"remove {', '.join(relays)} after the others (in the background)"):
            drain.start(relays, 0, 0, others)
        seconds = self.options["standby_seconds"]
        standby = [name for name in old if outcome["before"] and name.endswith(f"-{outcome['before']}")] if seconds else []
        rest = [name for name in old if name not in standby]
        if (
            rest
            and self.rollout.record_change(f"drain and remove {', '.join(rest)}")
            and not drain.start(rest, SETTLE, self.options["drain_wait"])
        ):
            self.rollout.stack.actions[-1] += " (finishing in the background)"
        if standby and outcome["before"] != outcome["release"]:
            action = f"keep {', '.join(standby)} on standby for {seconds:.0f} s"
            if self.rollout.record_change(action):
                drain.start(standby, seconds, 0)
        outcome["changed"] = outcome["changed"] or bool(rest) or bool(background)

    def _service_of(self, name: str) -> str:
        actual = self.engine.find(f"/containers/{name}/json") or {}
        return str(((actual.get("Config") or {}).get("Labels") or {}).get("berth.service", ""))

    def remove_undeclared(self, target: dict[str, Any]) -> None:
        """Remove the containers of services that are not declared any more, after the traffic switch; their volumes stay."""
        declared = {spec["name"] for spec in (target.get("services") or {}).get("containers") or []}
        recorded = self.store.infrastructure["containers"]
        gone = [name for name, spec in recorded.items() if DECLARED in (spec.get("labels") or {}) and name not in declared]
        self.rollout.stack.absent("containers", gone)
        if gone and not self.check:
            self.store.record_infrastructure(containers=dict.fromkeys(gone))

    def finish(self, outcome: str, what: str, to: str = "") -> None:
        """Release the lock and write the outcome into the audit log."""
        if not self.check:
            requested = self.options["manifest"]["image_version"] if self.options["manifest"] else self.options["release"]
            text = "; ".join(part for part in (self.options.get("what"), what) if part)
            self.lock.finish(self.options["verb"], outcome, text, self.before, to or self.version or requested)
