/* The node's rules in the kernel against those that it would write now.  Layer agent, supervisor process, for fsck.
 *
 * The expected table is loaded beside the real one, dormant (its chains meet no packet), and both are listed: so the
 * kernel and the library have put both into the same words.  What moves by itself is left out: counters, and the
 * elements of dynamic sets. */
#include "agent/supervise/net.h"

#include "agent/supervise/net_private.h"
#include "base/own.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Removes " packets 12 bytes 3456" behind "counter", in place. */
static void drop_counts(char *line)
{
	char *p = line;

	while ((p = strstr(p, "counter packets "))) {
		char *from = p + strlen("counter"), *end = strstr(from, " bytes ");
		if (!end)
			return;
		end += strlen(" bytes ");
		end += strspn(end, "0123456789");
		memmove(from, end, strlen(end) + 1);
		p = from;
	}
}

/* Brings a listing into the form that is compared, in place: one line after the other, without what moves. */
static void normalise(char *text)
{
	char *out = text, *next = NULL;
	bool dynamic = false, elements = false;

	for (char *line = text; line && *line; line = next) {
		size_t n = strcspn(line, "\n");
		char *start = line + strspn(line, " \t");
		next = line[n] ? line + n + 1 : NULL;
		line[n] = 0;
		if (strncmp(start, "set ", 4) == 0 || strncmp(start, "map ", 4) == 0 ||
		    strncmp(start, "chain ", 6) == 0)
			dynamic = elements = false;
		if (strstr(start, "flags dynamic"))
			dynamic = true;
		if (dynamic && strncmp(start, "elements = {", 12) == 0)
			elements = true;
		if (elements || *start == 0 || strncmp(start, "table ", 6) == 0 ||
		    strcmp(start, "flags dormant") == 0) {
			elements = elements && strchr(start, '}') == NULL;
			continue;
		}
		drop_counts(start);
		n = strlen(start);
		memmove(out, start, n);
		out += n;
		*out++ = '\n';
	}
	*out = 0;
}

/* Chains of policies stand in the order in which they came, which says nothing: the parts of a table (sets, maps,
 * chains, each up to its closing brace) are put into the order of their text.  A fresh text, owned by the caller. */
static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *sorted(char *text)
{
	size_t count = 0, cap = 0, n = strlen(text);
	char *out = malloc(n + 64), **parts = NULL, *at = out;

	for (char *p = text; out && *p;) {
		char *end = strstr(p, "\n}\n");
		if (count == cap) {
			char **more = realloc(parts, (cap = cap ? cap * 2 : 64) * sizeof *parts);
			if (!more) {
				free(out);
				out = NULL;
				break;
			}
			parts = more;
		}
		parts[count++] = p;
		if (!end)
			break;
		end[2] = 0; /* in place of the newline behind the brace */
		p = end + 3;
	}
	if (out && parts) { /* an empty listing has none */
		qsort(parts, count, sizeof *parts, by_text);
		for (size_t i = 0; i < count; i++)
			at = stpcpy(stpcpy(at, parts[i]), "\n");
	}
	if (out)
		*at = 0;
	free(parts);
	return out;
}

/* The first line in which two normalised listings differ: 0 none, 1 with both lines named. */
static int first_difference(const char *have, const char *want, char *text, size_t cap)
{
	while (*have || *want) {
		size_t h = strcspn(have, "\n"), w = strcspn(want, "\n");
		if (h != w || memcmp(have, want, h) != 0) {
			snprintf(text, cap, "\"%.*s\" where \"%.*s\" is expected", (int)(h < 60 ? h : 60), have,
				 (int)(w < 60 ? w : 60), want);
			return 1;
		}
		have += h + (have[h] != 0);
		want += w + (want[w] != 0);
	}
	return 0;
}

int net_listings_differ(char *have, char *want, char *text, size_t cap)
{
	OWN_FREE char *a = NULL, *b = NULL;

	normalise(have);
	normalise(want);
	a = sorted(have);
	b = sorted(want);
	return a && b ? first_difference(a, b, text, cap) : -ENOMEM;
}

int net_compare(const struct net *n, const struct settings *s, char *text, size_t cap)
{
	OWN_FREE char *have = NULL, *want = NULL;
	OWN_BUF struct buf rules = {0}, dormant = {0};
	struct net beside = *n; /* borrows all that n has; only its table's name differs */
	char command[160];
	struct err e = {0};
	const char *head;
	int r;

	snprintf(beside.table, sizeof beside.table, "%.42s_fsck", n->table);
	buf_init(&rules, NET_RULESET_MAX);
	buf_init(&dormant, NET_RULESET_MAX);
	r = net_rules_now(&beside, s, &rules);
	if (r < 0)
		return r;
	/* "table inet X {}", "delete table inet X", "table inet X {": the third opens it. */
	head = strstr(rules.data, " {\n");
	if (!head)
		return -EINVAL;
	buf_add(&dormant, rules.data, (size_t)(head - rules.data));
	buf_adds(&dormant, " {\nflags dormant;\n");
	buf_adds(&dormant, head + 3);
	if (dormant.failed)
		return -ENOMEM;
	snprintf(command, sizeof command, "list table inet %s", n->table);
	if (net_nft(command, &have, &e) < 0 || !have) {
		snprintf(text, cap, "the table %s is not there", n->table);
		return 1;
	}
	r = net_nft(dormant.data, NULL, &e);
	if (r == 0) {
		snprintf(command, sizeof command, "list table inet %s", beside.table);
		r = net_nft(command, &want, &e);
		snprintf(command, sizeof command, "delete table inet %s", beside.table);
		net_nft(command, NULL, NULL);
	}
	if (r < 0 || !want) {
		snprintf(text, cap, "%s", e.text);
		return r < 0 ? r : -EIO;
	}
	return net_listings_differ(have, want, text, cap);
}
