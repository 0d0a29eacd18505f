# Each target is one command that .ci/run calls too.
.DEFAULT_GOAL := help

GOLANGCI_VERSION := v2.15.0
FUZZTIME := 20s

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Serve examples from a throw-away database
	go run . demo

.PHONY: build
build: ## Build bin/roster
	go build -trimpath -o bin/roster .

.PHONY: generate
generate: ## Generate graph/generated.go from schema.graphqls
	go tool gqlgen generate

.PHONY: test
test: ## Run the tests; those for PostgreSQL and Chromium are skipped where these are missing
	go test ./...

.PHONY: test-race
test-race: ## Run the tests with the race detector, in fewer rounds, and fail where PostgreSQL or Chromium is missing
	@# One package at a time: some stop, kill and overload real servers, and want the machine.
	REQUIRE_POSTGRES=1 REQUIRE_CHROMIUM=1 go test -race -short -shuffle=on -timeout 25m -p 1 ./...

.PHONY: fuzz
# Making a find smaller takes up to a minute if it may, and then all of the time. And
# Go before 1.27 fails now and then when the time is over (golang/go#75804), with this
# line and no failing input.
fuzz: ## Run every fuzz target for FUZZTIME (20s); what it finds is kept in testdata/fuzz
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	for target in $$(grep -ro '^func Fuzz[A-Za-z0-9]*' --include='*_test.go' . | sed 's|/[^/]*:func |:|'); do \
		echo "$$target"; \
		go test -run '^$$' -fuzz "^$${target#*:}$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "$${target%%:*}" > "$$log" 2>&1; \
		status=$$?; cat "$$log"; \
		if [ $$status -ne 0 ] && { grep -q 'Failing input' "$$log" || ! grep -qx '    context deadline exceeded' "$$log"; }; then exit $$status; fi; \
	done

.PHONY: bench
bench: ## Measure against a hand-written server and PostGraphile (Linux, PostgreSQL, npm; a quarter of an hour)
	go run ./bench

.PHONY: golden
golden: ## Write the golden files anew; read the difference before you commit it
	go test ./graph ./rest -update

.PHONY: lint
lint: ## Check the style of the code
	gofmt -l . | (! grep .)
	go vet ./...
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION) run

.PHONY: graphiql
graphiql: ## Build the GraphiQL page (needs Node and npm)
	cd graphiql/web && npm ci && npm run build

.PHONY: graphiql-check
graphiql-check: ## Check that the committed GraphiQL page is what its sources build
	cd graphiql/web && npm run check

.PHONY: vuln
vuln: ## Look for known vulnerabilities (asks the Go vulnerability database)
	go run golang.org/x/vuln/cmd/govulncheck@latest ./...
