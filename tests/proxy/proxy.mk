# A worker of the front door alone: for tests/proxy/run and tests/bench/proxy/run.
WORKER_ROOMS := web/proxy web/http config base
WORKER_LIBS  := -levent_core -ljansson -lyaml -lssl -lcrypto -lnghttp2

$(O)/worker: $(O)/obj/tests/proxy/worker_main.o $(call rooms,$(WORKER_ROOMS))
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(WORKER_LIBS)
