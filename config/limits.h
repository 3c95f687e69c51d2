/* Every hard limit of the node, with its reason.  Layer config, any process.
 * What an operator may change is in settings.h or in a tenant's quota; these are the ends of those ranges. */
#ifndef TULOU_CONFIG_LIMITS_H
#define TULOU_CONFIG_LIMITS_H

/* Names: an app's name is one DNS label in front of the base domain; 40 leaves room for suffixes in interface and
 * cgroup names. */
#define LIMIT_APP_NAME 40
#define LIMIT_TENANT_NAME 32
#define LIMIT_TYPE_NAME 16 /* process type, "web" */
#define LIMIT_HOST 253	   /* RFC 1035 */
#define LIMIT_TOKEN_NAME 64
#define LIMIT_COMMAND 4096 /* one Procfile line */
#define LIMIT_TYPES 16	   /* process types of one release */
#define LIMIT_CONFIG_VARS 256
#define LIMIT_CONFIG_KEY 128
#define LIMIT_CONFIG_VALUE 32768
#define LIMIT_CONFIG_TOTAL 65536 /* all config vars of an app: they are copied into every instance's stack */
#define LIMIT_DOMAINS 64	 /* per app */
#define LIMIT_INSTANCES_PER_TYPE 100

/* The node. */
#define LIMIT_TENANTS 16000  /* uid ranges of 65,536 that fit between 2^30 and 2^31 */
#define LIMIT_APPS 20000     /* slots of the proxies' statistics segment */
#define LIMIT_INSTANCES 8000 /* 3 descriptors each in the supervisor, under a 65,536 limit */
#define LIMIT_LISTEN 8	     /* addresses per kind: http and https each */
#define LIMIT_PROXY_FROM 32  /* networks whose PROXY headers are believed */
#define LIMIT_WORKERS 16     /* proxy workers */
#define LIMIT_UID_RANGE 65536u
#define LIMIT_UID_BASE 0x40000000u /* clear of subuid (100,000..) and of systemd's dynamic ranges (0x70000000..) */

/* Quotas: smallest and largest that can be asked for. */
#define LIMIT_MEMORY_MIN (8ull << 20) /* below it not even a shell starts reliably */
#define LIMIT_MEMORY_MAX (1ull << 42)
#define LIMIT_CPU_MIN 10u /* thousandths of one CPU; the kernel's quota floor is 1 ms per 100 ms */
#define LIMIT_CPU_MAX 1024000u
#define LIMIT_PIDS_MIN 4u
#define LIMIT_PIDS_MAX 32768u
#define LIMIT_TENANT_PIDS_MAX 1048576u /* of a tenant together; a quarter of the kernel's largest pid_max */
#define LIMIT_NOFILE_MIN 16u
#define LIMIT_NOFILE_MAX 1048576u /* the kernel's default fs.nr_open */
#define LIMIT_DISK_MIN (1ull << 20)
#define LIMIT_DISK_MAX (1ull << 42)
#define LIMIT_INODES_MIN 64u /* of a writable layer: its own folders take about 10 */
#define LIMIT_INODES_MAX 16777216u
#define LIMIT_WEIGHT_MAX 10000u	    /* cgroups(7): cpu.weight and io.weight */
#define LIMIT_LOG_RATE_MAX 1000000u /* lines a second */
#define LIMIT_EGRESS_RULES 32	    /* destinations of one policy: they are copied into every launch */
#define LIMIT_PLANS 100		    /* a list that a person can still read */
#define LIMIT_PLAN_NAME 32

/* The instances' network.  An ordinary host tracks 65,536 to 262,144 connections (nf_conntrack_max); where it is fewer,
 * a tenant gets an eighth of them, an instance a thirty-second. */
#define LIMIT_NET_CONNECTIONS 2048u	   /* tracked at a time, of those that one instance began */
#define LIMIT_NET_TENANT_CONNECTIONS 8192u /* the same of a tenant */
/* Connections begun per second.  What has ended leaves the kernel's table only when its collector comes by, up to a
 * minute later (nf_conntrack_core.c, GC_SCAN_INTERVAL_MAX), so a minute of a tenant's may fill a quarter of the table.
 */
#define LIMIT_NET_NEW_RATE 500u
#define LIMIT_NET_NEW_BURST 2000u
#define LIMIT_NET_TENANT_NEW_RATE 1000u
#define LIMIT_NET_TENANT_NEW_BURST 4000u
#define LIMIT_NET_BURST (160u << 10) /* bytes: a rate lets two packets of 64 KiB pass whole, however small it is */
#define LIMIT_NET_QUEUE (16u << 20)  /* bytes that wait for a rate: they are the sender's memory */
#define LIMIT_NET_QUEUE_MS 50u	     /* the same as time: longer would only be delay */

/* Packets a second that an instance may send besides those of TCP connections that exist: datagrams, new connections.
 * The default, of an instance and of all of a tenant's: 28 MB a second of datagrams that fill an Ethernet frame; far
 * more than the new connections that are let through. */
#define LIMIT_NET_PACKETS 20000u
#define LIMIT_NET_PACKETS_MIN 100u     /* fewer and an app could not ask for the names it connects to */
#define LIMIT_NET_PACKETS_MAX 1000000u /* several times what one CPU sends */
#define LIMIT_NET_PACKETS_BURST 4u     /* at once: what a quarter of a second may have, but a cold start's at least */
#define LIMIT_NET_PACKETS_BURST_MIN 100u

/* The instances' names. */
#define LIMIT_RESOLVE_RATE 200u		 /* questions a second of one instance: a busy crawler asks some 50 */
#define LIMIT_RESOLVE_BURST 400u	 /* at once: a cold start of many connections */
#define LIMIT_RESOLVE_FORWARDS 1024u	 /* asked of the host's resolvers at a time: a socket each */
#define LIMIT_RESOLVE_FORWARDS_ONE 64u	 /* of one instance */
#define LIMIT_RESOLVE_TCP 64u		 /* of them by TCP: 64 KiB each */
#define LIMIT_RESOLVE_TRY_MS 1300u	 /* one server's time; three tries end before the asker's own 5 s */
#define LIMIT_RESOLVE_CONNECTIONS 256u	 /* of instances, by TCP */
#define LIMIT_RESOLVE_CONNECTIONS_ONE 8u /* of one */
#define LIMIT_RESOLVE_IDLE_MS 5000u	 /* on such a connection; longer than three tries */
#define LIMIT_RESOLVE_PROOFS 32u	 /* proofs of ownership looked for at a time; control asks for 16 */
#define LIMIT_RESOLVE_PARKED 64u	 /* questions of instances that control has not told yet */
#define LIMIT_RESOLVE_PARK_MS 1000u	 /* it tells within milliseconds, or is just being started again */

/* The disk of the instances. */
#define LIMIT_POOL_MIN (256ull << 20) /* below it btrfs keeps more for itself than it gives */
#define LIMIT_POOL_MAX (1ull << 46)
#define LIMIT_POOL_AUTO_MIN (1ull << 30) /* disk.pool: auto takes a quarter of what is free, within these */
#define LIMIT_POOL_AUTO_MAX (20ull << 30)
/* disk.write_rate: auto is so much for each CPU.  What is written keeps the kernel's own threads busy, which no group's
 * weight or quota bounds (about 3 ms of CPU for a MiB with a full layer): a tenth of the CPUs may go there. */
#define LIMIT_POOL_RATE_CPU (32ull << 20)
#define LIMIT_POOL_RATE_MIN (1ull << 20)
#define LIMIT_POOL_RATE_MAX (1ull << 40)
#define LIMIT_POOL_RESERVE (48ull << 20)   /* no instance starts when less is free: those that run need it */
#define LIMIT_BALLAST (16ull << 20)	   /* kept by control for the database on a full disk: many times its log */
#define LIMIT_DATA_RESERVE (64ull << 20)   /* no release or push begins when less is free on the data directory */
#define LIMIT_DISK_FILES_BYTES (64u << 10) /* the tmpfs for /dev beside a layer on disk: only our own devices */
#define LIMIT_DISK_COUNT 4096u		   /* inodes of a layer counted in one step on btrfs: about 3 ms */

/* Records of the store. */
#define LIMIT_TOKENS 100    /* per tenant, and of the node: a list that a person can still read */
#define LIMIT_EVENTS 100000 /* of the node; about 20 MiB */
#define LIMIT_EVENTS_APP 1000
#define LIMIT_USAGE_HOURS 1488 /* 62 days per app: a month that can still be billed in the next one */
#define LIMIT_IDEM_HOURS 24
#define LIMIT_IDEM_TOKEN 1000 /* remembered answers per token */

/* Input. */
#define LIMIT_JSON_BODY (256u << 10)	  /* a body of the API that is not an upload */
#define LIMIT_SOURCE_BYTES (512ull << 20) /* packed source: a push's pack or a tarball */
#define LIMIT_TREE_BYTES (2ull << 30)	  /* unpacked source or release */
#define LIMIT_TREE_ENTRIES 200000u	  /* files of a release; a large node_modules is 60,000 */
#define LIMIT_TREE_DEPTH 64u
#define LIMIT_PATH_BYTES 1024u
#define LIMIT_MANIFEST_BYTES (256u << 10) /* Procfile, app.json, tulou.yaml and release.yml of a build together */
#define LIMIT_BUILD_LOG (4u << 20)	  /* bytes kept; the middle of a longer log is dropped */
#define LIMIT_BLOB (192u << 10)		  /* argv, environment and file texts of one launch */
#define LIMIT_REPO_BYTES (2ull << 30)	  /* one app's bare repository */

/* One sandbox. */
#define LIMIT_SANDBOX_INODES_MIN 64u /* the private file system's own folders and devices take about 30 */
#define LIMIT_SANDBOX_SOCKET_BYTES                                                                                     \
	(64u << 10)			/* of the folder of a unix socket: what is written there is the app's memory */
#define LIMIT_SANDBOX_SOCKET_INODES 16u /* of it: the socket, and one that replaces it */
#define LIMIT_SANDBOX_NOFILE_MIN 16u	/* standard descriptors, a listener, an event queue and a few connections */
#define LIMIT_SANDBOX_STDIO 8u		/* descriptors handed to a job: 0..7, below those of the launch (UNPACK is 8) */
#define LIMIT_SANDBOX_ARGS 4096u      /* strings in argv and environment together, with the 256 config vars far below */
#define LIMIT_SANDBOX_FILTER 32768u   /* bytes of a seccomp filter: 4,096 instructions, the kernel's limit */
#define LIMIT_SANDBOX_TERMINALS 64u   /* pseudo terminals of one instance; the whole host has 3,072 (kernel.pty.max) */
#define LIMIT_SANDBOX_LINGER_MS 3000u /* what else runs may finish this long after the main program was stopped */

/* Output of apps. */
#define LIMIT_LOG_LINE 16384u	    /* bytes; a longer line is split */
#define LIMIT_LOG_FILE (4ull << 20) /* per app, twice: current and previous */
#define LIMIT_LOG_RATE 1000u	    /* lines per second and instance, in the long run */
#define LIMIT_LOG_BURST 5000u
#define LIMIT_LOG_READ (8u << 20)	  /* bytes a second read of one instance, kept or not: 1 % of a core */
#define LIMIT_LOG_READ_TENANT (32u << 20) /* of a tenant's together; its apps wait in write(2) beyond */

/* Work of the supervisor. */
#define LIMIT_LAUNCHES 4u	  /* sandboxes being built at a time: more only wait for each other's kernel locks */
#define LIMIT_LAUNCH_QUEUE 2048u  /* launches waiting: 2 descriptors each, under a limit of 20,000 */
#define LIMIT_REMOVALS 4096u	  /* trees waiting to be removed, one at a time */
#define LIMIT_USAGE_TURN 64u	  /* instances sampled in one turn: about 4 ms */
#define LIMIT_USAGE_MS 5000u	  /* each instance is sampled this often */
#define LIMIT_USAGE_BUSY_MS 1000u /* those that work, and all where one turn has room for them */
#define LIMIT_USAGE_BUSY 10u	  /* thousandths of a CPU: who uses as much works */

#define LIMIT_CONFINE_MS 20u	 /* kernel time of all tenants is looked at this often: one small read */
#define LIMIT_CONFINE_LOOKS 128u /* and that of so many tenants, while it is much: 5 us each */

/* Waits, in milliseconds. */
#define LIMIT_PRIVATE_MAKE_S 900u	/* copying /usr into an image: 10 GB at 20 MB/s need less */
#define LIMIT_LAUNCH_MS 10000u		/* request to exec; normally 5 */
#define LIMIT_HEALTH_MS 60000u		/* a new instance becomes healthy within this */
#define LIMIT_HEALTH_LOCAL_MS 5000u	/* $PORT on loopback alone for so long: some bind that first */
#define LIMIT_HEALTH_EVERY_MIN_MS 5000u /* a running app asks to be asked for its path: 500 of them are 100/s then */
#define LIMIT_HEALTH_EVERY_MAX_MS 600000u
#define LIMIT_HEALTH_FAILURES_DEFAULT 3u /* in a row, before a running instance is sick */
#define LIMIT_HEALTH_FAILURES 10u	 /* ... at most */
#define LIMIT_DRAIN_MS 30000u		 /* requests in flight when an instance leaves */
#define LIMIT_STOP_GRACE_MS 10000u	 /* SIGTERM to SIGKILL */
#define LIMIT_BUILD_MS 900000u		 /* one build */

/* The API. */
#define LIMIT_API_CONNECTIONS 2048	/* on its unix socket; only our own proxies reach it */
#define LIMIT_API_MEMORY (64u << 10)	/* head and buffer of one connection */
#define LIMIT_API_URL 4096		/* path and query; ours are below 300 */
#define LIMIT_API_QUERY 16		/* parameters */
#define LIMIT_API_READY_MS 2000		/* after a start requests wait for what runs to be known, but no longer */
#define LIMIT_API_IDLE_MS 60000u	/* a connection on which nothing moves */
#define LIMIT_API_BODY_MS 30000u	/* a JSON body has arrived; against slow clients */
#define LIMIT_API_DRAIN (64u << 10)	/* a refused body up to this is read, so that the connection lives on */
#define LIMIT_API_DISCARD (64ull << 20) /* read and forgotten behind a failed upload, so that its answer is seen */
#define LIMIT_API_IDEM_KEY 128
#define LIMIT_API_PAGE 200		  /* items of one page */
#define LIMIT_API_STREAMS 512		  /* followers, long polls, uploads and git exchanges of the node together */
#define LIMIT_API_STREAMS_TENANT 32	  /* of one tenant; a browser page holds two */
#define LIMIT_API_QUEUE (1u << 20)	  /* output of a build or git waiting for its reader */
#define LIMIT_API_HEARTBEAT_MS 15000	  /* a comment on silent event streams, below the idle limits of proxies */
#define LIMIT_API_LOG_POLL_MS 200	  /* followers of logs look at their file */
#define LIMIT_API_LOG_LINES 10000	  /* past lines of one answer */
#define LIMIT_API_WAIT_MS 60000		  /* long poll */
#define LIMIT_API_NOFILE 65536		  /* descriptors of a process of an app */
#define LIMIT_API_QUOTA_PIDS 4194304	  /* of a tenant: the kernel's largest pid_max */
#define LIMIT_API_TOKENS 200		  /* of one tenant, and of the node */
#define LIMIT_API_USAGE 10000		  /* rows of one answer */
#define LIMIT_API_LOWERED 1000		  /* apps, or tenants, that an answer to a new quota or plan names */
#define LIMIT_API_STATE_MS 1000		  /* figures in the node's state may be this old while nothing changed */
#define LIMIT_API_STATE_WAKE_MS 100	  /* many changes in a row wake the pollers once per this */
#define LIMIT_API_STATE_BYTES (32u << 20) /* state of LIMIT_APPS apps of 1.5 KiB */
#define LIMIT_API_METRICS_BYTES (64u << 20)
#define LIMIT_API_WORK 1000	      /* items of one fleet request */
#define LIMIT_API_FAILURES 20	      /* wrong tokens from one address within the next ... */
#define LIMIT_API_FAILURES_MS 60000   /* ... before only known tokens are looked at */
#define LIMIT_API_ADDRESSES 4096      /* addresses remembered for it */
#define LIMIT_API_SESSION_MS 43200000 /* a login of the dashboard: 12 h */

/* The front door.  Waits in milliseconds. */
#define LIMIT_PROXY_HEAD_MS 10000u   /* first byte of a request to the end of its head */
#define LIMIT_PROXY_PREFACE_MS 3000u /* accept to the end of a PROXY header: a balancer sends it at once */
#define LIMIT_PROXY_KEEPALIVE_MS                                                                                       \
	75000u			       /* between two requests of a client; longer than browsers and balancers wait    \
					*/
#define LIMIT_PROXY_CONNECT_MS 5000u   /* to an instance: on the same host, so only a stopped app is that slow */
#define LIMIT_PROXY_RESPONSE_MS 60000u /* no byte from an app, while we wait for it */
#define LIMIT_PROXY_CONTROL_MS 600000u /* the same for the API: long polls and followed logs */
#define LIMIT_PROXY_FORSAKEN_MS 5000u  /* the same while an instance leaves, for a client that ended its direction */
#define LIMIT_PROXY_TUNNEL_MS 600000u  /* a WebSocket without a byte either way */
#define LIMIT_PROXY_WINDOW_MS 20000u   /* a client that we wait for moves LIMIT_PROXY_WINDOW_BYTES within this */
#define LIMIT_PROXY_WINDOW_BYTES 4096u /* 200 bytes/s: below any modem, above what starves us */
#define LIMIT_PROXY_LINGER_MS 2000u    /* after an early answer the rest of the request is thrown away so long */
#define LIMIT_PROXY_LINGER_BYTES (1u << 20)
#define LIMIT_PROXY_IDLE_UPSTREAM_MS 30000u /* a kept connection to an instance */
#define LIMIT_PROXY_IDLE_PER_INSTANCE                                                                                  \
	1024u /* never more than the app had requests at a time; ten clients of HTTP/2 have 1,000 */
#define LIMIT_PROXY_PARKED_APP 256u	    /* requests of one app that wait for an instance, per worker */
#define LIMIT_PROXY_PARKED_WORKER 2048u	    /* of all apps: each holds a buffer of which one page is touched */
#define LIMIT_PROXY_WAIT_MS 120000u	    /* longest wait that control may ask for */
#define LIMIT_PROXY_CONCURRENCY 10000u	    /* of one instance: above it the setting limits nothing */
#define LIMIT_PROXY_ASIDE_MS 30000u	    /* an instance that fails is left alone at most so long between two tries */
#define LIMIT_PROXY_REPEATS 64u		    /* requests that may be repeated at once, of one app and worker */
#define LIMIT_PROXY_REPEAT_PART 5u	    /* and one of so many in the long run: repeats cannot double a load */
#define LIMIT_DRAIN_S 3600u		    /* longest time that an app may ask for its open connections */
#define LIMIT_ACCESS_PART 10000u	    /* one request of so many is the thinnest sample of an access log */
#define LIMIT_PROXY_PIPES 12u		    /* of a worker, for large bodies; above them they are copied */
#define LIMIT_PROXY_RESERVE 64u		    /* descriptors kept free for channels, listeners, the log */
#define LIMIT_PROXY_ATTEMPTS 3u		    /* instances tried for one request */
#define LIMIT_PROXY_PER_ADDRESS 1024u	    /* connections of one address that is not this host, per worker */
#define LIMIT_PROXY_HOSTS (LIMIT_APPS * 4u) /* rows of the host table */

/* Requests of our own to the internet (agent/fetch). */
#define LIMIT_FETCH 32u			/* at a time: a socket each */
#define LIMIT_FETCH_MS 60000u		/* one, from its name to the last byte */
#define LIMIT_FETCH_URL 1024		/* bytes */
#define LIMIT_FETCH_BODY 8192u		/* of a request: a signed request for a certificate has 1.5 KiB */
#define LIMIT_FETCH_ANSWER (128u << 10) /* of an answer: a chain of certificates has 8 KiB */
#define LIMIT_TRUST_BYTES (1u << 20)	/* PEM of the authorities that are trusted; Debian's have 220 KiB */
#define LIMIT_FETCH_NONCE 200		/* bytes of a nonce; real ones have 43 */

/* Top talkers (web/proxy/watch.c): 105 KiB for each watch and worker while it lasts. */
#define LIMIT_TALK_ROWS 128	 /* names in a sketch: one with more than 1/128 of the load is always among them */
#define LIMIT_TALK_NAME 63	 /* bytes of a name */
#define LIMIT_TALK_WATCHES 16	 /* at a time */
#define LIMIT_TALK_TENANT 4	 /* ... of one tenant */
#define LIMIT_TALK_NODE 4	 /* ... kept for the node's operator */
#define LIMIT_TALK_S 60		 /* how long one may last */
#define LIMIT_TALK_SAMPLES 1024u /* requests of a second that are looked at, per worker: about 1 ms of its time */
#define LIMIT_TALK_EVERY (1u << 20)

/* HTTP/2, of clients and to apps.  All per connection. */
#define LIMIT_H2_STREAMS 100u  /* requests under way: what RFC 9113, 6.5.2 calls the least for parallelism */
#define LIMIT_H2_WINDOW 65535u /* body bytes that one of them may hold here unread: RFC 9113's own initial value */
#define LIMIT_H2_WINDOW_ALL (512 << 10) /* ... and all together */
#define LIMIT_H2_OUT (512u << 10)	/* bytes of answers held for a client that does not take them */
#define LIMIT_H2_HEADS (512u << 10)	/* heads of requests under way: 100 of 5 KiB */
#define LIMIT_H2_HEAD (256u << 10)	/* a head, decoded, after which the client is cut off (431 above 32 KiB) */
#define LIMIT_H2_FIELDS 1000u		/* ... and its fields (431 above 100) */
#define LIMIT_H2_TABLE 4096u		/* HPACK, each direction */
#define LIMIT_H2_JUNK 1000		/* frames that bring no work, weighed: a burst of them ... */
#define LIMIT_H2_JUNK_S 100		/* ... and those of a second */
#define LIMIT_H2_RESETS 200	/* requests ended early by the client or for its faults: a page left early ... */
#define LIMIT_H2_RESETS_S 20	/* ... and each second after it */
#define LIMIT_H2_GOAWAY_MS 1000 /* draining: from "no more" to "this was the last": a round trip */
#define LIMIT_H2_SESSIONS 8u	/* connections to one instance of an h2c app, per worker */
#define LIMIT_H2_APP_WINDOW_ALL (8 << 20) /* 100 windows: no slow client of an app keeps its others waiting */

/* An app's settings of its front door: they must fit one message of 16 KiB together. */
#define LIMIT_FRONT_NETS 64	   /* of each list: a longer one belongs into a firewall */
#define LIMIT_FRONT_USERS 64	   /* of basic auth: all digests are compared with each request */
#define LIMIT_FRONT_USER 64	   /* bytes of a name */
#define LIMIT_FRONT_PASSWORD 128   /* bytes; with the name in base64 below 512 */
#define LIMIT_FRONT_PASSWORD_MIN 8 /* ten guesses, then one in 6 s, do not find it */
#define LIMIT_FRONT_PATHS 64	   /* prefixes of one app: they are compared one after the other */
#define LIMIT_FRONT_PATH 128	   /* bytes of a prefix */
#define LIMIT_FRONT_REALM 64
#define LIMIT_FRONT_HEADER 64	  /* bytes of a canary's header field, and of its value */
#define LIMIT_CANARY_INSTANCES 10 /* of a canary: it is a sample */
#define LIMIT_FRONT_TEXT 500	  /* bytes of a page's own text */
#define LIMIT_FRONT_RATE 1000000u /* requests a second, and at a time: more than a node serves */
#define LIMIT_FRONT_BODY (1ull << 40)
#define LIMIT_FRONT_SECONDS 86400u /* of one request */
#define LIMIT_FRONT_RETRY 86400u   /* Retry-After of maintenance, seconds */

/* TLS and certificates. */
#define LIMIT_HSTS_S 63072000u	      /* 2 years: what browsers' own lists ask for */
#define LIMIT_CERT_BYTES (32u << 10)  /* PEM of one chain, and of one key; real ones are below 8 KiB */
#define LIMIT_CERT_CHAIN 8u	      /* certificates of one chain */
#define LIMIT_CERT_NAMES 100	      /* names of one certificate that are looked at: what authorities sign at most */
#define LIMIT_CERTS_APP 80	      /* certificates of one app: one for each of its domains, and some uploaded */
#define LIMIT_CERTS_NODE 256	      /* certificates of the node's own, of which each handshake looks at all names */
#define LIMIT_CERTS 20000	      /* of a worker: 4 KiB each until it is used */
#define LIMIT_TLS_HANDSHAKE_MS 10000u /* connect to the end of the handshake */
#define LIMIT_TLS_PER_ADDRESS 128u    /* handshakes under way of one address that is not this host, per worker */
#define LIMIT_TLS_UPDATES 64u	      /* key updates of a client: each costs digests, and most an answer */
#define LIMIT_TLS_QUIET 32u	      /* records in a row that carry nothing: as many as OpenSSL allows */
#define LIMIT_TLS_RECORDS (1u << 24)  /* sent under one key; RFC 8446, 5.5 allows 2^24.5 for AES-GCM */
#define LIMIT_TLS_TICKET_S 28800      /* a session can be resumed for this long */
#define LIMIT_ACME_ORDERS 8	      /* under way at a time: mostly they wait */
#define LIMIT_ACME_TENANT 2	      /* of one tenant */
#define LIMIT_ACME_TRIES 5	      /* of one name in an hour: what Let's Encrypt lets fail */
#define LIMIT_ACME_TOKEN 128	      /* bytes of a challenge's token; real ones have 43 (RFC 8555, 8.3) */
#define LIMIT_ACME_CHALLENGES 64      /* open at a time: two for each order under way, and room */
#define LIMIT_RENEWAL_ID 127	      /* bytes of a certificate's name at its authority (RFC 9773); real ones have 52 */
#define LIMIT_RENEWAL_ASKS 4	      /* asked at a time */
#define LIMIT_OCSP 8		      /* responders asked at a time, for all certificates */
#define LIMIT_OCSP_TENANT 2	      /* of them for one tenant's */
#define LIMIT_STAPLE_BYTES (16u << 10) /* of an OCSP response; real ones are below 3 KiB */
#define LIMIT_TLS_TICKET_KEYS 4 /* kept: renewed every third of that time, the oldest still opens what it sealed */

#endif
