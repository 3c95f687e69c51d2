/* Limits, quotas and egress policies as columns.  Layer store, control process. */
#include "store/db.h"

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
