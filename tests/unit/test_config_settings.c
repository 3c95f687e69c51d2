/* Settings of the node, and the YAML reader under them. */
#include "base/clock.h"
#include "base/fd.h"
#include "base/own.h"
#include "config/settings.h"
#include "config/yaml.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int parse(const char *text, struct settings *s, struct err *e)
{
	memset(e, 0, sizeof *e);
	return settings_parse(text, strlen(text), s, e);
}

Test(config, settings_defaults)
{
	struct settings s;
	settings_default(&s);
	cr_assert_str_eq(s.data, "/var/lib/tulou");
	cr_assert_str_eq(s.runtime, "/run/tulou");
	cr_assert_str_eq(s.domain_control, "tulou.localhost");
	cr_assert_eq(s.http_count, 2);
	cr_assert_eq(s.http[1].addr.ss_family, AF_INET6);
	cr_assert_str_eq(s.http[0].text, "127.0.0.1:8080");
	cr_assert_eq(s.https_count, 0);
	cr_assert_eq(s.pool_net, 0x0a5e0000);
	cr_assert_eq(s.uid_base, 0x40000000u);
	cr_assert_geq(s.proxy_workers, 1);
	cr_assert_eq(s.app.memory, 256ull << 20);
	cr_assert(s.throttle);
	cr_assert_eq(s.build_time_ms, 900000);
	cr_assert_neq(s.node_name[0], 0);
}

Test(config, settings_full_file)
{
	struct settings s;
	struct err e;
	settings_default(&s);
	cr_assert_eq(parse("# a comment\n"
			   "node:    { name: node-1, data: /srv/tulou, runtime: /run/t2, cgroup: t2, uid_base: "
			   "1200000000 - 0 }\n",
			   &s, &e),
		     -EINVAL);
	cr_assert_str_eq(e.field, "node.uid_base");
	cr_assert_eq(parse("node:    { name: node-1.example, data: /srv/tulou, runtime: /run/t2, cgroup: t2, uid_base: "
			   "1090000000 }\n"
			   "listen:  { http: [\"0.0.0.0:80\", \"[::]:80\"], https: [\"0.0.0.0:443\"] }\n"
			   "domains: { apps: apps.example.com, control: tulou.example.com }\n"
			   "network: { pool: 10.0.0.0/8, link_prefix: t2 }\n"
			   "proxy:   { workers: 3 }\n"
			   "scheduler: { throttle: off }\n"
			   "app:\n  memory: 512MiB\n  cpu: 250\n  nofile: 1024\n"
			   "build: { concurrent: 4, time: 20m }\n"
			   "health: { timeout: 5s, drain: 100ms, grace: 2 }\n",
			   &s, &e),
		     0, "%s", e.text);
	cr_assert_str_eq(s.node_name, "node-1.example");
	cr_assert_eq(ntohs(((struct sockaddr_in *)&s.http[0].addr)->sin_port), 80);
	cr_assert_eq(s.https_count, 1);
	cr_assert_eq(s.pool_prefix, 8);
	cr_assert_not(s.http[0].proxied);
	cr_assert_str_eq(s.link_prefix, "t2");
	cr_assert_eq(s.proxy_workers, 3);
	cr_assert_not(s.throttle);
	cr_assert_eq(s.app.memory, 512ull << 20);
	cr_assert_eq(s.app.cpu, 250);
	cr_assert_eq(s.build.nofile, 4096);
	cr_assert_eq(s.build_time_ms, 1200000);
	cr_assert_eq(s.drain_ms, 100);
	cr_assert_eq(s.grace_ms, 2000);
	cr_assert_eq(parse("proxy: { workers: auto }", &s, &e), 0);
	cr_assert_leq(s.proxy_workers, LIMIT_WORKERS);
	cr_assert_eq(parse("", &s, &e), 0);
	cr_assert_eq(parse("---\nnode:\n...\n", &s, &e), 0, "%s", e.text);
}

Test(config, settings_balancers)
{
	struct settings s;
	struct err e;
	settings_default(&s);
	cr_assert_eq(
		parse("listen: { http: [\"0.0.0.0:80\", \"127.0.0.1:81 proxy\"], proxy_from: [127.0.0.1, 10.0.0.0/8, "
		      "\"2001:db8::/32\"] }",
		      &s, &e),
		0, "%s", e.text);
	cr_assert_not(s.http[0].proxied);
	cr_assert(s.http[1].proxied);
	cr_assert_str_eq(s.http[1].text, "127.0.0.1:81");
	cr_assert_eq(s.proxy_from_count, 3);
	cr_assert_eq(s.proxy_from[1].prefix, 96 + 8);
}

/* A message is read without the file beside it. */
Test(config, settings_refusals_say_what_was_given)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"domains: { proof: maybe }", "domains.proof: must be required or none, not \"maybe\""},
		{"node: { data: var/lib }", "not \"var/lib\""},
		{"node: { user: Root }", "not \"Root\""},
		{"listen: { http: [\"0.0.0.0:80 proxies\"] }", "not \"0.0.0.0:80 proxies\""},
		{"disk: { backend: \"zfs\\e\" }", "must be auto, quota, btrfs or memory, not \"zfs\\x1b\""},
		{"tls: { acme: { challenge: dns-01 } }", "must be auto, http-01 or tls-alpn-01, not \"dns-01\""},
	};
	struct settings s;
	struct err e;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		settings_default(&s);
		cr_assert_eq(parse(rows[i].text, &s, &e), -EINVAL, "%s", rows[i].text);
		cr_assert_not_null(strstr(e.text, rows[i].says), "%s: %s", rows[i].text, e.text);
	}
}

Test(config, settings_refusals_name_the_key)
{
	static const struct {
		const char *text, *field;
		int code;
	} rows[] = {
		{"nodes: {}", "nodes", EINVAL},
		{"node: { nmae: x }", "node.nmae", EINVAL},
		{"node.name: x", "node.name", EINVAL},
		{"node: 7", "node", EINVAL},
		{"node: { name: [x] }", "node.name", EINVAL},
		{"node: { name: }", "node.name", EINVAL},
		{"node: { name: \"A b\" }", "node.name", EINVAL},
		{"node: { data: var/lib }", "node.data", EINVAL},
		{"node: { data: /var/../etc }", "node.data", EINVAL},
		{"node: { data: /var/lib/ }", "node.data", EINVAL},
		{"node: { data: \"/var lib\" }", "node.data", EINVAL},
		{"node: { data: / }", "node.data", EINVAL},
		{"node: { runtime: /12345678901234567890123456789012345678901234567890123456789012345678901 }",
		 "node.runtime", EINVAL},
		{"node: { runtime: /var/lib/tulou/run }", "node.runtime", EINVAL},
		{"node: { runtime: /var/lib/tulou }", "node.runtime", EINVAL},
		{"node: { cgroup: a/b }", "node.cgroup", EINVAL},
		{"node: { uid_base: 1000 }", "node.uid_base", ERANGE},
		{"node: { uid_base: 0x40000000 }", "node.uid_base", EINVAL},
		{"node: { uid_base: 2000000000 }", "node.uid_base", ERANGE},
		{"node: { user: Root }", "node.user", EINVAL},
		{"listen: { http: [\"0.0.0.0:80 proxies\"] }", "listen.http[0]", EINVAL},
		{"listen: { http: [\"0.0.0.0:80 proxy\"] }", "listen.proxy_from", EINVAL},
		{"listen: { proxy_from: [\"10.0.0.0/8\"] }", "listen.proxy_from", EINVAL},
		{"listen: { http: [\"0.0.0.0:80 proxy\"], proxy_from: [\"10.0.0.1/8\"] }", "listen.proxy_from[0]",
		 EINVAL},
		{"listen: { http: [\"0.0.0.0:80 proxy\"], proxy_from: 10.0.0.0/8 }", "listen.proxy_from", EINVAL},
		{"node: { user: \"-x\" }", "node.user", EINVAL},
		{"listen: { http: 0.0.0.0:80 }", "listen.http", EINVAL},
		{"listen: { http: [] }", "listen.http", EINVAL},
		{"listen: { http: [\"0.0.0.0:80\", \"0.0.0.0:99999\"] }", "listen.http[1]", ERANGE},
		{"listen: { http: [\"localhost:80\"] }", "listen.http[0]", EINVAL},
		{"listen: { http: [\"1.2.3.4:5\", \"1.2.3.4:5\"] }", "listen.http[1]", EINVAL},
		{"listen: { http: [a, b, c, d, e, f, g, h, i] }", "listen.http", ERANGE},
		{"listen: { https: [{a: b}] }", "listen.https[0]", EINVAL},
		{"listen: { http: [\"1.2.3.4:5\"], https: [\"1.2.3.4:6\", \"1.2.3.4:5\"] }", "listen.https[1]", EINVAL},
		{"listen: { http: [\"0.0.0.0:80\"], https: [\"127.0.0.1:80\"] }", "listen.https[0]", EINVAL},
		{"listen: { http: [\"[::1]:80\"], https: [\"[::]:80\"] }", "listen.https[0]", EINVAL},
		{"domains: { apps: Example.com }", "domains.apps", EINVAL},
		{"domains: { proof: maybe }", "domains.proof", EINVAL},
		{"domains: { control: localhost }", "domains.control", EINVAL},
		{"network: { pool: 10.94.0.1/16 }", "network.pool", EINVAL},
		{"network: { pool: 10.0.0.0/29 }", "network.pool", ERANGE},
		{"network: { pool: 0.0.0.0/0 }", "network.pool", ERANGE},
		{"network: { link_prefix: tulou }", "network.link_prefix", EINVAL},
		{"network: { link_prefix: 1t }", "network.link_prefix", EINVAL},
		{"proxy: { workers: 0 }", "proxy.workers", ERANGE},
		{"proxy: { workers: 17 }", "proxy.workers", ERANGE},
		{"proxy: { workers: many }", "proxy.workers", EINVAL},
		{"scheduler: { throttle: maybe }", "scheduler.throttle", EINVAL},
		{"app: { memory: 1 }", "app.memory", ERANGE},
		{"app: { memory: 256MB }", "app.memory", EINVAL},
		{"app: { memory: 99999999999999999999TiB }", "app.memory", ERANGE},
		{"app: { pids: -1 }", "app.pids", EINVAL},
		{"app: { cpu: 0.5 }", "app.cpu", EINVAL},
		{"build: { nofile: 1 }", "build.nofile", ERANGE},
		{"build: { time: 5s }", "build.time", ERANGE},
		{"health: { timeout: 1w }", "health.timeout", EINVAL},
		{"health: { timeout: 0 }", "health.timeout", ERANGE},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct settings s, before;
		struct err e;
		settings_default(&s);
		before = s;
		cr_assert_eq(parse(rows[i].text, &s, &e), -rows[i].code, "%s: %s", rows[i].text, e.text);
		cr_assert_str_eq(e.field, rows[i].field, "%s: %s", rows[i].text, e.text);
		cr_assert(strstr(e.text, rows[i].field), "%s: %s", rows[i].text, e.text);
		cr_assert_eq(memcmp(&s, &before, sizeof s), 0, "%s changed something", rows[i].text);
	}
}

Test(config, settings_nothing_half_done)
{
	struct settings s;
	struct err e;
	settings_default(&s);
	cr_assert_eq(parse("app: { memory: 1GiB }\nproxy: { workers: 99 }", &s, &e), -ERANGE);
	cr_assert_eq(s.app.memory, 256ull << 20);
	cr_assert_eq(settings_parse("app: 1", 6, &s, NULL), -EINVAL, "without an err");
}

Test(config, settings_keys_are_documented)
{
	unsigned n = 0;
	for (const char *k; (k = settings_key(n)); n++)
		cr_assert_not_null(strchr(k, '.'));
	cr_assert_gt(n, 60);
	cr_assert_null(settings_key(n + 100));
}

Test(config, settings_load)
{
	char path[] = "/tmp/tulou-settings-XXXXXX";
	int fd = mkstemp(path);
	struct settings s;
	struct err e = {0};
	char *big = malloc(70000);

	cr_assert_geq(fd, 0);
	cr_assert_eq(settings_load(NULL, &s, &e), 0);
	cr_assert_eq(settings_load("/nonexistent.yaml", &s, &e), -ENOENT);
	cr_assert_eq(settings_load("/", &s, &e), -EISDIR);
	cr_assert_eq(fd_write_all(fd, "app: { pids: 99 }", 17), 0);
	cr_assert_eq(settings_load(path, &s, &e), 0);
	cr_assert_eq(s.app.pids, 99);
	cr_assert_eq(fd_write_all(fd, "\nx: y", 5), 0);
	cr_assert_eq(settings_load(path, &s, &e), -EINVAL);
	cr_assert_eq(strncmp(e.text, path, strlen(path)), 0, "%s", e.text);
	cr_assert_str_eq(e.field, "x");
	memset(big, '#', 70000);
	cr_assert_eq(fd_write_all(fd, big, 70000), 0);
	cr_assert_eq(settings_load(path, &s, &e), -EFBIG);
	free(big);
	close(fd);
	unlink(path);
}

Test(config, yaml_dangers)
{
	static const char *const bad[] = {
		"a: &x 1\nb: *x",
		"a: &x [1]",
		"- &a {b: c}",
		"a: !!int 3",
		"!t a: b",
		"a: 1\na: 2",
		"{[a]: b}",
		"? {a: b}\n: c",
		"a: \"x\\0y\"",
		"a: 1\n---\nb: 2",
		"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]",
		"a: [1",
		"a:\n\tb: 1",
		"\xff\xfe",
		"a: \xc3\x28",
		"\"\\ud800\": 1",
		"%YAML 9.9\n---\na: b",
		"a: 'x",
	};
	struct err e;
	json_t *j;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		memset(&e, 0, sizeof e);
		j = yaml_read(bad[i], strlen(bad[i]), 1000, &e);
		cr_assert_null(j, "%s", bad[i]);
		cr_assert_gt(e.code, 0);
		cr_assert_neq(e.text[0], 0);
	}
	cr_assert_null(yaml_read("a: b", 4, 3, &e));
	cr_assert_eq(e.code, EFBIG);
	j = yaml_read("a: ~\nb: no\nc: '~'\nd: [1, {e: }]\n", 32, 100, &e);
	cr_assert_not_null(j);
	cr_assert(json_is_null(json_object_get(j, "a")));
	cr_assert_str_eq(json_string_value(json_object_get(j, "b")), "no");
	cr_assert_str_eq(json_string_value(json_object_get(j, "c")), "~");
	json_decref(j);
	j = yaml_read("  # nothing\n", 12, 100, &e);
	cr_assert(json_is_object(j) && json_object_size(j) == 0);
	json_decref(j);
}

/* What is meant to take long does not. */
Test(config, yaml_time)
{
	static const char *const units[] = {"[",  "{",	 "- ",	 "? ",	 "a: ", "{a: [", "\"", "&a ",
					    "x,", "[a,", "\n- ", "--- ", "! ",	"#",	 "{a,"};
	const size_t n = 256 << 10;
	char *text = malloc(n + 8);

	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		int64_t since = clock_mono_us();
		struct err e;
		size_t u = strlen(units[i]), k = 0;
		for (; k + u <= n; k += u)
			memcpy(text + k, units[i], u);
		json_decref(yaml_read(text, k, n, &e));
		cr_assert_lt(clock_mono_us() - since, 2000000, "%s", units[i]);
	}
	free(text);
}

Test(config, settings_of_automatic_certificates)
{
	static const char good[] = "listen: { https: [\"127.0.0.1:8443\"] }\n"
				   "tls: { acme: { directory: \"https://ca.test/dir\", email: a@b.test,"
				   " terms_agreed: true, challenge: tls-alpn-01, own_names: on, hourly: 5 } }\n";
	static const struct {
		const char *text, *field;
	} bad[] = {
		{"tls: { acme: { directory: \"http://ca.test/\" } }", "tls.acme.directory"},
		{"tls: { acme: { directory: \"https://ca test/\" } }", "tls.acme.directory"},
		{"listen: { https: [\"127.0.0.1:1\"] }\ntls: { acme: { directory: \"https://ca.test/\" } }",
		 "tls.acme.terms_agreed"},
		{"tls: { acme: { directory: \"https://ca.test/\", terms_agreed: on } }", "tls.acme.directory"},
		{"tls: { acme: { challenge: dns-01 } }", "tls.acme.challenge"},
		{"tls: { acme: { hourly: 0 } }", "tls.acme.hourly"},
		{"tls: { acme: { eab_kid: x } }", "tls.acme.eab_key"},
		{"tls: { acme: { nonsense: 1 } }", "tls.acme.nonsense"},
		{"tls: { nonsense: { x: 1 } }", "tls.nonsense"},
		{"tls: { acme: { own_names: maybe } }", "tls.acme.own_names"},
	};
	struct settings s;
	struct err e = {0};

	settings_default(&s);
	cr_assert_eq(settings_parse(good, sizeof good - 1, &s, &e), 0, "%s", e.text);
	cr_assert_str_eq(s.acme.directory, "https://ca.test/dir");
	cr_assert(s.acme.terms_agreed && s.acme.own_names);
	cr_assert_eq(s.acme.challenge, SETTINGS_CHALLENGE_TLS_ALPN);
	cr_assert_eq(s.acme.hourly, 5);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		settings_default(&s);
		cr_assert_lt(settings_parse(bad[i].text, strlen(bad[i].text), &s, &e), 0, "%s", bad[i].text);
		cr_assert_str_eq(e.field, bad[i].field, "%s: %s", bad[i].text, e.text);
	}
}
