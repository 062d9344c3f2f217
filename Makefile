# Everything a contributor types. It needs Go and apt, nothing else:
# `make deps` installs what is missing, and costs nothing when nothing is.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
TOOL    := $(GO) tool -modfile=.ci/tools.mod

# Property tests start from this seed. It is fresh on every run and printed, so
# that a failure can be had again: make test SEED=…
ifndef SEED
SEED     := $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
endif
# How many inputs each fuzz target gets.
FUZZTIME ?= 1000x
# What a busy machine would make fail: how often a live database can be had.
ALONE    := -e /integration/zedwriter$$ -e /integration/line$$

.PHONY: all demo test vet fuzz fault lint build proto bench nightly deps tools
all: build

## build: the static binary bin/helix-ckpt
build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.release=$(VERSION)' -o bin/helix-ckpt ./cmd/helix-ckpt

## deps: the Debian packages that are missing
deps:
	@.ci/deps

## demo: a desktop is checkpointed, destroyed and brought back twice elsewhere
demo: deps build
	@# the flags of build, so that nothing is compiled twice
	CGO_ENABLED=0 GOFLAGS="$$GOFLAGS -trimpath" $(GO) run ./integration/demo

## test: vet, a short fuzzing of every parser, then all tests with the race detector
test: deps build vet fuzz
	@echo "property tests start from seed $(SEED); again with: make test SEED=$(SEED)"
	RAPID_SEED=$(SEED) HELIX_CKPT_TEST_SEED=$(SEED) $(GO) test -race -timeout 15m $$($(GO) list ./... | grep -v $(ALONE))
	@echo "these have the machine to themselves: they write as fast as Zed does"
	HELIX_CKPT_TEST_SEED=$(SEED) $(GO) test -race -timeout 20m -p 1 -v ./integration/zedwriter ./integration/line

vet:
	$(GO) vet ./...

fuzz:
	@.ci/fuzz $(FUZZTIME)

## fault: kill -9, failing system calls, full disks, flipped bits, power cuts, at length
fault: deps
	HELIX_CKPT_TEST_SEED=$(SEED) $(GO) test -timeout 120m -v ./integration/fault \
		-fault-kills 1000 -fault-cuts 200 -fault-points 0 -fault-flips 2000 -fault-space 10

## lint: the linters, the format, the proto, and that generated code is up to date
lint:
	@.ci/lint

## proto: generates the Go code of the wire
proto:
	$(TOOL) buf generate

# Flags of integration/bench: make bench BENCH="-sizes 10,110,1000 -readme README.md"
BENCH ?=

## bench: side by side with tar, rsync, restic and others, then every benchmark, into bench-out/
bench: deps build
	@.ci/bench $(BENCH)

## nightly: longer property, fault and fuzz runs
nightly: deps build vet
	@echo "property tests start from seed $(SEED)"
	RAPID_SEED=$(SEED) RAPID_CHECKS=$${RAPID_CHECKS:-2000} HELIX_CKPT_TEST_SEED=$(SEED) HELIX_CKPT_NIGHTLY=1 \
		$(GO) test -race -timeout 120m $$($(GO) list ./... | grep -v $(ALONE))
	HELIX_CKPT_TEST_SEED=$(SEED) $(GO) test -race -v ./integration/zedwriter
	HELIX_CKPT_TEST_SEED=$(SEED) $(GO) test -race -timeout 120m -v ./integration/line -line-for 5m -line-kills 300
	@$(MAKE) --no-print-directory fault SEED=$(SEED)
	@.ci/fuzz 50000x

## tools: builds the tools of .ci/tools.mod once (minutes when cold, then cached)
tools:
	@.ci/tools
