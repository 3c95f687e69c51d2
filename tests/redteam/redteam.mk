# The probe that is deployed as an app: static, so that it needs nothing of the stack.  Kernel headers come after musl's own.
PROBE_SRC := $(wildcard tests/redteam/*.c)
PROBE_OBJ := $(patsubst %.c,$(O)/musl/%.o,$(PROBE_SRC))

$(O)/probe: $(PROBE_OBJ)
	$(Q)$(MUSL_CC) -static -no-pie -o $@ $^
