/* Output for people, streams, what people write. */
#include "base/own.h"
#include "web/cli/fields.h"
#include "web/cli/out.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static char *text_of(const char *in, size_t n)
{
	char *out = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&out, &len);

	cli_text(f, in, n);
	fclose(f);
	return out;
}

Test(cli, text_of_others_moves_no_cursor)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"plain\tand\nlines\n", "plain\tand\nlines\n"},
		{"\033[31mred\033[0m", "red"},
		{"\033[2Jgone", "\\x1b[2Jgone"},
		{"\033]0;title\007", "\\x1b]0;title\\x07"},
		{"10%\r20%\r\n", "10%\n20%\n"},
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
		{"bad\xff", "bad\\xff"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		OWN_FREE char *out = text_of(cases[i].in, strlen(cases[i].in));

		cr_assert_str_eq(out, cases[i].out);
	}
}

Test(cli, long_text_keeps_its_characters)
{
	OWN_FREE char *in = malloc(9001), *out = NULL;

	for (size_t i = 0; i < 9000; i += 3)
		memcpy(in + i, "\xe5\x9c\x9f", 3);
	in[9000] = 0;
	out = text_of(in, 9000);
	cr_assert_str_eq(out, in);
}

Test(cli, figures)
{
	char b[32];

	cr_assert_str_eq(cli_bytes(b, 0), "0 B");
	cr_assert_str_eq(cli_bytes(b, 1023), "1023 B");
	cr_assert_str_eq(cli_bytes(b, 1536), "1.5 KiB");
	cr_assert_str_eq(cli_bytes(b, 256.0 * 1048576), "256 MiB");
	cr_assert_str_eq(cli_bytes(b, 4.0 * 1073741824), "4 GiB");
	cr_assert_str_eq(cli_bytes(b, -1), "-");
	cr_assert_str_eq(cli_plain(b, 0.25), "0.25");
	cr_assert_str_eq(cli_plain(b, 2), "2");
}

Test(cli, times)
{
	char b[32];

	cr_assert_str_eq(cli_ago(b, "2026-01-01T00:00:00Z", 1767225600), "just now");
	cr_assert_str_eq(cli_ago(b, "2026-01-01T00:00:00.123Z", 1767225600 + 90), "90 s ago");
	cr_assert_str_eq(cli_ago(b, "2026-01-01T00:00:00Z", 1767225600 + 3600), "60 min ago");
	cr_assert_str_eq(cli_ago(b, "2026-01-01T00:00:00Z", 1767225600 + 86400 * 3), "3 days ago");
	cr_assert_str_eq(cli_ago(b, "", 0), "-");
}

struct got {
	unsigned n;
	char text[256];
};

static int on_event(void *arg, const char *id, const char *kind, const char *data, size_t n)
{
	struct got *g = arg;

	g->n++;
	snprintf(g->text + strlen(g->text), sizeof g->text - strlen(g->text), "[%s|%s|%.*s]", id, kind, (int)n, data);
	return 0;
}

Test(cli, server_sent_events_in_any_pieces)
{
	static const char stream[] =
		": hello\n\nid: 7\nevent: app.created\ndata: {\"a\":1}\n\ndata: one\r\ndata:two\n\n: beat\n\n";

	for (size_t piece = 1; piece < sizeof stream; piece++) {
		struct got g = {0};
		struct cli_sse s;

		cli_sse_init(&s, on_event, &g);
		for (size_t i = 0; i < sizeof stream - 1; i += piece)
			cr_assert_eq(cli_sse_feed(&s, stream + i,
						  i + piece < sizeof stream - 1 ? piece : sizeof stream - 1 - i),
				     0);
		cli_sse_done(&s);
		cr_assert_eq(g.n, 2);
		cr_assert_str_eq(g.text, "[7|app.created|{\"a\":1}][7||one\ntwo]");
	}
}

static int on_line(void *arg, char *line, size_t n)
{
	unsigned *count = arg;

	cr_assert_eq(strlen(line), n);
	return ++*count == 2 ? 5 : 0;
}

Test(cli, lines_end_when_asked_and_at_their_limit)
{
	unsigned count = 0;
	struct cli_lines l = {.on_line = on_line, .arg = &count};
	OWN_FREE char *big = malloc(CLI_LINE_MAX);

	cr_assert_eq(cli_lines_feed(&l, "a\nb\nc\n", 6), 5);
	cr_assert_eq(count, 2);
	memset(big, 'x', CLI_LINE_MAX);
	cr_assert_eq(cli_lines_feed(&l, big, CLI_LINE_MAX), -1);
	cli_lines_done(&l);
}

Test(cli, limits_as_people_write_them)
{
	char a[] = "memory=256MiB", b[] = "cpu=0.5", d[] = "pids=64", r[] = "net-in=unlimited", w[] = "io_weight=10";
	char *good[] = {a, b, d, r, w};
	json_t *j = json_object();
	struct err e = {0};

	cr_assert_eq(cli_fields_limits(j, QUOTA_OF_LIMITS, good, 5, &e), 0, "%s", e.text);
	cr_assert_eq(json_integer_value(json_object_get(j, "memory_bytes")), 256 << 20);
	cr_assert_float_eq(json_real_value(json_object_get(j, "cpu")), 0.5, 1e-9);
	cr_assert_eq(json_integer_value(json_object_get(j, "pids")), 64);
	cr_assert(json_is_integer(json_object_get(j, "net_in_rate")));
	cr_assert_eq(json_integer_value(json_object_get(j, "io_weight")), 10);
	for (size_t i = 0; i < 9; i++) {
		static const char *const bad[] = {"memory", "memory=", "=1",	   "memory=x",	      "cpu=nan",
						  "cpu=-1", "apps=1",  "pids=1.5", "memory=unlimited"};
		char word[32];
		char *list[] = {word};

		snprintf(word, sizeof word, "%s", bad[i]);
		cr_assert_eq(cli_fields_limits(j, QUOTA_OF_LIMITS, list, 1, &e), -EINVAL, "%s", bad[i]);
	}
	json_decref(j);
}

Test(cli, plans_as_people_write_them)
{
	char a[] = "memory=2GiB", b[] = "app.memory=128MiB", p[] = "profile=strict", l[] = "private-layers=yes",
	     g[] = "egress=203.0.113.0/24:443,198.51.100.7", plan[] = "plan=none", apps[] = "apps=3";
	char *words[] = {a, b, p, l, g, apps}, *off[] = {plan}, *wrong[] = {b};
	char be[] = "egress=plan", bp[] = "private-layers=plan", bm[] = "memory=plan", *back[] = {be, bp, bm};
	json_t *j = json_object(), *t = json_object();
	struct err e = {0};

	cr_assert_eq(cli_fields_policy(j, words, 6, CLI_FIELDS_OF_PLAN, &e), 0, "%s", e.text);
	cr_assert_eq(json_integer_value(json_object_get(json_object_get(j, "quota"), "memory_bytes")), 2ll << 30);
	cr_assert_eq(json_integer_value(json_object_get(json_object_get(j, "limits"), "memory_bytes")), 128 << 20);
	cr_assert(json_is_true(json_object_get(j, "private_layers")));
	cr_assert_eq(json_array_size(json_object_get(json_object_get(j, "egress"), "allow")), 2);
	cr_assert_eq(cli_fields_policy(j, off, 1, CLI_FIELDS_OF_PLAN, &e), -EINVAL, "a plan has no plan");
	cr_assert_eq(cli_fields_policy(t, off, 1, CLI_FIELDS_OF_TENANT, &e), 0);
	cr_assert(json_is_null(json_object_get(t, "plan")));
	cr_assert_eq(cli_fields_policy(t, back, 3, CLI_FIELDS_OF_TENANT, &e), 0, "%s", e.text);
	cr_assert(json_is_null(json_object_get(t, "egress")) && json_is_null(json_object_get(t, "private_layers")));
	cr_assert(json_is_null(json_object_get(json_object_get(t, "quota"), "memory_bytes")));
	cr_assert_eq(cli_fields_policy(t, wrong, 1, CLI_FIELDS_OF_TENANT, &e), -EINVAL);
	cr_assert_null(cli_fields_egress("example.com", &e));
	/* Refused here already, by the name that was written. */
	cr_assert_eq(cli_fields_limit(t, QUOTA_OF_TENANT, "memory", "1", &e), -EINVAL);
	cr_assert_str_eq(e.text, "memory: 1 byte is outside 8 MiB to 4 TiB");
	cr_assert_eq(cli_fields_limit(t, QUOTA_OF_TENANT, "pids", "many", &e), -EINVAL);
	cr_assert(strstr(e.text, "pids: \"many\" is not a whole number from 4 to"), "%s", e.text);
	cr_assert_eq(cli_fields_limit(t, QUOTA_OF_TENANT, "log-rate", "-1", &e), -EINVAL);
	cr_assert(strstr(e.text, "log-rate: \"-1\" is not a whole number from 0 to"), "%s", e.text);
	cr_assert_eq(cli_fields_limit(t, QUOTA_OF_TENANT, "processes", "20", &e), -EINVAL);
	cr_assert(strstr(e.text, "NAME=plan"), "%s", e.text);
	cr_assert(strstr(e.text, "did you mean 'pids'"), "%s", e.text);
	cr_assert_eq(cli_fields_limit(t, QUOTA_OF_TENANT, "memry", "1GiB", &e), -EINVAL);
	cr_assert(strstr(e.text, "did you mean 'memory'"), "%s", e.text);
	json_decref(j);
	json_decref(t);
}

/* A refused word is named as it was written, with its value; what there is instead is what the command takes. */
Test(cli, plan_words_that_are_refused)
{
	static const char *const bad[][2] = {
		{"app.cpu=0.00001", "app.cpu: 0.00001 cores is outside 0.01 cores to "},
		{"app.cpu=many", "app.cpu: 'many' is not a number of cores"},
		{"app.memory=1KiB", "app.memory: 1 KiB is outside 8 MiB to "},
		{"app.net_packets=5", "app.net_packets: 5 is outside "},
		{"app.memry=1GiB",
		 "there is no limit 'app.memry'; did you mean 'app.memory'; names after app.: memory, "},
		{"app.apps=1", "there is no limit 'app.apps'"},
		{"mem=1GiB", "there is no limit 'mem'; did you mean 'memory'; names: memory, "},
		{"mem=1GiB", "profile, private-layers, egress; app.NAME, like app.memory, is for each instance"},
		{"profle=strict", "did you mean 'profile'"},
		{"memory=plan", "memory: \"plan\""},
		{"egress=foo", "egress: must be none, public or destinations like"},
		{"egress=foo", "not \"foo\""},
		{"egress=1.2.3", "egress: \"1.2.3\" is no IPv4 address"},
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		json_t *j = json_object();
		struct err e = {0};
		char word[48], *list[] = {word};

		snprintf(word, sizeof word, "%s", bad[i][0]);
		cr_assert_eq(cli_fields_policy(j, list, 1, CLI_FIELDS_OF_PLAN, &e), -EINVAL, "%s", word);
		cr_assert(strstr(e.text, bad[i][1]), "%s: %s", word, e.text);
		cr_assert_null(strstr(e.text, "NAME=plan"), "%s: %s", word, e.text);
		cr_assert_lt(strlen(e.text), sizeof e.text - 1, "it is whole");
		json_decref(j);
	}
	json_t *t = json_object();
	struct err e = {0};
	char word[] = "mem=1GiB", *list[] = {word};

	cr_assert_eq(cli_fields_policy(t, list, 1, CLI_FIELDS_OF_TENANT, &e), -EINVAL);
	cr_assert(strstr(e.text, "egress, plan; NAME=plan gives"), "%s", e.text);
	cr_assert_lt(strlen(e.text), sizeof e.text - 1, "it is whole");
	json_decref(t);
}

Test(cli, formations_and_config)
{
	char web[] = "web=2", over[] = "web=101", upper[] = "Web=1", none[] = "web";
	char pair[] = "KEY=a=b", digit[] = "1KEY=x", blank[] = "A B=x", key[] = "KEY";
	char *bad[] = {over, upper, none}, *bad_config[] = {digit, blank, key};
	json_t *j = json_object();
	struct err e = {0};

	cr_assert_eq(cli_fields_formation(j, (char *[]){web}, 1, &e), 0);
	cr_assert_eq(json_integer_value(json_object_get(j, "web")), 2);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_eq(cli_fields_formation(j, bad + i, 1, &e), -EINVAL, "%s", bad[i]);
	cr_assert_eq(cli_fields_config(j, (char *[]){pair}, 1, false, &e), 0);
	cr_assert_str_eq(json_string_value(json_object_get(j, "KEY")), "a=b");
	for (size_t i = 0; i < ARRAY_LEN(bad_config); i++)
		cr_assert_eq(cli_fields_config(j, bad_config + i, 1, false, &e), -EINVAL, "%s", bad_config[i]);
	cr_assert_eq(cli_fields_config(j, (char *[]){key}, 1, true, &e), 0);
	cr_assert(json_is_null(json_object_get(j, "KEY")));
	json_decref(j);
}
