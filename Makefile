# Two commands do everything: make run, make test.

PYTHON ?= python3
BIN := .venv/bin
LOCK := local/requirements.txt
INSTALLED := .venv/.installed
AUDIT_LOCK := local/audit-requirements.txt
AUDIT_INSTALLED := .audit/.installed
TEMPLATE_ARCHITECTURE := $(if $(filter arm64 aarch64,$(shell uname -m)),arm64,x86_64)
UPLOT := 1.6.32
AXE := 4.14.1
CONSOLE := functions/get_console/console/vendor
CONSOLE_TESTS := tests/console/vendor
# A process for each core; the tests of a file stay together, since they share servers. The faults go by
# themselves: they bound times, and print a table
PARALLEL := --numprocesses auto --dist loadfile
# KiB: every start of a function loads it, and Lambda takes 256,000 at most
LAYER_LIMIT := 20480
# pyenv finds python3.13 only when told; without pyenv it says nothing
PYENV := PYENV_VERSION=3.13
export PYTHONPATH := .:layers/missions:client
export SAM_CLI_TELEMETRY := 0

.DEFAULT_GOAL := help
.PHONY: help install run demo operate test test-faults test-all test-e2e test-console bench lint format documents costs \
  build audit deploy deploy-check smoke console sam-local lock console-vendor clean

# A name that was mistyped would be ignored, and another stack be meant
GIVEN = $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
only = $(foreach name,$(filter-out PYTHON $(1),$(GIVEN)),$(error There is no '$(name)' for make $@. There are $(1)$(2)))
AS_PARAMETER = . A parameter of the template is given as PARAMETERS="Name=value"

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv from the pinned requirements

$(INSTALLED): $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Missions needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try make PYTHON=python3.13"; exit 1; }
	@if cmp -s $(LOCK) $@; then touch $@; else \
	  echo "Installing into .venv, with $$($(PYTHON) --version): one to three minutes, once" && \
	  $(PYTHON) -m venv --clear .venv && \
	  $(BIN)/pip install --quiet --disable-pip-version-check --requirement $(LOCK) && \
	  cp $(LOCK) $@; fi

run: $(INSTALLED) ## Run the whole stack on this machine (docs/local.md has its settings, such as PORT and AUTH)
	@$(BIN)/python -m local.run

demo: $(INSTALLED) ## Drive one mission through its life; with MISSIONS=200 RATE=20, a day of that many
	@$(BIN)/python -m local.demo

operate: $(INSTALLED) ## Ask the running stack for its outbox: PAYLOAD='{"action": "count"}', list, redeliver, namespaces
	@$(BIN)/python -m local.operate '$(or $(PAYLOAD),{"action": "count"})'

test: $(INSTALLED) ## Run every test but the long ones
	@$(BIN)/pytest $(PARALLEL) --ignore tests/faults/test_nodes.py --ignore tests/console

test-faults: $(INSTALLED) ## Run thousands of operations under every fault and print a table of results (OPERATIONS)
	@$(BIN)/pytest $(PARALLEL) tests/faults --operations $(or $(OPERATIONS),3000)

test-all: $(INSTALLED) ## Run every test once, the long ones too, with that table (OPERATIONS)
	@$(BIN)/pytest $(PARALLEL) --ignore tests/faults --ignore tests/console
	@$(BIN)/pytest $(PARALLEL) tests/faults --operations $(or $(OPERATIONS),3000)

test-console: $(INSTALLED) ## Test the console in Chromium, which CHROMIUM may name (IMAGES=docs/images: the docs' pictures)
	@$(BIN)/pytest $(PARALLEL) tests/console $(if $(IMAGES),--images $(IMAGES))

test-e2e: $(INSTALLED) ## Run the end-to-end tests against the running stack, or against BASE_URL
	@$(BIN)/pytest tests/e2e --base-url $(or $(BASE_URL),local)

bench: $(INSTALLED) ## Measure against floor, version 1 and specification (QUICK=1 for a first look)
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

lint: $(INSTALLED) ## Check style, types and the templates
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy functions layers/missions/missions client/missions_client local benchmarks tests
	@$(BIN)/sam validate  # transforms; --lint alone passes what cannot be transformed
	@$(BIN)/sam validate --lint
	@$(BIN)/cfn-lint template.yaml events/workflow.yaml

format: $(INSTALLED) ## Format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

documents: $(INSTALLED) ## Make OpenAPI, AsyncAPI, the events' schemas, the synchronous client, and the table of costs
	@$(BIN)/python -m local.documents

costs: $(INSTALLED) ## Show what a month costs: MISSIONS=5000000, SnapStart=None, VERSIONS=10, ... (docs/aws.md)
	@$(BIN)/python -m local.costs $(foreach name,$(filter-out PYTHON,$(GIVEN)),'$(name)=$($(name))')

build: $(INSTALLED) ## Build the functions and the layer for this machine (needs python3.13)
	@$(PYENV) $(BIN)/sam build --parameter-overrides Architecture=$(TEMPLATE_ARCHITECTURE)
	@size=$$(du -sk .aws-sam/build/MissionsLayer | cut -f1); echo "The layer takes $$size KiB of $(LAYER_LIMIT)"; \
	  test $$size -le $(LAYER_LIMIT) || { echo "It is too large: see what layers/missions/requirements.txt brings"; exit 1; }

audit: $(INSTALLED) $(AUDIT_INSTALLED) ## Check the templates and the layer's packages for what is known to be unsafe
	@$(BIN)/python -m local.audit

# An environment of its own, since checkov's pins and SAM's exclude each other
$(AUDIT_INSTALLED): $(AUDIT_LOCK)
	@$(PYTHON) -m venv --clear .audit
	@.audit/bin/pip install --quiet --disable-pip-version-check --requirement $(AUDIT_LOCK)
	@touch $@

deploy-check: $(INSTALLED) ## Ask an AWS account for what ENV=dev or ENV=prod needs; nothing is changed (PARAMETERS)
	$(call only,ENV PARAMETERS,$(AS_PARAMETER))
	@$(BIN)/python -m local.deploy --check $(or $(ENV),dev)

deploy: $(INSTALLED) ## Check, build, show what would change, ask (or YES=1), deploy and try it: ENV=dev or ENV=prod
	$(call only,ENV PARAMETERS YES REPLACE,$(AS_PARAMETER))
	@$(BIN)/python -m local.deploy $(or $(ENV),dev)

smoke: $(INSTALLED) ## Try the running stack, or BASE_URL, with one mission (signed with IAM in AWS, or TOKEN)
	$(call only,BASE_URL TOKEN)
	@$(BIN)/python -m local.smoke $(or $(BASE_URL),local)

console: $(INSTALLED) ## Open the console of ENV=dev or ENV=prod on this machine, with your credentials (PORT, TOKEN)
	$(call only,ENV PORT TOKEN)
	@MISSIONS_TOKEN='$(TOKEN)' $(BIN)/python -m missions_client --stack missions-$(or $(ENV),dev) console --port $(or $(PORT),0)

sam-local: $(INSTALLED) ## Run the functions under sam local, with a container engine such as Docker
	@$(BIN)/python -m local.sam

lock: ## Pin what pyproject.toml and the layer ask for
	@$(PYTHON) -m venv .venv/lock
	@.venv/lock/bin/pip install --quiet uv
	@.venv/lock/bin/uv pip compile --quiet --universal --upgrade --python-version 3.11 --no-header --no-annotate \
	  --group dev layers/missions/requirements.txt --output-file $(LOCK)
	@printf 'checkov\npip-audit\n' | .venv/lock/bin/uv pip compile --quiet --universal --upgrade --python-version 3.11 \
	  --no-header --no-annotate - --output-file $(AUDIT_LOCK)

console-vendor: ## Get the console's libraries again, in the versions that stand above (needs npm, and asks its registry)
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	  npm pack --silent --pack-destination "$$folder" uplot@$(UPLOT) axe-core@$(AXE) > "$$folder/names" && \
	  mkdir "$$folder/uplot" "$$folder/axe" && \
	  tar -xzf "$$folder"/uplot-*.tgz -C "$$folder/uplot" && tar -xzf "$$folder"/axe-core-*.tgz -C "$$folder/axe" && \
	  cd "$$folder" && \
	  install -m 644 uplot/package/dist/uPlot.esm.js uplot/package/dist/uPlot.min.css "$(CURDIR)/$(CONSOLE)" && \
	  install -m 644 uplot/package/LICENSE "$(CURDIR)/$(CONSOLE)/uPlot.LICENSE.txt" && \
	  install -m 644 axe/package/axe.min.js "$(CURDIR)/$(CONSOLE_TESTS)" && \
	  install -m 644 axe/package/LICENSE "$(CURDIR)/$(CONSOLE_TESTS)/axe.LICENSE.txt"

clean: ## Remove what the targets made, .local/ with its missions too
	@rm -rf .venv .audit .local .aws-sam .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis benchmarks/results.* client/build client/*.egg-info
