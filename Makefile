# A list of targets. The scripts in deploy/scripts do the work.
.DEFAULT_GOAL := help
.PHONY: help run test check fmt lint bench chaos compose-test fuzz sqlx up down

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build and start the whole cluster on this machine (YES=1 answers every question with yes)
	@deploy/scripts/run.sh

test: ## run all tests; installs what they need
	@deploy/scripts/test.sh

check: lint test ## all checks that a change has to pass

fmt: ## format the source
	@deploy/scripts/fmt.sh

lint: ## check formatting, clippy, the contract and advisories; changes no file
	@deploy/scripts/lint.sh

bench: ## measure the cost of Backlot as ratios to baselines
	@deploy/scripts/bench.sh

chaos: ## inject faults while turns run, and check the documented guarantees (FULL=1, PLANTED=1, SEED=n)
	@deploy/scripts/chaos.sh

compose-test: ## test the compose files with Docker: quickstart, compiled page, one killed process, TLS (BACKLOT_IMAGE=name)
	@deploy/scripts/compose.sh

fuzz: ## read 200,000 changed archives, paths and page tokens each, send 20,000 requests generated from the OpenAPI document, and check the answers (CASES=n, SEED=n)
	@deploy/scripts/fuzz.sh

sqlx: ## regenerate the .sqlx folders after a change of SQL or of a migration
	@deploy/scripts/sqlx.sh

up: ## build the image and start all roles with docker compose
	@docker compose up --build --detach --wait

down: ## stop them; the volumes are kept
	@docker compose down
