/* Settings of the node: embedded defaults, then one YAML file.  Layer config, supervisor reads them (the file is the
 * operator's), other roles get what they need in their first message. */
#ifndef TULOU_CONFIG_SETTINGS_H
#define TULOU_CONFIG_SETTINGS_H

#include "base/err.h"
#include "base/cidr.h"
#include "config/limits.h"
#include "config/quota.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct settings_address {
	struct sockaddr_storage addr;
	unsigned len;  /* of addr */
	bool proxied;  /* "ADDRESS proxy": a balancer stands in front and says who the client is */
	char text[64]; /* as written, without that word */
};

/* Where the writable layers of the instances lie. */
enum settings_disk {
	SETTINGS_DISK_AUTO,   /* project quotas where the data directory has them, else a btrfs pool */
	SETTINGS_DISK_QUOTA,  /* project quotas of the data directory's file system (ext4, xfs) */
	SETTINGS_DISK_BTRFS,  /* a pool of our own: a file with btrfs in it */
	SETTINGS_DISK_MEMORY, /* tmpfs, charged to the instance's memory */
	SETTINGS_DISK_COUNT
};
const char *settings_disk_name(enum settings_disk d); /* "auto", "quota", … */

/* Certificates from an authority, without anybody's doing (ACME, RFC 8555). */
enum settings_challenge {
	SETTINGS_CHALLENGE_AUTO,     /* over http first, over TLS when that failed */
	SETTINGS_CHALLENGE_HTTP_01,  /* RFC 8555, 8.3 */
	SETTINGS_CHALLENGE_TLS_ALPN, /* RFC 8737 */
	SETTINGS_CHALLENGE_COUNT
};
const char *settings_challenge_name(enum settings_challenge c); /* "auto", "http-01", "tls-alpn-01" */

struct settings_acme {
	char directory[256]; /* tls.acme.directory: its URL, https; "" = none is asked */
	char email[128];     /* tls.acme.email: "" = none */
	char ca_file[200];   /* tls.acme.ca_file: PEM of who signs the directory's own certificate; "" = the host's */
	char eab_kid[128];   /* tls.acme.eab_kid, eab_key: RFC 8555, 7.3.4; "" = not needed */
	char eab_key[256];   /* base64url */
	bool terms_agreed;   /* tls.acme.terms_agreed: off */
	bool own_names;	     /* tls.acme.own_names: off; for the names below domains.apps too */
	bool control_name;   /* tls.acme.control_name: on; for domains.control */
	bool pad[1];
	uint32_t challenge; /* tls.acme.challenge: enum settings_challenge */
	uint32_t hourly;    /* tls.acme.hourly: 80; orders in an hour, of all tenants */
};

/* All of it is plain data without pointers, so it is copied and passed whole. */
struct settings {
	char node_name[LIMIT_HOST + 1]; /* node.name: default the host's name, cleaned to a label */
	char data[200];			/* node.data: /var/lib/tulou */
	char runtime[100];		/* node.runtime: /run/tulou (socket paths below it must fit 108 bytes) */
	char cgroup[32];		/* node.cgroup: tulou; a name, one per node on a host */
	uint32_t uid_base;		/* node.uid_base: LIMIT_UID_BASE; first id of the tenants' ranges */
	char user[32];			/* node.user: tulou (control) */
	char user_proxy[32];		/* node.user_proxy: tulou-proxy */
	char user_log[32];		/* node.user_log: tulou-log */
	char user_resolver[32];		/* node.user_resolver: tulou-resolver */
	char user_fetcher[32];		/* node.user_fetcher: tulou-fetcher */

	struct settings_address http[LIMIT_LISTEN]; /* listen.http: embedded default 127.0.0.1:8080 and [::1]:8080 */
	unsigned http_count;
	struct settings_address https[LIMIT_LISTEN]; /* listen.https: none */
	unsigned https_count;
	struct cidr proxy_from[LIMIT_PROXY_FROM]; /* listen.proxy_from: none; whose PROXY headers are believed */
	unsigned proxy_from_count;

	char tls_certificates[200]; /* tls.certificates: "" = none; a folder of NAME.crt and NAME.key */
	bool tls_stapling;	    /* tls.stapling: on; responders of certificates are asked (OCSP) */

	struct settings_acme acme;

	char domain_apps[LIMIT_HOST + 1];    /* domains.apps: localhost -> shop.localhost */
	char domain_control[LIMIT_HOST + 1]; /* domains.control: tulou.localhost */

	bool domain_proof; /* domains.proof: required; tenants' own domains serve nothing until they are proved */

	uint32_t pool_net;    /* network.pool: 10.94.0.0/16, host byte order */
	unsigned pool_prefix; /* 8..28 */
	char link_prefix[5];  /* network.link_prefix: "tl"; 2..4 characters, one per node on a host */

	uint32_t disk_backend;	  /* disk.backend: auto; enum settings_disk */
	uint64_t disk_pool;	  /* disk.pool: bytes of the btrfs pool; 0 = auto, decided when it is made */
	uint64_t disk_write_rate; /* disk.write_rate: bytes a second written to the pool by all together; 0 = auto */

	unsigned proxy_workers; /* proxy.workers: auto = one per CPU, resolved when read; 1..LIMIT_WORKERS */

	bool throttle; /* scheduler.throttle: auto; off = contention changes no weights or quotas */
	bool confine;  /* scheduler.confine: auto; off = who lives in the kernel may run on any CPU */

	struct quota_limits app;   /* app.NAME for each name of quota_key(): quota_app_default; CPU in thousandths */
	struct quota_limits build; /* build.NAME: quota_build_default */
	unsigned build_concurrent; /* build.concurrent: 2 */
	uint64_t build_time_ms;	   /* build.time: 15m */

	/* health.{timeout,drain,grace} in ms: 60s, 30s, 10s */
	uint64_t health_ms, drain_ms, grace_ms;
};

/* Fills the embedded defaults.  Never fails. */
void settings_default(struct settings *s);

/* Reads YAML text over what *s holds already.  Unknown keys, wrong types and values out of range are refused with
 * field = the dotted key; *s is unchanged then.  0 or negative errno. */
int settings_parse(const char *text, size_t n, struct settings *s, struct err *e);

/* settings_default and, when path is not NULL, the file (at most 64 KiB).  0 or negative errno. */
int settings_load(const char *path, struct settings *s, struct err *e);

/* The i-th documented key ("node.name", …), NULL past the end: a test compares them with the manual page. */
const char *settings_key(unsigned i);

#endif
