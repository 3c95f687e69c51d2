# make bench: programs that the bench needs.
$(O)/small-server: tests/bench/small_server.c
	$(Q)mkdir -p $(@D)
	$(Q)$(MUSL_CC) -static -Os -s -D_GNU_SOURCE -o $@ $<
$(O)/floor: tests/bench/floor.c
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O2 -D_GNU_SOURCE -I. -o $@ $<

bench: all $(O)/small-server $(O)/floor ## measure against the kernel's floor, HAProxy and nginx (ONLY=starts,instances,state,push,proxy)
	$(Q)deploy/bootstrap bench
	$(Q)$(MAKE) --no-print-directory $(O)/worker
	$(Q)python3 tests/bench/bench.py --build $(O) $(if $(ONLY),--only $(ONLY))
.PHONY: bench
