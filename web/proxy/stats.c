/* The statistics segment: making, mapping, summing.  Layer web; supervisor makes it, proxies write, control reads. */
#include "web/proxy/stats.h"

#include "web/proxy/fault_kind.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(FAULT_TIME - FAULT_PATH + 1 == STATS_REFUSALS, "a counter for each refusal");

int stats_create(void)
{
	int fd = memfd_create("tulou-stats", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)sizeof(struct stats_segment)) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

struct stats_segment *stats_map(int fd, int writable)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) < 0)
		return NULL;
	if ((size_t)st.st_size != sizeof(struct stats_segment)) {
		errno = EINVAL;
		return NULL;
	}
	p = mmap(NULL, sizeof(struct stats_segment), PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static inline uint64_t stats_load(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

const char *stats_refusal_name(unsigned i)
{
	static const char *const names[STATS_REFUSALS] = {"ambiguous-path",    "address-refused",  "maintenance",
							  "auth-required",     "too-many-guesses", "client-rate",
							  "app-rate",	       "tenant-rate",	   "app-concurrent",
							  "tenant-concurrent", "body-too-large",   "time-over"};

	return i < STATS_REFUSALS ? names[i] : "?";
}

void stats_sum_app(struct stats_segment *s, uint32_t slot, struct stats_sum *ret)
{
	memset(ret, 0, sizeof *ret);
	if (slot >= LIMIT_APPS)
		return;
	for (unsigned w = 0; w < LIMIT_WORKERS; w++) {
		struct stats_row *r = &s->row[w][slot];
		uint64_t last;
		/* Reading a hole of a memfd fills it, and most apps have rows of few workers. */
		if (!(stats_load(&s->touched[w][slot / 64]) >> slot % 64 & 1))
			continue;
		last = stats_load(&r->last_ms);
		ret->requests += stats_load(&r->requests);
		for (unsigned i = 0; i < 6; i++)
			ret->status[i] += stats_load(&r->status[i]);
		ret->bytes_in += stats_load(&r->bytes_in);
		ret->bytes_out += stats_load(&r->bytes_out);
		ret->duration_us += stats_load(&r->duration_us);
		ret->upstream_us += stats_load(&r->upstream_us);
		ret->queue_us += stats_load(&r->queue_us);
		for (unsigned i = 0; i < STATS_BUCKETS; i++) {
			ret->bucket[i] += stats_load(&r->bucket[i]);
			ret->upstream[i] += stats_load(&r->upstream[i]);
			ret->queue[i] += stats_load(&r->queue[i]);
		}
		for (unsigned i = 0; i < STATS_SIZES; i++) {
			ret->in[i] += stats_load(&r->in[i]);
			ret->out[i] += stats_load(&r->out[i]);
		}
		for (unsigned i = 0; i < STATS_REFUSALS; i++)
			ret->refused[i] += stats_load(&r->refused[i]);
		ret->canary += stats_load(&r->canary);
		ret->canary_errors += stats_load(&r->canary_errors);
		ret->upstream_errors += stats_load(&r->upstream_errors);
		ret->waited += stats_load(&r->waited);
		ret->in_flight += atomic_load_explicit(&r->in_flight, memory_order_relaxed);
		if (last > ret->last_ms)
			ret->last_ms = last;
	}
}
