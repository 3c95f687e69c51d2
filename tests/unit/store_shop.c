/* Declared in store_shop.h. */
#include "tests/unit/store_shop.h"

#include "base/fd.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct quota_limits shop_limits = {.memory = 64 << 20,
					 .disk = 64 << 20,
					 .cpu = 100,
					 .pids = 16,
					 .nofile = 256,
					 .net_packets = 20000,
					 .inodes = 4096,
					 .cpu_weight = 100,
					 .io_weight = 100};

void shop_open(struct shop *x)
{
	memset(x, 0, sizeof *x);
	snprintf(x->dir, sizeof x->dir, "/tmp/tulou-store-XXXXXX");
	cr_assert_not_null(mkdtemp(x->dir));
	cr_assert_eq(store_open(x->dir, &x->s, &x->e), 0, "%s", x->e.text);
	cr_assert_eq(store_tenant_add(x->s, "acme", NULL, &x->t, &x->e), 0, "%s", x->e.text);
	cr_assert_eq(store_app_add(x->s, x->t.id, "shop", &shop_limits, true, &x->a, &x->e), 0, "%s", x->e.text);
}

void shop_reopen(struct shop *x)
{
	store_close(x->s);
	cr_assert_eq(store_open(x->dir, &x->s, &x->e), 0, "%s", x->e.text);
}

void shop_close(struct shop *x)
{
	store_close(x->s);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, x->dir), 0);
}
