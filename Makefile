# Thin: it makes the virtual environment and calls the playbook of the same name. `make help` lists the words.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv

# Where the user is: relative paths of the command line start there. make -C leaves it, which sets w; but not with -s or
# --no-print-directory, where only the command line of make itself has it.
quiet := $(findstring s,$(firstword -$(MAKEFLAGS)))$(findstring no-print-directory,$(MAKEFLAGS))
left := $(or $(findstring w,$(filter-out --%,$(firstword -$(MAKEFLAGS)))),$(if $(quiet),$(shell tr '\0' '\n' </proc/$$PPID/cmdline 2>/dev/null | grep -m 1 -oE '^(-[A-Za-z]*C|--directory)')))
export BERTH_CALLED_FROM := $(if $(left),$(value PWD),$(CURDIR))

# What make's own command line has goes on to the programs as it was written: $ and quotes, too. .env is read by those programs (bin/call,
# and Ansible by plugins/vars). Options of one call (VERSION, ID, ...) become BERTH_<option> here and nowhere else: a CI job's VERSION or ID
# must not pick a release. A name that no command takes ends the call before anything runs.
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
# Every command: INVENTORY=file LIMIT=hosts ARGS='--check --diff' REASON=text, and settings (docs/environment.md)

CALL := $(VENV)/bin/python bin/call
COLLECTIONS := .ansible/collections
VERBS := up build deploy rollback scale maintenance releases backup backups restore verify stress check-images push pull save load status logs secrets rotate audit unlock down destroy
VERBS += compose advise config

.PHONY: help setup setup-test lint test test-all unit mutate bench apps live molecule rig rig-destroy sources shell $(VERBS)

help: ## List the words
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@sed -n 's/^# Every command: /  Every command takes: /p' $(MAKEFILE_LIST)
	@echo "  Settings, in order of precedence: make up STACK_NAME=name, the shell's environment, .env (see .env.example)"

up: setup ## Build, deploy and verify; installs what is missing, run again it changes nothing (VERSION=name for the build)
build: setup ## Build the images of the sources as they are (VERSION=name for the build); prints tag, digest and size
compose: setup ## Get ready for docker compose up: compose.yaml, images, secrets, the database's roles
deploy: setup ## Release the sources' version, or VERSION=; SCHEMA=downgrade, restore or accept
rollback: setup ## Back to the release before, or to VERSION=: images, configuration, secrets, routes; SCHEMA=downgrade, restore or accept
maintenance: setup ## The edge shows a page instead: ON=true, ON=false
scale: setup ## More tasks of a Swarm's services, or fewer: REPLICAS=4 SERVICE=backend
releases: setup ## What can be gone back to (FORMAT=json for machines)
backup: setup ## Database, manifests, routes, encrypted secrets; checked by restoring it beside (WHY=word for its name)
backups: setup ## What can be restored (FORMAT=json for machines)
restore: setup ## Put a backup back: BACKUP=name CONFIRM=stack, the newest by default; INTO=database puts it beside
verify: setup ## Check the acceptance criteria against what runs: SECTION= ID= (report: reports/latest)
stress: setup ## Load with faults in the middle of it: CONFIRM=stack STRESS_SECONDS=600 STRESS_RATE=40
check-images: setup ## Check what is in the images, or in one: SERVICE=backend; installs the scanners on first use
advise: setup ## How the images could be better; APPLY=true (or A1,A2) does what a variable can, and measures again
push: setup ## Push the images to REGISTRY=host/path, their digests kept (VERSION=name for the build)
pull: setup ## Pull by the digests that push kept
save: setup ## Write the images to an archive, FILE= (VERSION=name for the build)
load: setup ## Load the images of an archive, FILE=
config: setup ## Show the settings in effect and where each comes from, secrets masked: CHANGED=true for what is not the default (FORMAT=json for machines)
status: setup ## Show what runs (FORMAT=json for machines)
logs: setup ## Show a service's last log lines: make logs SERVICE=backend TAIL=50
secrets: setup ## List the secrets: since when, used by whom, from where; no values (FORMAT=json for machines)
rotate: setup ## A new value for a generated secret, and a release with it: make rotate SECRET=backend_password
audit: setup ## Who did what, when, and what became of it (FORMAT=json for machines)
unlock: setup ## Take the lock away from a run that is known to be dead
down: setup ## Stop and remove what runs; data, secrets and images stay
destroy: setup ## Remove everything of the stack, data too: make destroy CONFIRM=berth

# Verbs that answer a question print the answer and nothing else.
status logs releases audit unlock backups secrets config: export BERTH_OUTPUT = plain

$(VERBS):
	@$(CALL) playbook playbooks/$@.yml

shell: ## A debug shell beside a running container: make shell SERVICE=backend COMMAND='ls app'
	@$(CALL) shell

setup: $(VENV)/.installed $(COLLECTIONS)/.installed ## Make the virtual environment with Ansible and its collections

setup-test: $(VENV)/.installed-test $(VENV)-apps/.installed $(VENV)-tls/.installed $(COLLECTIONS)/.installed
	@bin/install-test-programs

# A virtual environment that was not finished has no pip: python3-venv was missing.
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

# The reference application's own environment; its packages and Ansible's must not meet.
APPS := apps/backend/requirements-dev.txt apps/mock_llm/requirements-dev.txt
$(VENV)-apps/.installed: $(APPS) apps/backend/requirements.txt apps/mock_llm/requirements.txt
	@test -x $(VENV)-apps/bin/python || python3.11 -m venv $(VENV)-apps
	@echo "setup: installing the reference application into $(VENV)-apps"
	@$(VENV)-apps/bin/pip install --quiet --disable-pip-version-check $(addprefix -r ,$(APPS))
	@touch $@

$(COLLECTIONS)/.installed: requirements.yml bin/install-collections | $(VENV)/.installed
	@$(VENV)/bin/python bin/install-collections $(COLLECTIONS)
	@touch $@

test: setup-test ## Lint, plugins, the application alone, two Molecule scenarios, the application behind its edge in a browser
	@bin/test

test-all: setup-test ## All that test does, every Molecule scenario and six pairs of outside sources: for a night
	@bin/test long

mutate: setup-test ## Prove on a running stack that the acceptance criteria can fail; writes the tables of docs/acceptance.md; some: M=names
	@$(CALL) program $(VENV)/bin/python bin/mutate $$M

bench: setup-test ## Measure beside peers, or one part: make bench B=converge (tables and pictures: docs/performance.md)
	@bin/install-test-programs wrk
	@$(CALL) program $(VENV)/bin/python tests/bench/bench.py $$B

lint: setup-test ## ansible-lint (production profile), yamllint, ruff
	@bin/test lint

unit: setup-test ## pytest over plugins and roles' tables
	@bin/test unit

apps: setup-test ## The reference application's own tests
	@bin/test apps

live: setup-test ## A stack of its own: load, faults, OpenAPI, the interface in a browser
	@bin/test live

molecule: setup-test ## One Molecule scenario: make molecule S=default
	@bin/test molecule "$${S:-default}"

rig: setup ## Hosts on this machine, with engines and sshd of their own: make rig RIG_HOSTS=3; make up INVENTORY=.local/rig/hosts.yml
	@$(CALL) playbook molecule/shared/rig/create.yml

rig-destroy: setup ## Remove them
	@$(CALL) playbook molecule/shared/rig/destroy.yml

sources: setup-test ## Build and serve six pairs of outside sources, or one: make sources S=board
	@BERTH_ENV_FILE= $(VENV)/bin/pytest -q -s tests/sources $${S:+-k "$$S"}
