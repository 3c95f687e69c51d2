/* Limits, quotas and egress policies as columns.  Layer store, control process. */
#include "store/db.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void db_numbers_read(struct db_query *q, int column, enum quota_of of, void *ret)
{
	const struct quota_key *k;

	for (unsigned i = 0; (k = quota_key(i)); i++)
		if (quota_has(k, of))
			quota_set(k, of, ret, (uint64_t)db_int(q, column++));
}

size_t db_numbers_args(enum quota_of of, const void *p, struct db_arg *args)
{
	const struct quota_key *k;
	size_t n = 0;

	for (unsigned i = 0; (k = quota_key(i)); i++)
		if (quota_has(k, of))
			args[n++] = DB_I(quota_get(k, of, p));
	return n;
}

void db_own_text(uint32_t own, char out[DB_OWN_TEXT])
{
	size_t n = 0;

	out[0] = 0;
	for (unsigned i = 0; i < MODEL_OWN_BITS; i++) {
		const char *name = own & 1u << i ? model_own_name(i, false) : NULL;
		if (name && n < DB_OWN_TEXT)
			n += (size_t)snprintf(out + n, DB_OWN_TEXT - n, "%s%s", n ? " " : "", name);
	}
}

uint32_t db_own_read(struct db_query *q, int column)
{
	char text[DB_OWN_TEXT], *save = NULL;
	uint32_t own = 0;

	db_text(q, column, text, sizeof text);
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		for (unsigned i = 0; i < MODEL_OWN_BITS; i++) {
			const char *name = model_own_name(i, false);
			own |= name && strcmp(name, word) == 0 ? 1u << i : 0;
		}
	}
	return own;
}

void db_egress(struct db_query *q, int column, struct quota_egress *ret)
{
	char text[QUOTA_EGRESS_MAX];

	db_text(q, column, text, sizeof text);
	if (quota_egress_read(text, ret) < 0)
		*ret = (struct quota_egress){.mode = QUOTA_EGRESS_NONE};
}

int db_policy_check(uint32_t profile, const struct quota_egress *egress, struct err *e)
{
	if (profile >= QUOTA_PROFILE_COUNT)
		return err_field(e, EINVAL, "profile", "profile: there is no such profile");
	if (egress->mode >= QUOTA_EGRESS_MODE_COUNT)
		return err_field(e, EINVAL, "egress.mode", "egress.mode: there is no such mode");
	if (egress->count > LIMIT_EGRESS_RULES || (egress->count && egress->mode != QUOTA_EGRESS_LIST))
		return err_field(e, EINVAL, "egress.allow",
				 "egress.allow: at most %d destinations, and only with the mode \"list\"",
				 LIMIT_EGRESS_RULES);
	return 0;
}
