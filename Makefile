# Names only: what a target does is in deploy/scripts.
.DEFAULT_GOAL := help
.PHONY: help run test check fmt lint bench chaos compose-test fuzz sqlx up down

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build, and start the whole cluster on this machine (YES=1 asks nothing)
	@deploy/scripts/run.sh

test: ## run every test; installs what the tests need
	@deploy/scripts/test.sh

check: lint test ## what a change has to pass

fmt: ## format the source
	@cargo fmt --all

lint: ## formatting, clippy, the contract; changes nothing
	@deploy/scripts/lint.sh

bench: ## measure against the floors
	@deploy/scripts/bench.sh

chaos: ## break everything while turns run, and check that what is promised holds (FULL=1, PLANTED=1, SEED=n)
	@deploy/scripts/chaos.sh

compose-test: ## the compose file on this machine's Docker engine: start, quickstart, one kill (BACKLOT_IMAGE=name)
	@deploy/scripts/compose.sh

fuzz: ## send 20,000 requests that are made from the OpenAPI document; no 5xx, nothing undocumented (CASES=n, SEED=n)
	@deploy/scripts/fuzz.sh

sqlx: ## write the .sqlx folders anew, after a change of SQL or of a migration
	@deploy/scripts/sqlx.sh

up: ## build the image and start the five roles with docker compose
	@docker compose up --build --detach --wait

down: ## stop them; the volumes stay
	@docker compose down
