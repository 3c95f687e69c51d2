/* What runs in a sandbox.  Layer config: the sandbox program and the roles both know it. */
#ifndef TULOU_CONFIG_KIND_H
#define TULOU_CONFIG_KIND_H

enum msg_kind {
	MSG_KIND_APP,	/* an instance of an app: release read-only below, private writable layer, network */
	MSG_KIND_GIT,	/* git receive-pack/upload-pack: <data>/repos/<app> writable at /repo, no network */
	MSG_KIND_BUILD, /* /app, /cache, /tmp on bounded tmpfs; buildpacks read-only at /buildpacks; network */
	MSG_KIND_STORE, /* tulou-unpack only, no network: <data>/releases/<object>.new writable at /out; renamed to
			   <data>/releases/<object> by the supervisor when it exits 0, removed otherwise */
	MSG_KIND_RUN,	/* one-off command of a release: as APP, with stdio given */
	MSG_KIND_COUNT,
};

/* An app that listens on a unix socket finds this path in $PORT: a folder of its own, which holds nothing else. */
#define KIND_SOCKET_DIR "dev/tulou" /* below the root */
#define KIND_SOCKET_NAME "app.sock"

#endif
