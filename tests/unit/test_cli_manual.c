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

Test(cli, example_settings_are_good)
{
	struct settings s;
	struct err e = {0};

	free(page("deploy/settings.example.yaml"));
	cr_assert_eq(settings_load("deploy/settings.example.yaml", &s, &e), 0, "%s", e.text);
	cr_assert_str_eq(s.domain_control, "tulou.example.com");
}
