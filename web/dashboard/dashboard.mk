# The dashboard: npm ci, Vite, and a header that dashboard.c includes.  Needs Node 18.19 or newer with npm.
DASHBOARD     := web/dashboard
DASHBOARD_SRC := $(wildcard $(addprefix $(DASHBOARD)/,src/* public/* index.html vite.config.mjs tsconfig.json))
DASHBOARD_OUT := $(O)/gen/dashboard
DASHBOARD_NPM := $(DASHBOARD)/node_modules/.package-lock.json
NPM_CI        := npm ci --ignore-scripts --no-audit --no-fund --loglevel=error

# node_modules lies in the tree and serves every build folder; builds at the same time take turns by a lock on the
# directory, and one that waited finds it done.
$(DASHBOARD_NPM): $(DASHBOARD)/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: the dashboard is built with it; deploy/bootstrap installs it" >&2; exit 1; }
	$(if $(Q),@echo "  NPM   $(DASHBOARD)")
	$(Q)flock $(DASHBOARD) sh -c 'test $@ -nt $< || { cd $(DASHBOARD) && $(NPM_CI) && touch node_modules/.package-lock.json; }'

$(O)/gen/dashboard_files.h: $(DASHBOARD_SRC) $(DASHBOARD)/embed.mjs $(DASHBOARD_NPM)
	$(if $(Q),@echo "  VITE  $(DASHBOARD_OUT)")
	$(Q)mkdir -p $(DASHBOARD_OUT)
	$(Q)cd $(DASHBOARD) && DASHBOARD_OUT=$(abspath $(DASHBOARD_OUT)) flock -s . node node_modules/vite/bin/vite.js build --logLevel warn
	$(Q)node $(DASHBOARD)/embed.mjs $(DASHBOARD_OUT) $@

$(O)/obj/web/dashboard/dashboard.o: $(O)/gen/dashboard_files.h

dashboard-check: $(DASHBOARD_NPM) ## dashboard: types and unit tests
	$(Q)cd $(DASHBOARD) && node node_modules/typescript/bin/tsc --noEmit && node node_modules/vitest/vitest.mjs run

# With TULOU_URL and TULOU_TOKEN (operator's) against that node, else against the mock with the page just built.
dashboard-browser: $(O)/gen/dashboard_files.h ## dashboard: drive the page in Chromium
	$(Q)DASHBOARD_OUT=$(abspath $(DASHBOARD_OUT)) sh tests/system/dashboard/run

.PHONY: dashboard-check dashboard-browser
