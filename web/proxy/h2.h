/* What the files of HTTP/2 share.  Layer web, proxy process, private to web/proxy/h2*.c.
 *
 * A session is one socket that speaks HTTP/2: a client's (front, h2_front.c) or one to an instance of an app with
 * `protocol: h2c` (back, h2_back.c).  Each of its streams is a virtual connection: to the rest of the proxy a struct
 * conn that speaks HTTP/1.1, so routing, parking, retries, relaying, deadlines and the log know nothing of HTTP/2.
 *
 *     client == HTTP/2 == session -> stream = struct client   -> relay -> struct upstream = stream -> session == app
 *                         h2_front.c    its conn: text of 1.1           its conn: text of 1.1     h2_back.c
 *
 * Heads are turned into text and judged by the one strict parser; heads on the way out are parsed from our own text.
 * Bodies pass as they are: framing is added and taken away by h2_read() and h2_send().
 *
 * nghttp2's callbacks never run a client: they note what came, and h2_work() runs those who have work afterwards.
 * Frames leave once per turn of the loop, h2_output(), as many as fit one buffer in one send. */
#ifndef TULOU_WEB_PROXY_H2_H
#define TULOU_WEB_PROXY_H2_H

#include "web/proxy/internal.h"

#include <nghttp2/nghttp2.h>

#define H2_CHUNK_ROOM (CHUNKED_PREFIX + 2)
#define H2_PSEUDO 5 /* method, scheme, authority, path, protocol */

struct h2_stream {
	TAILQ_ENTRY(h2_stream) all, todo, wait;
	struct h2 *h2; /* NULL when the session is gone */
	struct proxy *proxy;
	struct conn *conn;	   /* borrowed: the virtual connection that this is */
	int32_t id;		   /* 0 = not begun */
	uint32_t code;		   /* with which it was reset */
	struct pbuf *text, *tail;  /* owned; heads and trailers that came from an app, as text */
	struct pbuf *rx, *rx_last; /* owned; body bytes that came and were not read yet */
	size_t rx_bytes, head_bytes;
	char *trailers; /* owned; lines "name: value\n" that go out behind the body */
	size_t trailers_len;
	char *late; /* owned; the same, that came behind the body of a request (front) */
	size_t late_len;
	bool in_todo, in_wait;
	bool chunked;	 /* the body that came is read in chunked framing */
	bool rx_end;	 /* the peer ended its direction */
	bool rx_said;	 /* ... and the reader knows */
	bool sent;	 /* the head went out: of the request (back), of the real answer (front) */
	bool final;	 /* the head of the real answer came (back) */
	bool begun;	 /* a head comes behind what is in text (back) */
	bool end;	 /* nothing follows what is in conn->out */
	bool deferred;	 /* nghttp2 waits for h2_resume() */
	bool gone;	 /* nghttp2 has closed it */
	bool refused;	 /* the app's side did not look at it */
	bool malformed;	 /* of the head that comes */
	bool over;	 /* the head that comes is too long */
	bool tunnel;	 /* WebSocket (RFC 8441); back: until another answer than 2xx came */
	bool complete;	 /* the head of the request is there */
	unsigned status; /* to refuse it with, 0 = not */
	const char *why; /* constant text */
	char accept[29]; /* back: what a client of 1.1 is told when the WebSocket stands; NUL-terminated */
};

TAILQ_HEAD(h2_streams, h2_stream);

/* A leaky bucket: what floods consist of fills it, time empties it. */
struct h2_bucket {
	int32_t level;
	int64_t at_us;
};

struct h2 {
	nghttp2_session *ng;
	struct proxy *proxy;
	struct conn *conn; /* front: the client's; back: its own, below */
	bool back;
	bool later, closed;	 /* h2_turn() is due; to be freed */
	struct loop_timer again; /* ... in the next turn of the loop */
	bool greeted;		 /* the peer's first SETTINGS came */
	bool shutting, shut;	 /* GOAWAY was said, and with the last stream's number */
	uint32_t doom;		 /* the error to end with, 0 = none */
	struct h2_streams streams, todo, waiting;
	unsigned count;	  /* streams */
	size_t out_bytes; /* in conn->out of all streams */
	size_t heads;	  /* bytes of request heads held */
	size_t gather;	  /* in p->wbuf, during h2_output() */
	uint64_t sent;	  /* bytes given to the socket */
	uint64_t stall_mark;
	int64_t stall_us; /* the socket takes nothing: end of the window, 0 = it does */
	int64_t head_us;  /* by then the head that has begun must be complete, 0 = none */
	int64_t shut_us;
	struct h2_bucket junk, resets;
	/* The head that comes. */
	nghttp2_rcbuf *pseudo[H2_PSEUDO]; /* owned */
	unsigned fields, total, text, cookie;
	bool line, trailer, length;
	/* front */
	struct client *base; /* borrowed: the connection */
	/* back */
	struct conn own;
	struct instance *inst; /* borrowed, counted in its upstreams */
	struct wheel_entry timer;
	TAILQ_ENTRY(h2) list;
	bool connected, used, goaway;
};

/* Of the worker. */
struct h2_shared {
	nghttp2_session_callbacks *front, *back;
	nghttp2_option *option;
	struct http_request req;
	struct http_response res;
	nghttp2_nv nv[HTTP_FIELDS_MAX + HTTP_FIELDS_OURS + 8];
	char trailers[CHUNKED_TRAILER_MAX];
};

struct h2_client {
	struct client c;
	struct h2_stream s;
};
struct h2_upstream {
	struct upstream u;
	struct h2_stream s;
	bool tunnel; /* counted in the instance's */
};

/* ---- h2.c ---- */
void h2_callbacks(nghttp2_session_callbacks *c);
void h2_stream_init(struct h2 *h, struct h2_stream *st, struct conn *c, int32_t id);
/* The virtual connection goes: drops what came, tells the peer with `code` if it is not over. */
void h2_stream_drop(struct h2_stream *st, uint32_t code);
/* The session goes, the virtual connection stays: what came can still be read. */
void h2_stream_forget(struct h2_stream *st);
/* The one who reads or writes the stream is to be run. */
void h2_todo(struct h2_stream *st);
/* Runs those.  They may close the session: look at h->closed. */
void h2_work(struct h2 *h);
/* Frames are to be sent at the end of this turn. */
void h2_later(struct h2 *h);
/* Feeds bytes of the socket to nghttp2.  0, or negative errno: the session is over. */
int h2_input(struct h2 *h);
/* Sends what there is.  0 or negative errno. */
int h2_output(struct h2 *h);
/* Appends to what came. */
int h2_store(struct h2_stream *st, const uint8_t *data, size_t n);
/* Counts something that costs us more than the peer; too much of it dooms the session. */
void h2_junk(struct h2 *h, int32_t weight);
void h2_reset_seen(struct h2 *h);
/* A frame came: counts those that bring no work. */
int h2_frame_seen(struct h2 *h, const nghttp2_frame *f);
void h2_init_session(struct h2 *h, struct proxy *p, struct conn *c);
/* Frees it at the end of the turn.  It has no streams any more. */
void h2_free(struct h2 *h);

/* ---- h2_head.c: between fields of HTTP/2 and text of HTTP/1.1 ---- */
void h2_head_begin(struct h2 *h, const struct pbuf *b, bool trailer);
/* Adds a field; false when the peer is to be cut off. */
bool h2_head_field(struct h2 *h, struct h2_stream *st, struct pbuf *b, nghttp2_rcbuf *name, nghttp2_rcbuf *value);
/* Ends the text of a request in b; 0, or the status to refuse it with and *why. */
unsigned h2_head_request(struct h2 *h, struct h2_stream *st, struct pbuf *b, bool body, const char **why);
/* Ends the text of an answer's head or trailers. */
void h2_head_answer(struct h2 *h, struct h2_stream *st, struct pbuf *b);
void h2_head_done(struct h2 *h);
/* Sends the heads that stand as text at *data; moves it behind them.  more: a body may follow.  0 or negative errno. */
int h2_head_send_answer(struct h2_stream *st, char **data, size_t *len, bool done);
int h2_head_send_request(struct h2_stream *st, char **data, size_t *len, bool done);
/* Keeps a trailer of a request, which goes to an app that speaks HTTP/2 too.  Those that do not fit are dropped, all of
 * them, and so is the whole set with one that is malformed. */
void h2_head_late(struct h2_stream *st, nghttp2_rcbuf *name, nghttp2_rcbuf *value);
/* Those in st->trailers that may follow a body; false when none is left. */
bool h2_head_send_trailers(struct h2_stream *st);
extern const nghttp2_data_source_read_callback h2_data;

/* ---- h2_front.c, h2_back.c ---- */
void h2_front_callbacks(nghttp2_session_callbacks *c);
void h2_front_turn(struct h2 *h);
void h2_front_run(struct h2_stream *st);
void h2_back_callbacks(nghttp2_session_callbacks *c);
void h2_back_turn(struct h2 *h);
void h2_back_run(struct h2_stream *st);

/* Has the one who writes to it said all that he will? */
static inline bool h2_is_done(const struct h2_stream *st)
{
	if (st->h2->back)
		return PROXY_OF(st->conn, struct upstream, conn)->client->req.done;
	return PROXY_OF(st->conn, struct client, conn)->res.done;
}

#endif
