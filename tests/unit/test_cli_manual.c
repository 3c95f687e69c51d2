/* The manual pages say all there is: every command, option and setting, and nothing that is gone. */
#include "base/fd.h"
#include "base/own.h"
#include "config/settings.h"
#include "web/cli/cli.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>

static char *page(const char *path)
{
	char *text = NULL;
	size_t n = 0;

	if (fd_read_file(AT_FDCWD, path, 1u << 20, &text, &n))
		cr_skip_test("%s: run from the top of the tree", path);
	return text;
}

/* How often `needle` is a whole line, or a line that goes on with a blank. */
static unsigned lines_with(const char *text, const char *needle)
{
	unsigned count = 0;
	size_t n = strlen(needle);

	for (const char *p = text; (p = strstr(p, needle)); p += n)
		count += (p == text || p[-1] == '\n') && (p[n] == '\n' || p[n] == ' ');
	return count;
}

Test(cli, manual_has_every_command)
{
	OWN_FREE char *text = page("deploy/man/tulou.1");
	unsigned commands = 0, items = 0;

	for (const struct cli_command *r = cli_commands; r->name; r++, commands++) {
		char item[128];

		snprintf(item, sizeof item, ".It Ic %s%s%s%s%s\n", r->name, r->sub ? " " : "", r->sub ? r->sub : "",
			 r->args[0] ? " Ar " : "", r->args);
		cr_assert(strstr(text, item), "tulou.1 lacks: %s", item);
		for (const struct cli_option *o = r->options; o && o->name; o++) {
			snprintf(item, sizeof item, "Fl -%s%s%s\n", o->name, o->arg ? " Ar " : "",
				 o->arg ? o->arg : "");
			cr_assert(strstr(text, item), "tulou.1 lacks: %s", item);
		}
	}
	items = lines_with(text, ".It Ic");
	cr_assert_eq(items, commands, "tulou.1 has %u commands, the table %u", items, commands);
	for (const struct cli_option *o = cli_globals; o->name; o++) {
		char item[64];

		snprintf(item, sizeof item, "Fl -%s", o->name);
		cr_assert(strstr(text, item), "tulou.1 lacks: %s", item);
	}
}

Test(cli, manual_has_every_limit)
{
	OWN_FREE char *text = page("deploy/man/tulou.1");
	const struct quota_key *k;

	cr_assert(strstr(text, "\n.Sh LIMITS AND QUOTAS\n"));
	for (unsigned i = 0; (k = quota_key(i)); i++) {
		char first[64], second[64];

		snprintf(first, sizeof first, "\n.It Cm %s", k->name);
		snprintf(second, sizeof second, " , %s\n", k->name);
		cr_assert(strstr(text, first) || strstr(text, second), "tulou.1 lacks the limit %s", k->name);
	}
}

Test(cli, manual_has_every_setting)
{
	OWN_FREE char *text = page("deploy/man/tulou.yaml.5");
	char item[64];
	unsigned i;

	for (i = 0; settings_key(i); i++) {
		snprintf(item, sizeof item, ".It Cm %s", settings_key(i));
		cr_assert_eq(lines_with(text, item), 1, "tulou.yaml.5 lacks %s", settings_key(i));
	}
	/* The app's own file has eight more. */
	cr_assert_eq(lines_with(text, ".It Cm"), i + 8, "tulou.yaml.5 has a setting that does not exist");
}

/* What is shown is the default, but for the addresses and domains that every node has of its own. */
Test(cli, example_settings_are_the_defaults)
{
	static struct settings s, d;
	struct err e = {0};
	const struct quota_key *k;

	free(page("deploy/settings.example.yaml"));
	cr_assert_eq(settings_load("deploy/settings.example.yaml", &s, &e), 0, "%s", e.text);
	cr_assert_str_eq(s.domain_control, "tulou.example.com");
	settings_default(&d);
	for (unsigned i = 0; (k = quota_key(i)); i++) {
		if (!quota_has(k, QUOTA_OF_LIMITS))
			continue;
		cr_assert_eq(quota_get(k, QUOTA_OF_LIMITS, &s.app), quota_get(k, QUOTA_OF_LIMITS, &d.app), "app.%s",
			     k->name);
		cr_assert_eq(quota_get(k, QUOTA_OF_LIMITS, &s.build), quota_get(k, QUOTA_OF_LIMITS, &d.build),
			     "build.%s", k->name);
	}
	cr_assert_eq(s.build_concurrent, d.build_concurrent);
	cr_assert_eq(s.build_time_ms, d.build_time_ms);
	cr_assert_eq(s.health_ms, d.health_ms);
	cr_assert_eq(s.drain_ms, d.drain_ms);
	cr_assert_eq(s.grace_ms, d.grace_ms);
	cr_assert_str_eq(s.data, d.data);
	cr_assert_str_eq(s.runtime, d.runtime);
	cr_assert_str_eq(s.cgroup, d.cgroup);
	cr_assert_str_eq(s.link_prefix, d.link_prefix);
	cr_assert(s.pool_net == d.pool_net && s.pool_prefix == d.pool_prefix, "network.pool");
	cr_assert_eq(s.proxy_workers, d.proxy_workers);
	cr_assert(s.throttle == d.throttle && s.confine == d.confine, "scheduler");
	cr_assert(s.disk_backend == d.disk_backend && s.disk_pool == d.disk_pool &&
			  s.disk_write_rate == d.disk_write_rate,
		  "disk");
	cr_assert(s.https_count == d.https_count && s.proxy_from_count == d.proxy_from_count, "listen");
	cr_assert_eq(memcmp(&s.acme, &d.acme, sizeof s.acme), 0, "tls.acme");
}

/* Whether a row of the command takes the option, "--time" or "-f". */
static bool takes_option(const char *command, const char *word)
{
	const struct cli_option *lists[128] = {cli_globals};
	size_t n = 1;

	for (const struct cli_command *r = cli_commands; r->name && n < 128; r++)
		if (strcmp(r->name, command) == 0 && r->options)
			lists[n++] = r->options;
	for (size_t i = 0; i < n; i++)
		for (const struct cli_option *o = lists[i]; o->name; o++)
			if (word[1] == '-' ? strcmp(o->name, word + 2) == 0 : o->letter == word[1])
				return true;
	return false;
}

/* "tulou WORD WORD" in a text: the command is there, and so is its second word or option. */
static unsigned check_commands(const char *path, const char *text)
{
	unsigned found = 0;

	for (const char *p = text; (p = strstr(p, "tulou ")); p += 6) {
		char word[32] = "", next[32] = "";
		bool known = false, words = false, sub = false;

		if (p > text && !strchr(" \n`(\"", p[-1]))
			continue;
		/* .Xr and .Nm name the program, no command of its. */
		if (p - text > 4 && (strncmp(p - 4, ".Xr ", 4) == 0 || strncmp(p - 4, ".Nm ", 4) == 0))
			continue;
		if (sscanf(p + 6, "%31[a-z]%*[ ]%31[a-z-]", word, next) < 1)
			continue;
		found++;
		for (const struct cli_command *r = cli_commands; r->name; r++) {
			if (strcmp(r->name, word) != 0)
				continue;
			known = true;
			words = words || (!r->sub && r->max > 0);
			sub = sub || (r->sub && strcmp(r->sub, next) == 0);
		}
		cr_assert(known, "%s: there is no command: tulou %s %s", path, word, next);
		if (next[0] == '-' && strcmp(next, "--") != 0)
			cr_assert(takes_option(word, next), "%s: there is no option: tulou %s %s", path, word, next);
		else if (next[0] && next[0] != '-')
			cr_assert(sub || words, "%s: there is no command: tulou %s %s", path, word, next);
	}
	return found;
}

Test(cli, documents_name_commands_that_exist)
{
	static const char *const paths[] = {
		"deploy/man/tulou.1", "deploy/man/tulou-app.5", "deploy/man/tulou.yaml.5",     "deploy/man/tuloud.8",
		"README.md",	      "deploy/README.md",	"deploy/settings.example.yaml"};
	unsigned found = 0;

	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		OWN_FREE char *text = page(paths[i]);

		found += check_commands(paths[i], text);
	}
	cr_assert_geq(found, 30, "only %u are found", found);
}
