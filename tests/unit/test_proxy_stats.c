/* The statistics segment, and the tables of the channel. */
#include "web/proxy/messages.h"
#include "web/proxy/stats.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

Test(proxy, stats_are_shared_and_summed)
{
	int fd = stats_create();
	struct stats_segment *w = stats_map(fd, 1), *r = stats_map(fd, 0);
	struct stats_sum sum;

	cr_assert(fd >= 0 && w && r);
	atomic_store(&w->touched[0][17 / 64], 1ull << 17);
	atomic_store(&w->touched[3][17 / 64], 1ull << 17);
	atomic_store(&w->row[0][17].requests, 5);
	atomic_store(&w->row[3][17].requests, 7);
	atomic_store(&w->row[3][17].status[2], 7);
	atomic_store(&w->row[3][17].in_flight, 2);
	atomic_store(&w->row[0][17].last_ms, 900);
	atomic_store(&w->row[3][17].last_ms, 800);
	stats_sum_app(r, 17, &sum);
	cr_assert(sum.requests == 12 && sum.status[2] == 7 && sum.in_flight == 2 && sum.last_ms == 900);
	stats_sum_app(r, 18, &sum);
	cr_assert_eq(sum.requests, 0u);
	stats_sum_app(r, LIMIT_APPS, &sum);
	cr_assert_eq(sum.requests, 0u);
	munmap(w, sizeof *w);
	munmap(r, sizeof *r);
	close(fd);
}

Test(proxy, stats_segment_is_sparse_and_sealed)
{
	int fd = stats_create();
	struct stats_segment *r = stats_map(fd, 0);
	struct stats_sum sum;
	struct stat st;

	for (uint32_t slot = 0; slot < LIMIT_APPS; slot++)
		stats_sum_app(r, slot, &sum);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_lt(st.st_blocks * 512, 1 << 20, "reading must not fill it");
	cr_assert_lt(ftruncate(fd, 4096), 0);
	cr_assert_null(stats_map(STDIN_FILENO, 0));
	munmap(r, sizeof *r);
	close(fd);
}

Test(proxy, tables_permit_exactly_what_is_listed)
{
	cr_assert_eq(proxy_rules_from_control_count, (size_t)(PROXY_WATCH_DEL - PROXY_SYNC_BEGIN + 1));
	cr_assert_eq(proxy_rules_from_proxy_count, (size_t)(PROXY_WATCH_DONE - PROXY_BARRIER_DONE + 1));
	for (size_t i = 0; i < proxy_rules_from_control_count; i++) {
		const struct chan_rule *r = &proxy_rules_from_control[i];
		cr_assert_eq(r->type, PROXY_SYNC_BEGIN + i);
		cr_assert((r->min == r->max || r->type == PROXY_FRONT) && r->max <= CHAN_BODY_MAX);
		cr_assert_eq(r->fds_min, r->type == PROXY_CERT || r->type == PROXY_STAPLE);
		cr_assert_eq(r->fds_max, r->type == PROXY_CERT || r->type == PROXY_STAPLE || r->type == PROXY_INSTANCE);
	}
}
