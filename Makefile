# Tulou.  `make help` lists what there is.  One static archive per folder; includes go base <- config <- store <- scheduler <- web <- agent.
CC       ?= gcc
MUSL_CC  ?= musl-gcc
V        ?= 0
O        ?= build
VARIANT  ?= release
Q        := $(if $(filter 1,$(V)),,@)

WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wformat=2 -Wswitch-enum -Wvla -Wundef -Werror
STD      := -std=gnu11 -D_GNU_SOURCE -I. -I$(O)/gen
COMMIT   := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
VERSION  := $(shell cat deploy/VERSION 2>/dev/null || echo 0.0.0)

FLAGS_release := -O2 -g -gdwarf-4 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
LINK_release  := -pie -Wl,-z,relro,-z,now
FLAGS_asan    := -O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
LINK_asan     := -fsanitize=address,undefined
FLAGS_tsan    := -O1 -g -fsanitize=thread -fPIE
LINK_tsan     := -fsanitize=thread -pie
FLAGS_coverage := -O0 -g --coverage
LINK_coverage := --coverage
CFLAGS   ?= $(FLAGS_$(VARIANT))
LDFLAGS  ?= $(LINK_$(VARIANT))

# Wherever a package sets include paths, pkg-config knows them.
PKGS     := libevent_core libmicrohttpd sqlite3 libseccomp libcap yaml-0.1 jansson libcrypto libssl libnghttp2
PKG_C    := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS     := -levent_core -levent_extra -lmicrohttpd -lz -lsqlite3 -lseccomp -lcap -lyaml -ljansson -lssl -lcrypto -lnghttp2 -lnftables -lmnl -lm -lz
CLI_LIBS := -lcurl -ljansson -larchive
UNPACK_LIBS := -larchive

# Rooms: folder -> archive.  A folder's own sources only; programs with a main() are left out.
MAINS    := agent/tuloud.c web/cli/main.c agent/build/unpack_main.c
ROOMS    := base config store scheduler web/http web/proxy web/api web/cli web/dashboard agent/roles agent/resolve agent/acme agent/fetch agent/supervise agent/image agent/build
src       = $(filter-out $(MAINS),$(wildcard $(1)/*.c))
archive   = $(O)/lib/$(subst /,_,$(1)).a
objects   = $(patsubst %.c,$(O)/obj/%.o,$(call src,$(1)))

DAEMON_ROOMS := agent/roles agent/resolve agent/acme agent/fetch agent/build agent/image agent/supervise agent/sandbox web/api web/dashboard web/proxy web/http scheduler store config base
CLI_ROOMS    := web/cli config base
UNPACK_ROOMS := agent/build base

all: $(O)/tuloud $(O)/tulou $(O)/tulou-sandbox $(O)/tulou-unpack ## build the programs

$(O)/obj/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(if $(Q),@echo "  CC    $<")
	$(Q)$(CC) $(STD) $(WARN) $(CFLAGS) $(PKG_C) -DTULOU_VERSION='"$(VERSION)"' -DTULOU_COMMIT='"$(COMMIT)"' -MMD -MP -c $< -o $@

define room_rule
$(call archive,$(1)): $(call objects,$(1))
	$(Q)mkdir -p $$(@D)
	$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$(r))))

# Static archives in the order of the layers: a call against the order does not link.
rooms = $(foreach r,$(1),$(if $(call src,$(r)),$(call archive,$(r))))

$(O)/tuloud: $(O)/obj/agent/tuloud.o $(call rooms,$(DAEMON_ROOMS))
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(O)/tulou: $(O)/obj/web/cli/main.o $(call rooms,$(CLI_ROOMS))
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(CLI_LIBS)

$(O)/tulou-unpack: $(O)/obj/agent/build/unpack_main.o $(O)/obj/agent/build/unpack.o $(call rooms,base)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(UNPACK_LIBS) -ljansson

include agent/sandbox/sandbox.mk
-include web/dashboard/dashboard.mk
-include tests/tests.mk
-include tests/bench/bench.mk
-include tests/fuzz/fuzz.mk
-include deploy/deploy.mk

DEPS := $(shell find $(O) -name '*.d' 2>/dev/null)
-include $(DEPS)

clean: ## remove what was built
	rm -rf $(O)

help: ## list the targets
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: all clean help
.DEFAULT_GOAL := all
