/* Limits, quotas and egress policies as columns.  Layer store, control process. */
#include "store/db.h"

#include <errno.h>

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
