# `make` or `make help` lists what there is. Everything runs on Go and make alone;
# the tests and the demo find or install the Postgres that they need.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# The version comes from here, so the go command need not ask git (and fail in a checkout owned by someone else).
FLAGS   := -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)"
TOOL    := nice go tool -modfile=scripts/tools/go.mod
SOURCES := cmd db pkg scripts
REDOCLY := REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true NODE_NO_WARNINGS=1 npx --yes @redocly/cli@2.77.0

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## Show the main job end to end on a private Postgres, then stop
	@CGO_ENABLED=0 go build $(FLAGS) -o bin/ ./scripts/demo
	@exec bin/demo

.PHONY: up
up: build ## The same, staying up; WEBHOOK_URL=https://… also registers that receiver
	@CGO_ENABLED=0 go build $(FLAGS) -o bin/ ./scripts/demo
	@exec bin/demo up

.PHONY: build
build: ## Build bin/api and bin/dispatcher, static
	@test -x bin/api || echo "building; the first time it takes about a minute"
	@CGO_ENABLED=0 go build $(FLAGS) -o bin/ ./cmd/api ./cmd/dispatcher

# A benchmark and no test: targets that are missed do not make it fail.
BENCH := $(if $(RATIO),--ratio $(RATIO)) $(if $(QUICK),--quick) $(if $(JSON),--json) $(if $(EXPLAIN),--explain)

.PHONY: bench
bench: benchbuild ## Measure the ratios (RATIO=R1,W: these alone; QUICK=1: a smoke run; JSON=1; EXPLAIN=1: plans instead)
	@exec bin/bench $(BENCH)

.PHONY: profile
profile: benchbuild ## Run one ratio (R1, or RATIO=…) under the profiler; files in bin/profile
	@bin/bench --ratio $(or $(RATIO),R1) --profile bin/profile $(if $(QUICK),--quick)
	@go tool pprof -top -nodecount=25 bin/profile/cpu.pprof
	@go tool pprof -top -nodecount=25 bin/profile/heap.pprof

.PHONY: benchbuild
benchbuild: build
	@CGO_ENABLED=0 go build $(FLAGS) -o bin/ ./scripts/bench
	@cd scripts/bench/river && CGO_ENABLED=0 go build $(FLAGS) -o ../../../bin/bench-river .

# The race detector needs a C compiler; without one the tests still run.
.PHONY: test
test: ## Run every test, with the race detector (continuous integration runs the same)
	@if [ "$$(go env CGO_ENABLED)" = 1 ]; then go test -race -timeout 15m ./...; \
	else echo "no C compiler found: testing without the race detector"; go test -timeout 15m ./...; fi

.PHONY: lint
lint: ## Check formatting, go.mod, vet, the linters, the import rules and openapi.yaml
	@files="$$($(TOOL) gofumpt -l $(SOURCES))"; test -z "$$files" || { echo "run make fmt; not formatted:"; echo "$$files"; exit 1; }
	@go mod tidy -diff
	@go vet ./...
	@$(TOOL) golangci-lint run
	@go test ./scripts/house
	@if command -v npx >/dev/null; then $(REDOCLY) lint --config scripts/tools/redocly.yaml --format stylish pkg/httpapi/openapi.yaml; \
	else echo "no npx found: openapi.yaml is checked by the tests only"; fi

.PHONY: vuln
vuln: ## Look for known vulnerabilities (asks vuln.go.dev)
	@$(TOOL) govulncheck ./...

.PHONY: fmt
fmt: ## Format all Go files
	@$(TOOL) gofumpt -l -w $(SOURCES)

.PHONY: clean
clean: ## Remove what make build made
	@rm -rf bin
