/* A store with one tenant and one app, for the tests of the store's verbs. */
#ifndef TULOU_TESTS_STORE_SHOP_H
#define TULOU_TESTS_STORE_SHOP_H

#include "store/store.h"

struct shop {
	char dir[32];
	struct store *s;
	struct model_tenant t;
	struct model_app a;
	struct err e;
};

/* The limits of its app. */
extern const struct quota_limits shop_limits;

void shop_open(struct shop *x);
void shop_reopen(struct shop *x);
void shop_close(struct shop *x);

/* Ids of a walk; it stops behind so many when stop_at is not 0. */
struct ids {
	int64_t id[512];
	unsigned n, stop_at;
};

#define IDS_FN(name, type)                                                                                             \
	static int name(void *arg, const type *row)                                                                    \
	{                                                                                                              \
		struct ids *ids = arg;                                                                                 \
		ids->id[ids->n++] = row->id;                                                                           \
		return ids->stop_at && ids->n == ids->stop_at ? 77 : 0;                                                \
	}

#endif
