/* The control plane's HTTP interface: libmicrohttpd in control's loop.  Layer web, control process.
 *
 * A write is answered only after the commit of its turn:
 *
 *   handler writes to the store -> ops->written() -> the exchange is parked
 *        end of the turn: control calls store_commit()
 *             committed -> api_committed()      the prepared answers go out
 *             failed    -> api_commit_failed()  every parked write answers 503; nothing was changed
 */
#ifndef TULOU_WEB_API_API_H
#define TULOU_WEB_API_API_H

#include "base/err.h"
#include "base/loop.h"
#include "config/settings.h"
#include "store/store.h"
#include "web/api/ops.h"

struct api;

/* All pointers and strings are borrowed and must outlive the api. */
struct api_config {
	const struct settings *settings;
	struct store *store;
	const struct ops *ops;
	int listen_fd;			/* listening unix socket, owned by the api once api_new succeeded */
	const char *log_dir;		/* <data>/logs: <app id>/current and previous */
	const char *control_dir;	/* <data>/control: builds/<id>.log */
	const char *public_port_suffix; /* for the URLs shown: ":8080", or "" for the scheme's own port */
};

/* Starts serving: at once when ops->ready() says so, else with api_begin(), or LIMIT_API_READY_MS after; who comes
 * before waits in the socket's queue, and is not told that nothing runs.  0 or negative errno with e set. */
int api_new(struct loop *l, const struct api_config *config, struct api **ret, struct err *e);
/* What is running is known.  Harmless twice. */
void api_begin(struct api *a);
/* Ends every exchange at once.  NULL is allowed. */
void api_free(struct api *a);

/* The transaction of this turn was committed, or was rolled back.  Both are harmless when nothing is parked. */
void api_committed(struct api *a);
void api_commit_failed(struct api *a);

/* A new event is in the store: pushed to those who follow it (after the commit when a transaction is open). */
void api_event(struct api *a, const struct model_event *ev);

/* store_generation() moved: wakes the long polls of /v1/node/state. */
void api_state_changed(struct api *a);

#endif
