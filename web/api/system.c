/* What needs no token: health, version, the dashboard's files.  Layer web, control process. */
#include "web/api/fields.h"
#include "web/api/route.h"
#include "web/dashboard/dashboard.h"

#include <string.h>

#ifndef TULOU_VERSION
#define TULOU_VERSION "0.0.0"
#endif
#ifndef TULOU_COMMIT
#define TULOU_COMMIT "unknown"
#endif

void api_healthz(struct exchange *x)
{
	api_answer_json(x, 200, json_pack("{s:s}", "status", "ok"));
}

void api_readyz(struct exchange *x)
{
	const struct ops *ops = x->api->config.ops;

	if (ops->ready(ops->ctx))
		api_answer_json(x, 200, json_pack("{s:s}", "status", "ok"));
	else
		api_answer_problem(x, 503, NULL,
				   "the supervisor is not connected yet, or its instances are not known yet");
}

void api_version(struct exchange *x)
{
	api_answer_json(x, 200,
			json_pack("{s:s, s:s, s:s}", "version", TULOU_VERSION, "commit", TULOU_COMMIT, "node",
				  x->api->config.settings->node_name));
}

void api_openapi_get(struct exchange *x)
{
	api_answer_json(x, 200, api_openapi(x->api));
}

static bool accepts_gzip(struct exchange *x)
{
	const char *s = api_header(x, "Accept-Encoding"), *p = s ? strstr(s, "gzip") : NULL;

	return p && strncmp(p + 4, ";q=0", 4) != 0;
}

/* Its tenants' text is shown by script as text nodes; the policy makes sure that nothing else can run. */
static const char dashboard_policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
				       "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
				       "form-action 'self'; frame-ancestors 'none'";

void api_dashboard_get(struct exchange *x)
{
	const struct dashboard_file *f = dashboard_find(x->path);
	const unsigned char *data;
	struct MHD_Response *r;
	bool gzip;

	if (!f && !strchr(x->path, '.'))
		f = dashboard_find("/index.html");
	if (!f) {
		api_answer_problem(x, 404, NULL, "there is nothing at this path");
		return;
	}
	if (api_etag_matches(x, f->etag)) {
		api_answer_empty(x, 304);
		api_answer_header(x, "ETag", f->etag);
		return;
	}
	gzip = f->gzip && accepts_gzip(x);
	data = gzip ? f->gzip : f->data;
	/* MHD only reads what is persistent; its parameter lacks the const. */
	r = MHD_create_response_from_buffer(gzip ? f->gzip_len : f->len, (void *)(uintptr_t)data,
					    MHD_RESPMEM_PERSISTENT);
	if (!r)
		return;
	x->response = r;
	x->status = 200;
	api_answer_header(x, "Content-Type", f->type);
	api_answer_header(x, "ETag", f->etag);
	api_answer_header(x, "Vary", "Accept-Encoding");
	api_answer_header(x, "Cache-Control",
			  strncmp(f->path, "/assets/", 8) == 0 ? "public, max-age=31536000, immutable" : "no-cache");
	api_answer_header(x, "X-Content-Type-Options", "nosniff");
	api_answer_header(x, "Content-Security-Policy", dashboard_policy);
	api_answer_header(x, "Referrer-Policy", "same-origin");
	api_answer_header(x, "Cross-Origin-Opener-Policy", "same-origin");
	if (gzip)
		api_answer_header(x, "Content-Encoding", "gzip");
}
