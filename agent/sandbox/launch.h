/* What the supervisor hands to tulou-sandbox for one launch.  Layer agent/sandbox: sees base/ and config/ only. */
#ifndef TULOU_AGENT_SANDBOX_LAUNCH_H
#define TULOU_AGENT_SANDBOX_LAUNCH_H

#include "config/kind.h"
#include "config/limits.h"
#include "config/quota.h"

#include <stdint.h>

/* Descriptors given to tulou-sandbox at exec, then the launch struct is read from LAUNCH_FD_SPEC.
 * -1 rules do not exist: an absent descriptor is /dev/null. */
enum launch_fd {
	LAUNCH_FD_SPEC = 3, /* sealed memfd: struct launch */
	LAUNCH_FD_REPORT,   /* SOCK_SEQPACKET to the supervisor: struct launch_report messages */
	LAUNCH_FD_STATUS,   /* file <runtime>/instances/<id>/status: struct launch_status is written at the end */
	LAUNCH_FD_BLOB,	    /* argv and environment, see agent/roles/messages.h */
	LAUNCH_FD_SECCOMP,  /* sealed memfd: array of struct sock_filter */
	LAUNCH_FD_UNPACK,   /* sealed memfd of tulou-unpack, or /dev/null */
	LAUNCH_FD_STACK,    /* O_PATH: the stack's root skeleton, <data>/stack */
	LAUNCH_FD_TREE,	    /* O_PATH: release, repository, or output directory by kind; /dev/null when none */
	LAUNCH_FD_OUT,	    /* output pipe, write end (APP) */
	LAUNCH_FD_OUT_READ, /* output pipe, read end: kept open by PID 1 for a supervisor that comes back */
	LAUNCH_FD_LAYER,    /* O_PATH: an empty, bounded directory for what is private; /dev/null: a tmpfs instead */
	LAUNCH_FD_USR,	    /* O_PATH: what becomes /usr, the host's or a private copy */
	LAUNCH_FD_SEGMENTS, /* BPF program of packets.h, or /dev/null */
	LAUNCH_FD_CGROUP,   /* first of cgroup_count descriptors: v1 `tasks` files, or one v2 directory */
			    /* after the cgroups: stdio_count descriptors that become 0,1,2,... of the program */
};
/* In PID 1, in the layer's place: the folder of the unix socket, a detached read-only mount that a supervisor may take
 * (pidfd_getfd(2)). */
#define LAUNCH_FD_SOCKET LAUNCH_FD_LAYER
#define LAUNCH_CGROUPS_MAX 6

struct launch {
	uint64_t instance;
	uint32_t kind;	       /* enum msg_kind */
	uint32_t uid_base;     /* first id of the tenant's range */
	uint64_t memory, disk; /* bytes: disk bounds the private tmpfs, where there is no layer */
	uint64_t shm;	       /* bytes of /dev/shm */
	uint32_t inodes;       /* of each of them */
	uint32_t nofile;
	uint32_t cgroup_count, cgroup_v2; /* v2: one directory descriptor, used with CLONE_INTO_CGROUP */
	uint32_t stdio_count;
	uint32_t network; /* 0: only lo; 1: veth */
	uint32_t address; /* IPv4, host byte order */
	uint32_t resolver_count;
	uint32_t link_group; /* IFLA_GROUP of the host's end: the tenant */
	uint16_t port;	     /* $PORT */
	uint16_t pad;
	char link[16]; /* name of the host's end */
	char hostname[64];
	char node[64];	       /* node's name, shown in the environment */
	uint32_t host_address; /* IPv4, host byte order: source of the host's packets to the instance; 0 = the kernel's
				  choice */
	uint32_t profile;      /* enum quota_profile */
	uint64_t net_in, net_out; /* bytes a second to and from it, 0 = not limited */
	uint64_t net_packets;	  /* a second that it may send, see packets.h */
	uint32_t layer;		  /* 1: LAUNCH_FD_LAYER is a directory */
	uint32_t socket;	  /* 1: it listens on KIND_SOCKET_NAME in KIND_SOCKET_DIR (APP) */
	uint32_t segments;	  /* 1: LAUNCH_FD_SEGMENTS is a program */
	uint32_t pad2;
};

/* Progress to the supervisor.  The last one is EXEC or FAILED. */
enum launch_report_kind { LAUNCH_REPORT_PID, LAUNCH_REPORT_EXEC, LAUNCH_REPORT_FAILED };
struct launch_report {
	uint32_t kind;
	int32_t pid;   /* PID: host pid of PID 1 */
	int32_t error; /* FAILED: errno */
	uint32_t pad;
	char step[120]; /* FAILED: what was being done, for a person */
};

#define LAUNCH_STATUS_MAGIC 0x746c7374u
struct launch_status {
	uint32_t magic;
	int32_t code;		 /* exit code, or 128 + signal */
	int32_t signal;		 /* 0 when it exited by itself */
	uint32_t stop_requested; /* PID 1 had been asked to stop */
	int64_t time_ms;	 /* wall */
};

#endif
