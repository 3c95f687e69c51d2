# Tests, lint and sanitizer builds.

UNIT_SRC := $(wildcard tests/unit/*.c tests/fault/*.c)
UNIT_OBJ := $(patsubst %.c,$(O)/obj/%.o,$(UNIT_SRC))
# Rooms in the order of the layers, programs' parts included; the CLI and the daemon share one test binary.
UNIT_ROOMS := agent/roles agent/resolve agent/acme agent/fetch agent/build agent/image agent/supervise agent/sandbox web/cli web/api web/dashboard web/proxy web/http scheduler store config base

$(O)/unit: $(UNIT_OBJ) $(call rooms,$(UNIT_ROOMS))
	$(Q)$(CC) $(LDFLAGS) -o $@ $(UNIT_OBJ) -Wl,--start-group $(call rooms,$(UNIT_ROOMS)) -Wl,--end-group $(LIBS) $(CLI_LIBS) -lz -lcriterion

unit: $(O)/unit ## build and run the unit tests only
	$(O)/unit

# agent/supervise alone, for the tests of the kernel's limits.
$(O)/supervise_shell: $(O)/obj/tests/system/supervise_shell.o $(call rooms,agent/supervise agent/sandbox scheduler store config base)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

TEST_OUT := $(O)/tests
test: ## install what tests need, build, run every suite; the last line counts them
	$(Q)deploy/bootstrap build run test
	$(Q)$(MAKE) --no-print-directory -j2 all $(O)/unit $(O)/worker $(O)/supervise_shell $(O)/probe $(FUZZERS:%=$(O)/fuzz/%)
	$(Q)TULOU_BUILD=$(O) tests/run $(TEST_OUT) \
		unit='$(O)/unit --tap --jobs 2 --timeout 120' \
		beside:proxy='tests/proxy/run $(O)' \
		lint='tests/lint $(O)' \
		cli='python3 tests/system/cli.py $(O)/tulou' \
		buildpacks='tests/system/test_buildpacks.sh' \
		fuzz='nice $(MAKE) --no-print-directory fuzz-tap' \
		supervise='tests/system/supervise.sh $(O)' \
		system='python3 tests/system/run.py --build $(O)' \
		redteam='tests/redteam/run $(O)'

test-system: all $(O)/supervise_shell ## the system tests only (ONLY=pattern)
	$(Q)TULOU_BUILD=$(O) tests/run $(TEST_OUT) system='python3 tests/system/run.py --build $(O) $(if $(ONLY),--only $(ONLY))'

lint: all ## format, layers, banned functions, static analysis
	$(Q)tests/lint $(O) full

asan: ## unit tests under AddressSanitizer and UBSan
	$(MAKE) VARIANT=asan O=$(O)/asan $(O)/asan/unit && $(O)/asan/unit --timeout 300
tsan: ## unit tests under ThreadSanitizer
	$(MAKE) VARIANT=tsan O=$(O)/tsan $(O)/tsan/unit && $(O)/tsan/unit --timeout 300
coverage: ## unit tests with coverage, summary per room
	$(MAKE) VARIANT=coverage O=$(O)/coverage $(O)/coverage/unit && $(O)/coverage/unit
	tests/coverage $(O)/coverage

format: ## re-format all C files
	clang-format -i $$(git ls-files '*.c' '*.h')

.PHONY: unit test test-system lint asan tsan coverage format

VM ?= $(HOME)/.cache/tulou-vm
test-vm: all $(O)/supervise_shell ## cgroup v2 and systemd, in an emulated virtual machine (slow)
	$(Q)deploy/bootstrap vm
	$(Q)tests/run $(TEST_OUT) vm='tests/vm/test $(O) $(VM)'
.PHONY: test-vm

include tests/proxy/proxy.mk
include tests/redteam/redteam.mk
