/* GET /metrics: Prometheus text.  Layer web, control process. */
#include "base/own.h"
#include "web/api/route.h"

#include <inttypes.h>
#include <string.h>

/* Our own counters, for operator and fleet. */
static void metrics_own(const struct api *a, struct buf *out)
{
	static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};

	buf_adds(out, "# HELP tulou_api_requests_total Requests to the API by class of status.\n"
		      "# TYPE tulou_api_requests_total counter\n");
	for (unsigned i = 0; i < ARRAY_LEN(classes); i++)
		buf_printf(out, "tulou_api_requests_total{status=\"%s\"} %" PRIu64 "\n", classes[i], a->requests[i]);
	buf_printf(out,
		   "# HELP tulou_api_auth_failures_total Requests with a wrong token.\n"
		   "# TYPE tulou_api_auth_failures_total counter\ntulou_api_auth_failures_total %" PRIu64 "\n"
		   "# HELP tulou_api_streams Followers, long polls, uploads and git exchanges that are open.\n"
		   "# TYPE tulou_api_streams gauge\ntulou_api_streams %u\n"
		   "# HELP tulou_api_streams_refused_total Streams refused because too many were open.\n"
		   "# TYPE tulou_api_streams_refused_total counter\ntulou_api_streams_refused_total %" PRIu64 "\n"
		   "# HELP tulou_api_parked Writes waiting for their commit.\n"
		   "# TYPE tulou_api_parked gauge\ntulou_api_parked %u\n"
		   "# HELP tulou_api_exchanges Requests being handled.\n"
		   "# TYPE tulou_api_exchanges gauge\ntulou_api_exchanges %u\n",
		   a->auth_failures, a->streams, a->refused, a->parked, a->exchanges);
}

/* True when a sample line carries tenant="name".  Quotes inside label values are escaped, and a label begins behind
 * '{' or ',', so no value can look like one. */
static bool metrics_is_of(const char *line, size_t n, const char *label, size_t label_n)
{
	const char *end = line + n;
	bool quoted = false;

	for (const char *p = line; p < end; p++) {
		if (quoted && *p == '\\')
			p++;
		else if (*p == '"')
			quoted = !quoted;
		else if (!quoted && (*p == '{' || *p == ',') && (size_t)(end - p - 1) > label_n &&
			 memcmp(p + 1, label, label_n) == 0)
			return true;
	}
	return false;
}

/* Keeps the lines of one tenant, and the comments. */
static void metrics_filter(struct buf *all, const char *tenant, struct buf *out)
{
	char label[LIMIT_TENANT_NAME + 16];
	size_t label_n = (size_t)snprintf(label, sizeof label, "tenant=\"%s\"", tenant);

	for (const char *p = all->data, *end = p + all->len, *next; p && p < end; p = next) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		next = nl ? nl + 1 : end;
		if (*p == '#' || metrics_is_of(p, (size_t)(next - p), label, label_n))
			buf_add(out, p, (size_t)(next - p));
	}
}

void api_metrics(struct exchange *x)
{
	const struct ops *ops = x->api->config.ops;
	OWN_BUF struct buf all, mine;
	struct buf *out = &all;

	buf_init(&all, LIMIT_API_METRICS_BYTES);
	buf_init(&mine, LIMIT_API_METRICS_BYTES);
	ops->metrics(ops->ctx, &all);
	if (x->who.tenant) {
		metrics_filter(&all, x->who.tenant_name, &mine);
		out = &mine;
	} else
		metrics_own(x->api, &all);
	if (out->failed)
		api_answer_problem(x, 503, NULL, "the metrics are over the limit of %u bytes", LIMIT_API_METRICS_BYTES);
	else
		api_answer_text(x, 200, "text/plain; version=0.0.4; charset=utf-8", out->data ? out->data : "",
				out->len);
}
