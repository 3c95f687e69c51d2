# make fuzz: libFuzzer with AddressSanitizer, FUZZ_SECONDS for each target; crashes are kept as $(O)/fuzz/crash-*.
FUZZ_SECONDS ?= 60
FUZZ_CC      ?= clang
FUZZ_FLAGS   := -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined

$(O)/fuzz/http: tests/fuzz/fuzz_http.c $(wildcard web/http/*.c web/http/*.h) $(wildcard base/*.c)
	$(Q)mkdir -p $(@D)/corpus/http
	$(Q)$(FUZZ_CC) $(STD) $(FUZZ_FLAGS) -o $@ tests/fuzz/fuzz_http.c web/http/http.c web/http/chunked.c web/http/scan.c
$(O)/fuzz/config: tests/fuzz/fuzz_config.c $(wildcard config/*.c config/*.h) $(wildcard base/*.c)
	$(Q)mkdir -p $(@D)/corpus/config
	$(Q)$(FUZZ_CC) $(STD) $(FUZZ_FLAGS) -o $@ tests/fuzz/fuzz_config.c $(wildcard config/*.c) base/err.c base/parse.c base/json.c base/utf8.c base/buf.c base/fd.c -lyaml -ljansson

$(O)/fuzz/dns: tests/fuzz/fuzz_dns.c agent/resolve/dns.c agent/resolve/dns.h
	$(Q)mkdir -p $(@D)/corpus/dns
	$(Q)$(FUZZ_CC) $(STD) $(FUZZ_FLAGS) -o $@ tests/fuzz/fuzz_dns.c agent/resolve/dns.c

fuzz: $(O)/fuzz/http $(O)/fuzz/config $(O)/fuzz/dns ## fuzz the parsers (FUZZ_SECONDS=60 each)
	$(Q)$(O)/fuzz/http -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(O)/fuzz/ $(O)/fuzz/corpus/http tests/fuzz/corpus/http
	$(Q)$(O)/fuzz/config -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(O)/fuzz/ $(O)/fuzz/corpus/config tests/fuzz/corpus/config
	$(Q)$(O)/fuzz/dns -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(O)/fuzz/ $(O)/fuzz/corpus/dns tests/fuzz/corpus/dns
.PHONY: fuzz
