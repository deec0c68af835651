# SoLoPrint. `make help` lists the targets; docs/hacking.md explains them.

VARIANT  := $(if $(SAN),-san)$(if $(COV),-cov)
BUILD    ?= build$(VARIANT)
# One spelling of the folder: what the compiler notes of headers names its objects by path.
override BUILD := $(patsubst $(CURDIR)/%,%,$(abspath $(BUILD)))
ifeq ($(origin CC),default)
CC       := gcc
endif
PYTHON   ?= python3
PKGS_API := json-c libpq hiredis libcrypto libpcre2-8 liburiparser zlib libsystemd libcurl glib-2.0
PKGS_GW  := json-c libpq libmosquitto libcurl libssl libcrypto libsystemd zlib liburiparser
# Debian gives these no .pc file.
LIBS_GW  := -lwslay -lhttp_parser -lresolv
PKGS_CR  := json-c libpq libcurl libpcre2-8 libcrypto libsystemd zlib expat liburiparser
PKGS_CTL := json-c libpq hiredis libcrypto libcurl zlib expat liburiparser
PKGS_SCAN := json-c libzip expat inih gmime-3.0 libseccomp libcrypto zlib

WARN  := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wcast-qual -Wstrict-prototypes \
         -Wmissing-prototypes -Wformat=2 -Wundef -Werror
HARD  := -fstack-protector-strong -fPIE
OPT   := -O2 -D_FORTIFY_SOURCE=3
LDHARD := -pie -Wl,-z,relro,-z,now
ifdef SAN
OPT   := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
LDHARD += -fsanitize=address,undefined
endif
ifdef FUZZ
OPT   := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
LDHARD += -fsanitize=address,undefined
endif
ifdef COV
OPT   := -O0 --coverage -fprofile-update=atomic
LDHARD += --coverage
endif
CFLAGS += -std=c17 -g -D_GNU_SOURCE $(WARN) $(HARD) $(OPT) -Ilib -I$(BUILD) -I. \
          $(shell pkg-config --cflags json-c libpq hiredis) \
          $(patsubst -I%,-isystem %,$(shell pkg-config --cflags-only-I gmime-3.0))
LDFLAGS += $(LDHARD)

BINS := $(addprefix $(BUILD)/bin/,soloprint-api soloprint-gateway soloprint-courier soloprint-scan soloprintctl)

.PHONY: all
all: $(BINS) docs ## build everything

# --- generated code -----------------------------------------------------------------------------
GEN      := $(BUILD)/gen
API_YAML := $(wildcard schema/api/*.yaml)
CONTRACT := $(addprefix $(GEN)/,errors.c routes.c inputs.c openapi_json.c)
CONTRACT_H := $(addprefix $(GEN)/,errors.h routes.h inputs.h)
SQL_C    := $(GEN)/fcgi_sql.c $(GEN)/gateway_sql.c $(GEN)/courier_sql.c $(GEN)/ctl_sql.c

$(GEN)/contract.stamp: $(addprefix schema/gen/,contract2c.py contract.py contract_pages.py contract_reference.py) $(API_YAML)
	@mkdir -p $(GEN)
	$(PYTHON) schema/gen/contract2c.py --api schema/api --out $(GEN)
	@touch $@ && touch $(CONTRACT) $(CONTRACT_H)
$(CONTRACT) $(CONTRACT_H): $(GEN)/contract.stamp ;

$(GEN)/%_sql.stamp: schema/gen/sql2c.py
	@mkdir -p $(GEN)
	$(PYTHON) schema/gen/sql2c.py --out $(GEN) --name $* $(filter %.sql,$^)
	@touch $@ && touch $(@:.stamp=.c) $(@:.stamp=.h)
$(GEN)/fcgi_sql.stamp: $(wildcard fcgi/*.sql)
$(GEN)/gateway_sql.stamp: $(wildcard gateway/*.sql)
$(GEN)/courier_sql.stamp: $(wildcard courier/*.sql)
$(GEN)/ctl_sql.stamp: $(wildcard deploy/ctl/*.sql)
$(SQL_C): %.c: %.stamp ;
$(SQL_C:.c=.h): %.h: %.stamp ;

$(GEN)/limit_lua.h: lib/net/limit.lua schema/gen/text2c.py
	@mkdir -p $(GEN)
	$(PYTHON) schema/gen/text2c.py --name limit_lua --out $@ $<

$(GEN)/bootstrap_%.h: schema/db/bootstrap/%.sql schema/gen/text2c.py
	@mkdir -p $(GEN)
	$(PYTHON) schema/gen/text2c.py --name bootstrap_$* --out $@ $<

GENERATED := $(GEN)/limit_lua.h $(GEN)/contract.stamp $(GEN)/fcgi_sql.stamp $(GEN)/gateway_sql.stamp \
             $(GEN)/courier_sql.stamp $(GEN)/ctl_sql.stamp $(GEN)/bootstrap_roles.h $(GEN)/bootstrap_database.h
.PHONY: gen
gen: $(GENERATED) ## generate C from the contract and from the .sql files

# --- objects ------------------------------------------------------------------------------------
LIB_C := $(wildcard lib/*/*.c)
API_C := $(wildcard fcgi/*.c)
GW_C  := $(wildcard gateway/*.c)
CR_C  := $(wildcard courier/*.c)
CTL_C := $(wildcard deploy/ctl/*.c)
SCAN_C := $(wildcard scan/*.c)
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

LIB_O := $(call obj,$(LIB_C)) $(BUILD)/obj/gen/errors.o
API_O := $(call obj,$(API_C)) $(patsubst $(GEN)/%.c,$(BUILD)/obj/gen/%.o,$(CONTRACT) $(GEN)/fcgi_sql.c)
GW_O  := $(call obj,$(GW_C)) $(BUILD)/obj/gen/gateway_sql.o
CR_O  := $(call obj,$(CR_C)) $(BUILD)/obj/gen/courier_sql.o
CTL_O := $(call obj,$(CTL_C)) $(BUILD)/obj/gen/ctl_sql.o
SCAN_O := $(call obj,$(SCAN_C))
SCAN_PARTS_O := $(filter-out %/scan/main.o,$(SCAN_O))

$(BUILD)/obj/gen/%.o: $(GEN)/%.c | $(GENERATED)
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/obj/%.o: %.c | $(GENERATED)
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

LIB_A := $(BUILD)/libsoloprint.a
$(LIB_A): $(LIB_O)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/bin/soloprint-api: $(API_O) $(LIB_A)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $(API_O) $(LIB_A) -lfcgi -lcsv -lm $(shell pkg-config --libs $(PKGS_API))
$(BUILD)/bin/soloprint-gateway: $(GW_O) $(LIB_A)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $(GW_O) $(LIB_A) $(shell pkg-config --libs $(PKGS_GW)) $(LIBS_GW) -lm
$(BUILD)/bin/soloprint-scan: $(SCAN_O) $(LIB_A)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $(SCAN_O) $(LIB_A) $(shell pkg-config --libs $(PKGS_SCAN)) -lm
$(BUILD)/bin/soloprint-courier: $(CR_O) $(LIB_A)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $(CR_O) $(LIB_A) $(shell pkg-config --libs $(PKGS_CR))
$(BUILD)/bin/soloprintctl: $(CTL_O) $(LIB_A)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $(CTL_O) $(LIB_A) $(shell pkg-config --libs $(PKGS_CTL))

-include $(shell [ -d $(BUILD)/obj ] && find $(BUILD)/obj $(wildcard $(BUILD)/unit) -name '*.d')

# The viewers come through npm; without it the plain reference page stands in for them.
$(BUILD)/docs.stamp: schema/gen/docs_bundle.sh $(wildcard schema/gen/pages/*) $(GEN)/contract.stamp
	@echo "  DOCS  $(BUILD)/docs"
	@schema/gen/docs_bundle.sh $(GEN)/reference.html $(BUILD)/docs
	@touch $@
.PHONY: docs docs-again
docs: $(BUILD)/docs.stamp ## the documentation's pages
docs-again: ## fetch the documentation's viewers again
	@rm -f $(BUILD)/docs.stamp
	@$(MAKE) -s docs

# --- one machine --------------------------------------------------------------------------------
STACK := deploy/local/stack
.PHONY: up down status install-packages bare
up: ## build and start everything on this machine, with a demo: make up [PORT=9443]
	@deploy/local/install run build
	@$(STACK) up --build $(BUILD) --make "make CC=$(CC) SAN=$(SAN) COV=$(COV)" $(if $(PORT),--port $(PORT)) $(UP)
down: ## stop what `make up` started; its state stays
	@$(STACK) down
status: ## what runs
	@$(STACK) status
install-packages: ## install from Debian what building, running and testing need
	@deploy/local/install run build test
bare: ## both commands of the README on a minimal Debian without network
	@deploy/local/install dev
	@deploy/bare/run

# --- tests --------------------------------------------------------------------------------------
UNIT_C := $(wildcard tests/unit/test_*.c)
UNIT   := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(UNIT_C))
# Unit tests of a program's modules link its objects except main.
UNIT_EXTRA = $(if $(filter test_bambu% test_merge% test_gw%,$*),$(filter-out %/gateway/main.o,$(GW_O))) \
             $(if $(filter test_form%,$*),$(SCAN_PARTS_O)) \
             $(if $(filter test_courier%,$*),$(filter-out %/courier/main.o,$(CR_O)))
$(BUILD)/unit/%: tests/unit/%.c $(LIB_A) $(GENERATED) $(BUILD)/obj/gen/inputs.o
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Itests/unit -MMD -MP -o $@ $< $(UNIT_EXTRA) $(BUILD)/obj/gen/inputs.o $(LIB_A) $(LDFLAGS) \
	    $(shell pkg-config --libs $(sort $(PKGS_API) $(PKGS_GW) $(PKGS_CR) $(PKGS_SCAN))) $(LIBS_GW) -lcsv -lm

$(filter $(addprefix $(BUILD)/unit/test_,bambu% merge% gw%),$(UNIT)): $(GW_O)
$(filter $(BUILD)/unit/test_form%,$(UNIT)): $(SCAN_PARTS_O)
$(filter $(BUILD)/unit/test_courier%,$(UNIT)): $(CR_O)

# Programs that the fault tests drive.
STUBS := $(patsubst tests/faults/stub/%.c,$(BUILD)/stub/%,$(wildcard tests/faults/stub/*.c))
$(BUILD)/stub/%: tests/faults/stub/%.c $(LIB_A)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -o $@ $< $(LIB_A) $(LDFLAGS) $(shell pkg-config --libs $(PKGS_API) expat)
$(BUILD)/stub/sandbox_stub: tests/faults/stub/sandbox_stub.c $(BUILD)/obj/scan/sandbox.o $(LIB_A)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -o $@ $< $(BUILD)/obj/scan/sandbox.o $(LIB_A) $(LDFLAGS) \
	    $(shell pkg-config --libs $(PKGS_SCAN))
# The courier with kinds of jobs of the tests' own.
$(BUILD)/stub/courier_kinds: tests/faults/stub/courier_kinds.c $(CR_O) $(LIB_A)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -o $@ $< $(filter-out %/courier/kinds.o,$(CR_O)) $(LIB_A) $(LDFLAGS) \
	    $(shell pkg-config --libs $(PKGS_CR))
$(BUILD)/stub/camera_probe: tests/faults/stub/camera_probe.c $(GW_O) $(LIB_A)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -o $@ $< $(filter-out %/gateway/main.o,$(GW_O)) $(LIB_A) $(LDFLAGS) \
	    $(shell pkg-config --libs $(PKGS_GW)) $(LIBS_GW) -lm
# A driver without the gateway around it: only what it needs is taken out of the archive.
$(BUILD)/stub/driver_probe: tests/faults/stub/driver_probe.c $(GW_O) $(LIB_A)
	@mkdir -p $(@D)
	@rm -f $@.a && ar rcs $@.a $(filter-out %/gateway/main.o %/gateway/session.o,$(GW_O))
	$(CC) $(CFLAGS) -MMD -MP -o $@ $< $@.a $(LIB_A) $(LDFLAGS) $(shell pkg-config --libs $(PKGS_GW)) $(LIBS_GW) -lm
.PHONY: stubs
stubs: $(STUBS) ## programs that the fault tests drive

# Load generators and microbenchmarks, which link the gateway's objects too.
BENCH_C := $(wildcard tests/bench/*.c)
BENCH   := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(BENCH_C))
$(BUILD)/bench/%: tests/bench/%.c $(LIB_A) $(GW_O) $(GENERATED)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -o $@ $< $(filter-out %/gateway/main.o,$(GW_O)) $(LIB_A) $(LDFLAGS) \
	    $(shell pkg-config --libs $(sort $(PKGS_GW) $(PKGS_CR))) $(LIBS_GW) -lm
.PHONY: bench-tools
bench-tools: $(BENCH) ## programs that the benchmarks drive
.PHONY: bench
bench: all bench-tools venv ## measured ratios: list, probe, memory, peers, files, queue, webhooks, gateway (takes the machine for itself)
	@deploy/local/install dev
	@rc=0; export BUILD=$(BUILD); \
	$(VENV)/bin/python tests/bench/bench.py || rc=1; \
	$(VENV)/bin/python tests/bench/files.py || rc=1; \
	$(VENV)/bin/python tests/bench/queue_rates.py || rc=1; \
	$(VENV)/bin/python tests/bench/streams.py || rc=1; \
	$(VENV)/bin/python tests/bench/webhook_rates.py || rc=1; \
	$(BUILD)/bench/gateway_cpu || rc=1; \
	$(VENV)/bin/python tests/bench/gateway_rows.py || rc=1; \
	$(VENV)/bin/python tests/bench/gateway_scale.py --steps 100,1000,5000 || rc=1; \
	$(VENV)/bin/python tests/bench/gateway_two.py --printers 3000 --rate 0.1 || rc=1; exit $$rc

# Fuzz targets: with FUZZ=1 (clang) they search, else they replay stored inputs.
FUZZ_C := $(wildcard tests/fuzz/fuzz_*.c)
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(FUZZ_C))
FUZZ_SECONDS ?= 60
FUZZ_EXTRA = $(if $(filter fuzz_bambu% fuzz_moonraker% fuzz_camera% fuzz_prusalink% fuzz_octoprint% fuzz_discover%,$*),$(filter-out %/gateway/main.o,$(GW_O)),$(BUILD)/obj/gen/inputs.o) \
             $(if $(filter fuzz_route%,$*),$(BUILD)/obj/gen/routes.o $(BUILD)/obj/gen/openapi_json.o) \
             $(if $(filter fuzz_form%,$*),$(SCAN_PARTS_O)) \
             $(if $(filter fuzz_webhook%,$*),$(filter-out %/courier/main.o,$(CR_O)))
$(BUILD)/fuzz/%: tests/fuzz/%.c tests/fuzz/replay.c tests/fuzz/fuzz.h $(LIB_A) $(GW_O) $(SCAN_PARTS_O) $(CR_O) $(GENERATED) \
    $(addprefix $(BUILD)/obj/gen/,inputs.o routes.o openapi_json.o)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(if $(FUZZ),-fsanitize=fuzzer) -o $@ $< $(if $(FUZZ),,tests/fuzz/replay.c) $(FUZZ_EXTRA) \
	    $(LIB_A) $(LDFLAGS) $(shell pkg-config --libs $(sort $(PKGS_API) $(PKGS_GW) $(PKGS_SCAN))) $(LIBS_GW) -lcsv -lm
.PHONY: fuzzers fuzz fuzz-replay fuzz-corpus
fuzzers: $(FUZZERS)
fuzz: ## search for inputs that break the parsers, FUZZ_SECONDS per target
	@$(MAKE) -s FUZZ=1 CC=clang BUILD=build-fuzzer fuzzers
	@set -e; for f in $(notdir $(FUZZERS)); do \
	    echo "# $$f"; mkdir -p build-fuzzer/found/$$f; \
	    build-fuzzer/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -max_len=16384 -print_final_stats=1 \
	        -artifact_prefix=build-fuzzer/found/ build-fuzzer/found/$$f tests/fuzz/corpus/$${f#fuzz_}; done
fuzz-replay fuzz-corpus: ## the stored inputs through the fuzz targets, under sanitizers
	@$(MAKE) -s SAN=1 BUILD=build-fuzz fuzzers
	@BUILD=build-fuzz tests/run fuzz

.PHONY: unit
unit: $(UNIT) ## unit tests of the libraries
	@set -e; for t in $(UNIT); do echo "# $$t"; $$t; done

# Python for tests and linters; without a package index tests that need it are skipped, loudly.
VENV := tests/.venv
$(VENV)/stamp: tests/requirements.txt
	@echo "  VENV  $(VENV)"
	@rm -rf $(VENV) && python3 -m venv $(VENV) && \
	    { $(VENV)/bin/pip install -q --disable-pip-version-check -r $< && touch $@ || \
	      { rm -rf $(VENV); echo "the packages of $< cannot be had: tests that need them will be skipped"; }; }
.PHONY: venv
venv: ; @test -e $(VENV)/stamp -a ! tests/requirements.txt -nt $(VENV)/stamp || $(MAKE) -s $(VENV)/stamp

# A real OctoPrint, which the tests of its driver run; without it they are skipped, loudly.
OCTOPRINT := tests/.octoprint
$(OCTOPRINT)/stamp: tests/printers/octoprint/requirements.txt
	@echo "  VENV  $(OCTOPRINT)"
	@rm -rf $(OCTOPRINT) && python3 -m venv $(OCTOPRINT) && \
	    { $(OCTOPRINT)/bin/pip install -q --disable-pip-version-check --no-deps -r $< && touch $@ || \
	      { rm -rf $(OCTOPRINT); echo "OctoPrint cannot be had: tests against it will be skipped"; }; }
.PHONY: octoprint
octoprint: ## a real OctoPrint in a venv, for its driver's tests
	@test -e $(OCTOPRINT)/stamp -a ! tests/printers/octoprint/requirements.txt -nt $(OCTOPRINT)/stamp || \
	    $(MAKE) -s $(OCTOPRINT)/stamp

.PHONY: test check test-api soak lint format
test: ## every test, and how many lines of lib/ and fcgi/ they reach
	@deploy/local/install run build test
	@$(MAKE) -s COV=1 BUILD=$(or $(COV_BUILD),build-cov) check
check: all $(UNIT) $(STUBS) venv octoprint # the suites on $(BUILD)
	@BUILD=$(BUILD) tests/run $(if $(COV),--cov) $(SUITES)
test-api: all venv ## the API's tests on $(BUILD); SAN=1 under sanitizers
	@BUILD=$(BUILD) tests/run api
soak: all $(STUBS) venv octoprint ## the kill and hammer runs at full length
	@SOAK=1 BUILD=$(BUILD) tests/run faults timing gateway
lint: all $(GENERATED) venv ## every check of .ci/lint; CHECKS="format tidy" for some
	@BUILD=$(BUILD) VENV=$(VENV) .ci/lint/run $(CHECKS)
format: ## clang-format every C file
	@{ .ci/lint/files c; .ci/lint/files h; } | xargs clang-format -i

.PHONY: pgtap
pgtap: $(BUILD)/bin/soloprintctl ## the schema's own tests, on a private Postgres
	schema/db/tests/run $<

# --- housekeeping -------------------------------------------------------------------------------
.PHONY: clean help
clean: ## remove the build folders
	rm -rf build build-san build-cov build-san-cov build-fuzz build-fuzzer
help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
