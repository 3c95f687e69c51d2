# make bench: programs that the bench needs.
$(O)/small-server: tests/bench/small_server.c
	$(Q)mkdir -p $(@D)
	$(Q)$(MUSL_CC) -static -Os -s -D_GNU_SOURCE -o $@ $<
$(O)/floor: tests/bench/floor.c
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O2 -D_GNU_SOURCE -I. -o $@ $<
$(O)/attacker: tests/bench/attacker.c
	$(Q)mkdir -p $(@D)
	$(Q)$(MUSL_CC) -static -Os -s -D_GNU_SOURCE -o $@ $<
$(O)/load: tests/bench/load.c
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O2 -D_GNU_SOURCE -o $@ $<

bench: all $(O)/small-server $(O)/floor $(O)/attacker $(O)/load ## measure against the kernel's floor, HAProxy and nginx (ONLY=starts,instances,state,push,proxy,starts1000,noisy,crashes; ROWS=keepalive,tls,…)
	$(Q)deploy/bootstrap bench
	$(Q)$(MAKE) --no-print-directory $(O)/worker
	$(Q)python3 tests/bench/bench.py --build $(O) $(if $(ONLY),--only $(ONLY)) $(if $(ROWS),--rows $(ROWS))
.PHONY: bench
