/* Limits, quotas and policies for people.  Layer web, program tulou. */
#include "web/cli/numbers.h"

#include "base/json.h"
#include "base/own.h"
#include "web/cli/cli.h"
#include "web/cli/out.h"

#include <string.h>

const char *cli_numbers_text(char out[QUOTA_TEXT], const struct quota_key *k, json_t *obj)
{
	json_t *v = json_object_get(obj, k->json);
	double n = json_number_value(v);

	if (!json_is_number(v) || !(n >= 0) || n > 1e18)
		snprintf(out, QUOTA_TEXT, "-");
	else
		quota_text(k, (uint64_t)((k->unit == QUOTA_CPU ? n * 1000 : n) + 0.5), out);
	return out;
}

void cli_numbers_print(enum quota_of of, json_t *obj)
{
	const struct quota_key *k;
	char text[QUOTA_TEXT];

	for (unsigned i = 0; (k = quota_key(i)); i++)
		if (quota_has(k, of))
			cli_pair(k->name, "%s", cli_numbers_text(text, k, obj));
}

const char *cli_numbers_egress(char out[CLI_EGRESS_TEXT], json_t *egress)
{
	const char *mode = cli_str(egress, "mode");
	json_t *item;
	size_t i, n;

	n = (size_t)snprintf(out, CLI_EGRESS_TEXT, "%.20s",
			     strcmp(mode, "public") == 0 ? "public addresses"
			     : strcmp(mode, "none") == 0 ? "none"
							 : "only");
	json_array_foreach(json_object_get(egress, "allow"), i, item)
	{
		if (n + QUOTA_EGRESS_TEXT + 2 < CLI_EGRESS_TEXT)
			n += (size_t)snprintf(out + n, CLI_EGRESS_TEXT - n, "%s%.*s", i ? ", " : " ", QUOTA_EGRESS_TEXT,
					      json_string_value(item));
	}
	return out;
}

const char *cli_numbers_effective(char out[CLI_EGRESS_TEXT], json_t *app)
{
	json_t *has = json_object_get(app, "egress_effective");
	const char *why = cli_str(has, "why");
	size_t n;

	cli_numbers_egress(out, json_is_object(has) ? has : json_object_get(app, "egress"));
	n = strlen(out);
	if (*why)
		snprintf(out + n, CLI_EGRESS_TEXT - n, " (%.60s)", why);
	return out;
}

/* Of the quota, what may still be committed; "-" for what is shared instead: a sum above the limit is no
 * refusal there. */
static const char *left_text(char out[QUOTA_TEXT], const struct quota_key *k, json_t *quota, json_t *used)
{
	double all = json_number_value(json_object_get(quota, k->json)),
	       is = json_number_value(json_object_get(used, k->json));
	OWN_JSON json_t *left = NULL;

	if (k->unit != QUOTA_CPU && strcmp(k->name, "swap") != 0 && json_object_get(quota, k->json) &&
	    json_object_get(used, k->json))
		left = json_pack("{s:f}", k->json, is < all ? all - is : 0.0);
	return cli_numbers_text(out, k, left);
}

bool cli_numbers_own(json_t *tenant, const char *key)
{
	json_t *name;
	size_t i;

	json_array_foreach(json_object_get(tenant, "own"), i, name)
	{
		if (json_is_string(name) && strcmp(json_string_value(name), key) == 0)
			return true;
	}
	return false;
}

void cli_numbers_shares(struct cli *c, json_t *tenant)
{
	static const char *const heads[] = {"QUOTA OF", ">IN USE", ">COMMITTED", ">LEFT", ">LIMIT", "FROM"};
	bool plan = *cli_str(tenant, "plan");
	json_t *quota = json_object_get(tenant, "quota"), *used = json_object_get(tenant, "used"),
	       *usage = json_object_get(tenant, "usage");
	struct cli_table *t = cli_table_new(ARRAY_LEN(heads), heads);
	const struct quota_key *k;
	char is[QUOTA_TEXT], committed[QUOTA_TEXT], left[QUOTA_TEXT], limit[QUOTA_TEXT];

	for (unsigned i = 0; (k = quota_key(i)); i++)
		if (quota_has(k, QUOTA_OF_TENANT))
			cli_table_add(t, k->name, cli_numbers_text(is, k, usage), cli_numbers_text(committed, k, used),
				      left_text(left, k, quota, used), cli_numbers_text(limit, k, quota),
				      !plan				 ? "-"
				      : cli_numbers_own(tenant, k->json) ? "set"
									 : "plan");
	cli_table_print(c, t, "");
}

/* How a list of {"app", "tenant", a: limits, b: limits or quota} is shown. */
struct print_pairs {
	const char *key, *title;
	const char *heads[4]; /* of app (or tenant), number, a, b */
	const char *a, *b;
	bool of_tenants;
};

/* A row for each number of each item. */
static void print_pairs(struct cli *c, json_t *answer, bool tenants, const struct print_pairs *p)
{
	const char *const heads[] = {p->heads[0], p->heads[1], p->heads[2], p->heads[3], "TENANT"};
	char one[QUOTA_TEXT], other[QUOTA_TEXT], more_key[24];
	json_t *list = json_object_get(answer, p->key), *item;
	const struct quota_key *k;
	struct cli_table *t;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	t = cli_table_new(ARRAY_LEN(heads) - (p->of_tenants || !tenants), heads);
	json_array_foreach(list, i, item)
	{
		json_t *a = json_object_get(item, p->a), *b = json_object_get(item, p->b);

		for (unsigned n = 0; (k = quota_key(n)); n++)
			if (json_object_get(a, k->json))
				cli_table_add(t, cli_str(item, p->of_tenants ? "tenant" : "app"), k->name,
					      cli_numbers_text(one, k, a), cli_numbers_text(other, k, b),
					      cli_str(item, "tenant"));
	}
	cli_say("\n%s\n", p->title);
	cli_table_print(c, t, "");
	snprintf(more_key, sizeof more_key, "%s_more", p->key);
	if (json_object_get(answer, more_key))
		cli_say("and %.0f more %s%s\n", cli_num(answer, more_key), p->of_tenants ? "tenant" : "app",
			cli_num(answer, more_key) == 1 ? "" : "s");
}

void cli_numbers_lowered(struct cli *c, json_t *answer, bool tenants)
{
	static const struct print_pairs lists[] = {
		{"lowered",
		 "These apps' limits follow the tenant's, and fell with them:",
		 {"LOWERED", "LIMIT", ">WAS", ">IS"},
		 "from",
		 "to",
		 false},
		{"raised",
		 "These apps' limits follow the tenant's, and rose with them:",
		 {"RAISED", "LIMIT", ">WAS", ">IS"},
		 "from",
		 "to",
		 false},
		{"above",
		 "These apps' own limits are above the quota. They start no new instance until one of both is changed: "
		 "tulou apps limits KEY=VALUE -a APP",
		 {"ABOVE", "LIMIT", ">HAS", ">QUOTA"},
		 "limits",
		 "quota",
		 false},
		{"over",
		 "More is committed than these totals. What runs stays, but nothing more starts, in a restart or "
		 "deploy "
		 "neither, until less is:\ntulou scale TYPE=N -a APP, tulou apps limits KEY=VALUE -a APP; or a higher "
		 "total: tulou tenants quota TENANT KEY=VALUE",
		 {"OVER", "TOTAL", ">COMMITTED", ">LIMIT"},
		 "committed",
		 "limit",
		 true},
	};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		print_pairs(c, answer, tenants, &lists[i]);
}

void cli_numbers_clamped(json_t *plan)
{
	json_t *clamped = json_object_get(plan, "clamped");
	json_t *limits = json_object_get(clamped, "limits"), *quota = json_object_get(clamped, "quota");
	char one[QUOTA_TEXT], all[QUOTA_TEXT];
	const struct quota_key *k;

	for (unsigned i = 0; (k = quota_key(i)); i++)
		if (json_object_get(limits, k->json))
			cli_say("\napp.%s=%s is above the plan's %s=%s: an instance gets %s.", k->name,
				cli_numbers_text(one, k, limits), k->name, cli_numbers_text(all, k, quota), all);
	if (json_object_size(limits) > 0)
		cli_say("\n");
}
