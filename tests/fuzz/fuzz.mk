# make fuzz: libFuzzer with AddressSanitizer, FUZZ_SECONDS for each target; crashes are kept as $(O)/fuzz/crash-*.
FUZZ_SECONDS ?= 60
FUZZ_CC      ?= clang
FUZZ_FLAGS   := -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined

$(O)/fuzz/http: tests/fuzz/fuzz_http.c $(wildcard web/http/*.c web/http/*.h) $(wildcard base/*.c)
	$(Q)mkdir -p $(@D)/corpus/http
	$(Q)$(FUZZ_CC) $(STD) $(FUZZ_FLAGS) -o $@ tests/fuzz/fuzz_http.c web/http/http.c web/http/chunked.c web/http/scan.c
$(O)/fuzz/config: tests/fuzz/fuzz_config.c $(wildcard config/*.c config/*.h) $(wildcard base/*.c)
	$(Q)mkdir -p $(@D)/corpus/config
	$(Q)$(FUZZ_CC) $(STD) $(FUZZ_FLAGS) -o $@ tests/fuzz/fuzz_config.c $(wildcard config/*.c) base/err.c base/cidr.c base/parse.c base/json.c base/utf8.c base/buf.c base/fd.c -lyaml -ljansson

$(O)/fuzz/dns: tests/fuzz/fuzz_dns.c agent/resolve/dns.c agent/resolve/dns.h
	$(Q)mkdir -p $(@D)/corpus/dns
	$(Q)$(FUZZ_CC) $(STD) $(FUZZ_FLAGS) -o $@ tests/fuzz/fuzz_dns.c agent/resolve/dns.c

$(O)/fuzz/front: tests/fuzz/fuzz_front.c $(wildcard base/*.c) web/proxy/front.c web/proxy/front.h agent/resolve/dns.c agent/resolve/dns.h
	$(Q)mkdir -p $(@D)/corpus/front
	$(Q)$(FUZZ_CC) $(STD) $(FUZZ_FLAGS) -o $@ tests/fuzz/fuzz_front.c web/proxy/front.c agent/resolve/dns.c base/err.c base/parse.c base/utf8.c -lcrypto

$(O)/fuzz/proxyproto: tests/fuzz/fuzz_proxyproto.c web/http/proxyproto.c web/http/proxyproto.h
	$(Q)mkdir -p $(@D)/corpus/proxyproto
	$(Q)$(FUZZ_CC) $(STD) $(FUZZ_FLAGS) -o $@ tests/fuzz/fuzz_proxyproto.c web/http/proxyproto.c

$(O)/fuzz/record: tests/fuzz/fuzz_record.c web/proxy/record.c web/proxy/record.h config/limits.h
	$(Q)mkdir -p $(@D)/corpus/record
	$(Q)$(FUZZ_CC) $(STD) $(FUZZ_FLAGS) -o $@ tests/fuzz/fuzz_record.c web/proxy/record.c -lcrypto

WORKER_SRC := $(foreach r,$(WORKER_ROOMS),$(wildcard $(r)/*.c))
$(O)/fuzz/worker $(O)/fuzz/h2: $(O)/fuzz/%: tests/fuzz/fuzz_%.c $(wildcard tests/fuzz/fuzz_common.[ch]) $(WORKER_SRC) $(foreach r,$(WORKER_ROOMS),$(wildcard $(r)/*.h))
	$(Q)mkdir -p $(@D)/corpus/$*
	$(Q)$(FUZZ_CC) $(STD) $(FUZZ_FLAGS) $(PKG_C) -o $@ $< tests/fuzz/fuzz_common.c $(WORKER_SRC) $(WORKER_LIBS)

FUZZERS := http config dns front proxyproto record worker h2
fuzz: $(FUZZERS:%=$(O)/fuzz/%) ## fuzz the parsers (FUZZ_SECONDS=60 each)
	$(Q)for f in $(FUZZERS); do $(O)/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(O)/fuzz/ $(FUZZ_ARGS) $(O)/fuzz/corpus/$$f tests/fuzz/corpus/$$f || exit 1; done

# For `make test`: the corpus and a bounded time of new inputs, all at once; TAP.
fuzz-tap: $(FUZZERS:%=$(O)/fuzz/%)
	$(Q)tests/fuzz/run $(O) $(FUZZ_SECONDS) $(FUZZERS)
.PHONY: fuzz fuzz-tap
