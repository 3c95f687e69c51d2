# tulou-sandbox: static musl, no library at run time, a few pages per instance.  Kernel headers come after musl's own.
# -no-pie: with nothing to relocate, no page of the program is written to, and all instances share them.
SANDBOX_SRC := $(wildcard agent/sandbox/*.c)
SANDBOX_OBJ := $(patsubst %.c,$(O)/musl/%.o,$(SANDBOX_SRC))
MULTIARCH   := $(shell $(CC) -print-multiarch 2>/dev/null)
SANDBOX_INC := -idirafter /usr/include -idirafter /usr/include/$(MULTIARCH)
SANDBOX_CF  := -Os -g -gdwarf-4 -fno-pie -fno-asynchronous-unwind-tables -fno-stack-clash-protection -fstack-protector-strong

$(O)/musl/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(if $(Q),@echo "  MUSL  $<")
	$(Q)$(MUSL_CC) -std=gnu11 -D_GNU_SOURCE -I. $(WARN) $(SANDBOX_CF) $(SANDBOX_INC) -MMD -MP -c $< -o $@

$(O)/tulou-sandbox: $(SANDBOX_OBJ)
	$(Q)$(MUSL_CC) -static -no-pie -Wl,-z,relro,-z,now -Wl,-z,noseparate-code -Wl,--gc-sections -o $@ $^

# The same sources with the host's libc, for unit tests of what needs no privileges.
MAINS += agent/sandbox/main.c
$(eval $(call room_rule,agent/sandbox))

# Plays the supervisor, for the bench and for looking at a sandbox by hand.
$(O)/launch_driver: $(O)/obj/tests/bench/launch_driver.o $(call archive,agent/supervise) $(call archive,agent/sandbox) $(call archive,scheduler) $(call archive,store) $(call archive,config) $(call archive,base)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
