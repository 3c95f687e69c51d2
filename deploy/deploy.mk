# Running, installing.
PREFIX  ?= /usr
DESTDIR ?=
MAN     := $(wildcard deploy/man/*.[1-8])

run: ## install what is missing, build, run a node with three example apps (Ctrl-C ends it)
	$(Q)deploy/bootstrap build run
	$(Q)$(MAKE) --no-print-directory -j2 all
	$(Q)TULOU_BUILD=$(O) exec deploy/run

bootstrap: ## install the packages to build, run, test and measure, and the system users
	deploy/bootstrap build run test bench

check: all ## say what this host lacks to be a node
	$(O)/tuloud --check

# tuloud finds its helpers beside itself, and the buildpacks in /usr/share/tulou.
install: all ## install below DESTDIR (PREFIX=/usr)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/lib/tulou $(DESTDIR)$(PREFIX)/share/tulou
	install -m 755 $(O)/tuloud $(O)/tulou-sandbox $(O)/tulou-unpack $(DESTDIR)$(PREFIX)/lib/tulou/
	install -m 755 $(O)/tulou $(DESTDIR)$(PREFIX)/bin/tulou
	ln -sf ../lib/tulou/tuloud $(DESTDIR)$(PREFIX)/sbin/tuloud
	rm -rf $(DESTDIR)$(PREFIX)/share/tulou/buildpacks
	cp -r deploy/buildpacks $(DESTDIR)$(PREFIX)/share/tulou/buildpacks
	for m in $(MAN); do install -D -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/$${m##*/}; done
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	$(O)/tulou completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/tulou
	install -D -m 644 deploy/tulou.service $(DESTDIR)$(PREFIX)/lib/systemd/system/tulou.service
	install -D -m 644 deploy/settings.example.yaml $(DESTDIR)$(PREFIX)/share/doc/tulou/settings.example.yaml
	[ -e $(DESTDIR)/etc/tulou/tulou.yaml ] || install -D -m 644 deploy/settings.example.yaml $(DESTDIR)/etc/tulou/tulou.yaml

uninstall: ## remove what install put there; data and settings stay
	rm -rf $(DESTDIR)$(PREFIX)/lib/tulou $(DESTDIR)$(PREFIX)/share/tulou $(DESTDIR)$(PREFIX)/share/doc/tulou
	rm -f $(DESTDIR)$(PREFIX)/bin/tulou $(DESTDIR)$(PREFIX)/sbin/tuloud $(DESTDIR)$(PREFIX)/lib/systemd/system/tulou.service
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/tulou
	for m in $(MAN); do rm -f $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/$${m##*/}; done

.PHONY: run bootstrap check install uninstall
