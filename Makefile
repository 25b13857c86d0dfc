# A thin wrapper: creates the virtual environment and runs the playbook of the same name. `make help` lists the commands.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv

# The user's directory, to which relative paths on the command line refer. make -C leaves it and sets w; with -s or --no-print-directory
# it does not, and only make's own command line shows it.
quiet := $(findstring s,$(firstword -$(MAKEFLAGS)))$(findstring no-print-directory,$(MAKEFLAGS))
left := $(or $(findstring w,$(filter-out --%,$(firstword -$(MAKEFLAGS)))),$(if $(quiet),$(shell tr '\0' '\n' </proc/$$PPID/cmdline 2>/dev/null | grep -m 1 -oE '^(-[A-Za-z]*C|--directory)')))
export BERTH_CALLED_FROM := $(if $(left),$(value PWD),$(CURDIR))

# Variables of make's command line are passed to the programs unchanged, including $ and quotes. The programs read .env (bin/call, and Ansible by
# plugins/vars). Options (VERSION, ID, ...) become BERTH_<option> only here: a CI job's own VERSION or ID must not select a release. An unknown
# name fails before anything runs.
given := $(strip $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name))))
ifneq ($(given),)
empty := $(foreach name,$(given),$(if $(value $(name)),,$(name)))
quoted = '$(subst ','\'',$1)'
options_once := $(shell $(if $(realpath $(VENV)/bin/python),$(VENV)/bin/python,$(call quoted,$(PYTHON))) bin/call options $(call quoted,$(MAKECMDGOALS)) $(call quoted,$(given)) $(call quoted,$(value INVENTORY)) $(call quoted,$(BERTH_CALLED_FROM)) $(call quoted,$(empty)))
ifneq ($(filter ok,$(firstword $(options_once))),ok)
$(error $(or $(options_once),bin/call does not run: $(PYTHON) must be Python 3.9 or newer))
endif
$(foreach name,$(filter-out SHELL MAKE%,$(given)),$(eval override export $(name) := $$(value $(name))))
$(foreach name,$(wordlist 2,99,$(options_once)),$(eval export BERTH_$(name) := $$(value $(name))))
endif
# Every command: INVENTORY=file LIMIT=hosts APP=file ARGS='--check --diff' REASON=text, and settings (docs/environment.md)

CALL := $(VENV)/bin/python bin/call
COLLECTIONS := .ansible/collections
COMMANDS := init up build deploy rollback scale maintenance releases backup backups backup-check restore verify stress check-images push pull save load status logs secrets rotate audit unlock down destroy
COMMANDS += compose advise config

.PHONY: help setup setup-test lint test test-all unit mutate bench apps live molecule rig rig-destroy sources shell $(COMMANDS)

help: ## List the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@sed -n 's/^# Every command: /  Every command takes: /p' $(MAKEFILE_LIST)
	@echo "  Settings, in order of precedence: make up STACK_NAME=name, the shell's environment, .env (see .env.example)"

init: setup ## Read the sources of your application and write app.yml: make init BACKEND_SOURCE=path FRONTEND_SOURCE=path (CONFIRM=app.yml replaces it)
up: setup ## Build, deploy and verify; installs prerequisites; idempotent (VERSION=name of the build)
build: setup ## Build images of the current sources (VERSION=name of the build); prints tag, digest and size
compose: setup ## Prepare docker compose up: compose.yaml, images, secrets, database roles
deploy: setup ## Deploy the current version, or VERSION=; SCHEMA=downgrade, restore or accept
rollback: setup ## Roll back to the previous release, or to VERSION=: images, configuration, secrets, routes; SCHEMA=downgrade, restore or accept
maintenance: setup ## Enable or disable the maintenance page: ON=true, ON=false
scale: setup ## Scale services of a Swarm: REPLICAS=4 SERVICE=backend
releases: setup ## List releases available for rollback (FORMAT=json)
backup: setup ## Back up database, manifests, routes and encrypted secrets; verified by restoring (WHY=label in its name); into repositories: TYPE=full
backups: setup ## List backups (FORMAT=json)
backup-check: setup ## Restore the newest backup in repositories beside the database and compare
restore: setup ## Restore a backup: BACKUP=name CONFIRM=stack, the newest by default, or AT=2026-11-27T14:03Z; INTO=database restores into a new database
verify: setup ## Verify acceptance criteria of the running stack: SECTION= ID= (report: reports/latest)
stress: setup ## Run a load test with fault injection: CONFIRM=stack STRESS_SECONDS=600 STRESS_RATE=40
check-images: setup ## Scan images, or one: SERVICE=backend; installs the scanners on first use
advise: setup ## Recommend image improvements; APPLY=true (or A1,A2) applies them and measures again
push: setup ## Push images to REGISTRY=host/path and record their digests (VERSION=name of the build)
pull: setup ## Pull images by the digests that push recorded
save: setup ## Save images to an archive, FILE= (VERSION=name of the build)
load: setup ## Load images from an archive, FILE=
config: setup ## Show effective settings and their origin, secrets masked: CHANGED=true for non-defaults (FORMAT=json)
status: setup ## Show the status of the stack (FORMAT=json)
logs: setup ## Show the last log lines of a service: make logs SERVICE=backend TAIL=50
secrets: setup ## List secrets with age, users and source; no values (FORMAT=json)
rotate: setup ## Rotate a generated secret and deploy a release with it: make rotate SECRET=backend_password
audit: setup ## Show the deployment audit log: user, command, time, outcome (FORMAT=json)
unlock: setup ## Break the deployment lock of a run that is known to be dead
down: setup ## Stop and remove containers and networks; keeps data, secrets and images
destroy: setup ## Remove everything of the stack including data: make destroy CONFIRM=berth

# Queries print their result only.
init status logs releases audit unlock backups secrets config: export BERTH_OUTPUT = plain

$(COMMANDS):
	@$(CALL) playbook playbooks/$@.yml

shell: ## Open a debug shell in a container's namespaces: make shell SERVICE=backend COMMAND='ls app'
	@$(CALL) shell

setup: $(VENV)/.installed $(COLLECTIONS)/.installed ## Create the virtual environment with Ansible and its collections

setup-test: $(VENV)/.installed-test $(VENV)-apps/.installed $(VENV)-tls/.installed $(VENV)-s3/.installed $(COLLECTIONS)/.installed
	@bin/install-test-programs

# An incomplete virtual environment has no pip: python3-venv was missing.
$(VENV)/.installed: requirements.txt
	@test -x $(VENV)/bin/pip || { $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "setup: %s is Python %d.%d; Ansible needs 3.11 or newer: make setup PYTHON=python3.11" % ((sys.executable,) + sys.version_info[:2]))' && $(PYTHON) -m venv $(VENV); }
	@echo "setup: installing Ansible into $(VENV)"
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements/test.txt
	@echo "setup: installing the test tools into $(VENV)"
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements/test.txt
	@touch $@

$(VENV)-tls/.installed: requirements/tls.txt
	@test -x $(VENV)-tls/bin/python || $(PYTHON) -m venv $(VENV)-tls
	@echo "setup: installing sslyze into $(VENV)-tls"
	@$(VENV)-tls/bin/pip install --quiet --disable-pip-version-check -r requirements/tls.txt
	@touch $@

$(VENV)-s3/.installed: requirements/s3.txt
	@test -x $(VENV)-s3/bin/python || python3.11 -m venv $(VENV)-s3
	@echo "setup: installing an S3-compatible server into $(VENV)-s3"
	@$(VENV)-s3/bin/pip install --quiet --disable-pip-version-check -r requirements/s3.txt
	@touch $@

# A separate environment for the reference application, whose packages conflict with Ansible's.
APPS := apps/backend/requirements-dev.txt apps/mock_llm/requirements-dev.txt
$(VENV)-apps/.installed: $(APPS) apps/backend/requirements.txt apps/mock_llm/requirements.txt
	@test -x $(VENV)-apps/bin/python || python3.11 -m venv $(VENV)-apps
	@echo "setup: installing the reference application into $(VENV)-apps"
	@$(VENV)-apps/bin/pip install --quiet --disable-pip-version-check $(addprefix -r ,$(APPS))
	@touch $@

$(COLLECTIONS)/.installed: requirements.yml bin/install-collections | $(VENV)/.installed
	@$(VENV)/bin/python bin/install-collections $(COLLECTIONS)
	@touch $@

test: setup-test ## Run lint, unit tests, application tests, two Molecule scenarios, and the deployed application in a browser
	@bin/test

test-all: setup-test ## Run all of test, every Molecule scenario and the external applications (hours)
	@bin/test long

mutate: setup-test ## Prove on a running stack that acceptance criteria can fail; writes the tables of docs/acceptance.md; some: M=names
	@$(CALL) program $(VENV)/bin/python bin/mutate $$M

bench: setup-test ## Run benchmarks against peers, or one: make bench B=converge (results: docs/performance.md)
	@bin/install-test-programs wrk
	@$(CALL) program $(VENV)/bin/python tests/bench/bench.py $$B

lint: setup-test ## Run ansible-lint (production profile), yamllint, ruff, mypy, ansible-test sanity and the vocabulary test
	@bin/test lint

unit: setup-test ## Run unit tests of plugins and roles
	@bin/test unit

apps: setup-test ## Run the reference application's own tests
	@bin/test apps

live: setup-test ## Test a deployed stack: load, faults, OpenAPI, the UI in a browser
	@bin/test live

molecule: setup-test ## Run one Molecule scenario: make molecule S=default
	@bin/test molecule "$${S:-default}"

rig: setup ## Start test hosts on this machine with their own engine and sshd: make rig RIG_HOSTS=3; make up INVENTORY=.local/rig/hosts.yml
	@$(CALL) playbook molecule/shared/rig/create.yml

rig-destroy: setup ## Remove the test hosts
	@$(CALL) playbook molecule/shared/rig/destroy.yml

sources: setup-test ## Build and serve the external applications, or one: make sources S=board
	@BERTH_ENV_FILE= $(VENV)/bin/pytest -q -s tests/sources $${S:+-k "$$S"}
