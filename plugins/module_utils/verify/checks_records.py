"""Checks of releases, and what earlier runs left. What a check is: verify/facts.py."""

from __future__ import annotations

from typing import Any

from .facts import APPLICATION, Evidence, Facts, NotApplicable, NotVerified, below, check, measured, require


@check("stack")
def restart_keeps(f: Facts) -> Evidence:
    """A restart of every container in the middle of the end-to-end check, in this run or in the last one of this version. Passes when
    session, task and the rows of the database survive it, as far as the application has them.
    """
    if "restart" in f.steps:
        seconds = f.step("restart")["figures"]["seconds"]
        keys = [key for key in ("session_kept", "task_kept", "data_kept") if key in f.steps and f.steps[key]["outcome"] != "absent"]
        kept = [f.step(key)["step"] for key in keys]
        return f"all containers restarted in {seconds} s: {'; '.join(kept) or 'there is no data to lose'}", measured(
            seconds, f.budgets["restart_seconds"], "s", "restart"
        )
    try:
        record = f.record("restart")
    except NotVerified as error:
        raise NotVerified(
            "no restart was part of an end-to-end check of this version: make verify ARGS='-e verify_restart=true' restarts everything"
        ) from error
    require(record["ok"], record["evidence"])
    return f"{record['when']}: {record['evidence']}"


@check("stack")
def previous_kept(f: Facts) -> Evidence:
    """The release before the current one. Passes when its images and secrets are still there, and its manifest describes how to run it."""
    found = f.part("releases")
    if len(found["kept"]) < 2 or not found["previous"]:
        raise NotVerified("there was only one release so far: nothing older could be kept")
    release: dict[str, Any] = next((r for r in found["kept"] if r["version"] == found["previous"]), {})
    require(release, f"there is no manifest of {found['previous']}")
    require(release["images_exist"], f"images of {release['version']} are gone")
    require(release["replayable"], f"the manifest of {release['version']} does not describe how to run it: an older Berth wrote it")
    require(
        release["secrets"] in f.part("secrets")["generations"], f"secrets generation {release['secrets']} of {release['version']} is gone"
    )
    ready = sum(r["images_exist"] and r["replayable"] for r in found["kept"]) - 1
    return f"{release['version']}: manifest, both images, secrets generation {release['secrets']}; {ready} releases available for rollback"


@check("stack")
def manifests(f: Facts) -> Evidence:
    """The manifests of releases. Passes when the current one names images by digest, configuration and secrets generation, and the edge's
    file is there.
    """
    found = f.part("releases")
    release = f.release()
    require(release["configuration"], f"the manifest of {release['version']} has no configuration")
    require(
        all(i.startswith("sha256:") for i in release["images"].values()) and len(release["images"]) >= 2,
        f"images are named {release['images']}",
    )
    require(release["secrets"] in f.part("secrets")["generations"], f"secrets generation {release['secrets']} is gone")
    require(found["configuration"], "the edge's configuration is not kept")
    return (
        f"{len(found['kept'])} manifests, {len(found['backups'])} backups; {release['version']}: images by digest, configuration, "
        f"secrets generation {release['secrets']}"
    )


@check("stack")
def audit(f: Facts) -> Evidence:
    """The deployment audit log of the stack. Passes when it records how the current release was deployed, by whom, and no
    deployment is unfinished.
    """
    found = f.part("releases")
    pending = found["pending"]
    require(not pending, f"{pending.get('verb')} to {pending.get('to')} did not come to its end; the next make deploy takes it up")
    ended = [line for line in found["audit"] if line["outcome"] == "ok"]
    done = [line for line in ended if line["to"] == found["current"]]
    require(done, f"it has no entry of the deployment of {found['current'] or 'what runs'}")
    released = [line for line in done if line["verb"] in ("deploy", "up", "rotate", "rollback", "scale")] or done
    line = "{when}: {who}, {verb}, {seconds} s".format(**released[-1])
    back = [line for line in ended if line["verb"] == "rollback"]
    return line + ("; last rollback {when} to {to}, {seconds} s".format(**back[-1]) if back else "; no rollback so far")


@check("record")
def stress(f: Facts, figure: str) -> Evidence:
    """The last `make stress` of the version that runs: {}. Passes when the figure is within its budget."""
    record = f.record("stress")
    found = record["figures"].get(figure)
    if found is None:
        raise NotVerified(f"the stress run of {record['when']} did not measure {figure}")
    return below(f"{record['when']}: {found['text']}", found["value"], found["budget"], found["unit"], f"stress {figure}")


@check("record")
def vulnerabilities(f: Facts) -> Evidence:
    """What `make check-images` found in the images of the version that runs: secrets, outstanding updates of Debian, advisories of
    JavaScript. Passes when each of these scans had its data and none fails."""
    found = (f.source or {}).get("image_checks") or {}
    if not found:
        raise NotVerified("no scan of the images was recorded: make check-images scans them")
    require("error" not in found, f"the record of the scan cannot be read: {found.get('error')}")
    version = f.release()["image_version"]
    if found.get("version") != version:
        raise NotVerified(f"the last scan was of {found.get('version')}, and images of {version} run: make check-images scans them")
    lines = []
    for report in found["images"]:
        scans = {entry["id"]: entry for entry in report["criteria"] if entry["id"] in ("secrets", "debian", "javascript")}
        for name, entry in scans.items():
            require(entry["status"] != "fail", f"{report['service']}: {name}: {entry['evidence']}")
            if entry["status"] not in ("pass", "warning"):
                raise NotVerified(f"{report['service']}: {name}: {entry['evidence']}")
        if not scans:
            raise NotVerified(f"{report['service']} was not scanned")
        warned = "; ".join(entry["evidence"] for entry in scans.values() if entry["status"] == "warning")
        lines.append(f"{report['service']} {', '.join(scans)}" + (f" (warning: {warned})" if warned else ""))
    return "; ".join(lines)


@check("stack")
def pushed(f: Facts) -> Evidence:
    """The images' digests in a registry. Passes when backend and frontend have one; without a registry images reach hosts as archives."""
    if not f.settings.get("registry"):
        raise NotApplicable("no registry is set: images are built on the host or carried there as archives")
    bad = [service for service in APPLICATION if not f.image(service)["digests"]]
    require(not bad, f"not pushed: {', '.join(bad)}")
    return ", ".join(f.image(service)["digests"][0] for service in APPLICATION)


@check("record")
def advice(f: Facts, task: str) -> Evidence:
    """What `make advise` left for {}. Passes when Docker's AI agent answered, and its answer is kept with its outcome."""
    found = (f.source or {}).get("advice") or {}
    if not found:
        raise NotVerified(
            "no advice was recorded (reports/latest/advice.json): make advise asks Docker's AI agent where Docker Desktop has it"
        )
    require("error" not in found, f"the record of the advice cannot be read: {found.get('error')}")
    entry: dict[str, Any] = next((e for e in found.get("tasks", []) if e.get("task") == task), {})
    require(entry, f"the advice of {found.get('when', 'the last run')} has no part {task}")
    if entry.get("source") != "docker-ai":
        raise NotVerified(entry.get("reason") or "Docker's AI agent is not installed here (docker ai); analysers answered in its place")
    require(entry.get("outcome"), "the answer is kept without its outcome")
    return f"{entry['outcome']}"
