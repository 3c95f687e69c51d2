/* What an instance may use, what a tenant may use in all, and the table that describes every one of these numbers once:
 * database, API, command line and checks go through it.  Layer config, any process.
 *
 *   limits   of one instance; an app has a set, or follows its tenant's plan
 *   quota    of a tenant together: a level above its instances, held by the kernel (control groups, queues) where it
 *            can, else by admission (scheduler/)
 *
 * A rate of 0 means "not limited here": the level above still holds.  Packets have no such 0: only where they begin
 * does a bound spare the neighbours, so every instance has one. */
#ifndef TULOU_CONFIG_QUOTA_H
#define TULOU_CONFIG_QUOTA_H

#include "base/err.h"
#include "config/limits.h"

#include <stdbool.h>
#include <stdint.h>

/* One instance. */
struct quota_limits {
	uint64_t memory;	    /* bytes, with what its tmpfs hold */
	uint64_t swap;		    /* bytes beside memory */
	uint64_t disk;		    /* bytes of the private writable layer with /tmp */
	uint64_t io_read, io_write; /* bytes a second from and to the disk */
	uint64_t net_in, net_out;   /* bytes a second */
	uint64_t net_packets;	    /* a second that it may send; those of TCP connections that exist do not count */
	uint32_t inodes;	    /* of the private writable layer */
	uint32_t cpu;		    /* thousandths of one CPU */
	uint32_t cpu_burst;	    /* thousandths of one CPU that may be saved up for one period of 100 ms */
	uint32_t cpu_weight, io_weight; /* share under contention, among the tenant's own instances: 1..10000 */
	uint32_t pids;			/* processes and threads */
	uint32_t nofile;		/* open descriptors of each process */
	uint32_t log_rate;		/* lines a second */
};

/* A tenant, all its instances together. */
struct quota {
	uint64_t memory; /* a build may use as much beside it */
	uint64_t swap;
	uint64_t disk; /* releases, repositories, caches, and the writable layers' limits */
	uint64_t io_read, io_write, net_in, net_out, net_packets;
	uint32_t inodes; /* of the writable layers */
	uint32_t cpu, cpu_burst, cpu_weight, io_weight, pids, log_rate;
	uint32_t apps, instances;
	uint32_t requests;   /* a second at the front door, all apps together; twice as many at once */
	uint32_t concurrent; /* requests at a time, all apps together; 0: as many as come */
};

enum quota_unit {
	QUOTA_BYTES,	/* "256MiB" */
	QUOTA_RATE,	/* bytes a second; 0 = not limited */
	QUOTA_CPU,	/* thousandths of a CPU; shown as cores, 0.5 */
	QUOTA_COUNT,	/* 0 means none, where the range allows it */
	QUOTA_PERCOUNT, /* a count per second; 0 = not limited */
	QUOTA_CAP,	/* so many at a time; 0 = not limited */
	QUOTA_WEIGHT,
	QUOTA_UNIT_COUNT
};

enum quota_of { QUOTA_OF_LIMITS, QUOTA_OF_TENANT, QUOTA_OF_COUNT };

/* One number. */
struct quota_key {
	const char *name; /* column of the database, word of the command line: "memory" */
	const char *json; /* "memory_bytes" */
	const char *text; /* for a person: "memory" */
	enum quota_unit unit;
	bool wide;		    /* uint64_t, else uint32_t */
	int offset[QUOTA_OF_COUNT]; /* in each struct; -1 where it does not exist */
	uint64_t min, max[QUOTA_OF_COUNT];
};

#define QUOTA_KEYS_MAX 32
/* The i-th, NULL past the end; and by either name, NULL when unknown. */
const struct quota_key *quota_key(unsigned i);
const struct quota_key *quota_key_find(const char *name);

/* A number of a struct quota_limits or struct quota (which one `of` says); the key must exist there. */
uint64_t quota_get(const struct quota_key *k, enum quota_of of, const void *p);
void quota_set(const struct quota_key *k, enum quota_of of, void *p, uint64_t value);
static inline bool quota_has(const struct quota_key *k, enum quota_of of)
{
	return k->offset[of] >= 0;
}
/* A rate of 0 bounds nothing. */
bool quota_unlimited(const struct quota_key *k, uint64_t value);

/* "256 MiB", "0.5 cores", "64 MiB/s", "unlimited". */
#define QUOTA_TEXT 40
void quota_text(const struct quota_key *k, uint64_t value, char out[QUOTA_TEXT]);

/* The range of one number: 0, or -ERANGE with the field and the range in words. */
int quota_range(const struct quota_key *k, enum quota_of of, uint64_t v, const char *field, struct err *e);
/* Ranges of all numbers; 0, or -ERANGE with field "<prefix>.<json>" and the range in words. */
int quota_check(enum quota_of of, const void *p, const char *prefix, struct err *e);
/* One instance by itself must fit its tenant's total: 0, or -EDQUOT with the field, both numbers and whose they are.
 * Only keys for which ask() is true are looked at; NULL = all. */
int quota_within(const struct quota_limits *l, const struct quota *q, bool (*ask)(void *arg, const char *json),
		 void *arg, struct err *e);
/* Lowers what is above the tenant's total to it. */
void quota_clamp(struct quota_limits *l, const struct quota *q);

/* Embedded defaults: an app's instance, a build, a tenant. */
extern const struct quota_limits quota_app_default, quota_build_default;
extern const struct quota quota_default;

/* How strictly an instance is closed. */
enum quota_profile {
	QUOTA_PROFILE_DEFAULT, /* runs ordinary runtimes unchanged */
	QUOTA_PROFILE_STRICT,  /* /proc shows only processes, nothing writable can be executed, no egress */
	QUOTA_PROFILE_COUNT
};
const char *quota_profile_name(enum quota_profile p); /* "default", "strict" */
/* QUOTA_PROFILE_COUNT when unknown. */
enum quota_profile quota_profile_parse(const char *s);

/* Where an instance may connect to, besides its own tenant's instances and the resolver. */
enum quota_egress_mode { QUOTA_EGRESS_NONE, QUOTA_EGRESS_PUBLIC, QUOTA_EGRESS_LIST, QUOTA_EGRESS_MODE_COUNT };
const char *quota_egress_name(enum quota_egress_mode m);  /* "none", "public", "list" */
enum quota_egress_mode quota_egress_parse(const char *s); /* QUOTA_EGRESS_MODE_COUNT when unknown */

/* One allowed destination: a network and ports; tcp and udp. */
struct quota_egress_rule {
	uint32_t net; /* host byte order */
	uint32_t prefix;
	uint16_t port_min, port_max; /* 0..65535: all */
};
struct quota_egress {
	uint32_t mode; /* enum quota_egress_mode */
	uint32_t count;
	struct quota_egress_rule rules[LIMIT_EGRESS_RULES]; /* mode LIST only */
};
/* "203.0.113.0/24", "203.0.113.7:443", "203.0.113.7:8000-8100".  0 or -EINVAL with field. */
int quota_egress_rule_parse(const char *s, const char *field, struct quota_egress_rule *ret, struct err *e);
/* Nothing here is reachable for an instance, whatever its policy says: RFC 6890's special ranges without the
 * documentation ones, which some laboratories route.  IPv4-mapped forms are IPv4 on the wire, so the same rules meet
 * them. */
#define QUOTA_EGRESS_CLOSED                                                                                            \
	"0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.0.0.0/24, "             \
	"192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/3"
/* All of the rule lies in one of them, so it would allow nothing. */
bool quota_egress_is_closed(const struct quota_egress_rule *r);
#define QUOTA_EGRESS_TEXT 40
void quota_egress_rule_text(const struct quota_egress_rule *r, char out[QUOTA_EGRESS_TEXT]);
/* A whole policy as text, "public" or "list 203.0.113.0/24:443 198.51.100.7", and back (0 or -EINVAL). */
#define QUOTA_EGRESS_MAX (16 + LIMIT_EGRESS_RULES * QUOTA_EGRESS_TEXT)
void quota_egress_text(const struct quota_egress *g, char out[QUOTA_EGRESS_MAX]);
int quota_egress_read(const char *text, struct quota_egress *ret);
/* What both allow: the tenant's policy bounds the app's.  A list within a list keeps the app's rules that lie within a
 * rule of the tenant's. */
void quota_egress_meet(const struct quota_egress *tenant, const struct quota_egress *app, struct quota_egress *ret);

#endif
