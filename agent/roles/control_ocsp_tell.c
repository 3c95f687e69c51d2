/* What API and metrics say of stapling.  Layer agent, control process. */
#include "agent/roles/control_ocsp.h"

#include "base/clock.h"
#include "web/api/fields.h"

#include <inttypes.h>

static json_t *ocsp_when(int64_t ms)
{
	return ms > 0 ? fields_time(ms) : json_null();
}

json_t *control_ocsp_json(const struct control *c, uint64_t id)
{
	struct control_staple *s = c->ocsp ? map_get(c->ocsp->all, &id, sizeof id) : NULL;

	if (!s)
		return json_null();
	return json_pack("{s:s, s:b, s:b, s:s?, s:o, s:o, s:o, s:o, s:s?}", "status",
			 model_staple_state_name(s->rec.state), "stapled", control_ocsp_holds(s, clock_wall_ms()),
			 "must_staple", s->must, "responder", s->url, "this_update", ocsp_when(s->rec.this_ms),
			 "next_update", ocsp_when(s->rec.next_ms), "revoked_at", ocsp_when(s->rec.revoked_ms),
			 "next_try", s->url && !s->fetch ? ocsp_when(s->rec.due_ms) : json_null(), "error",
			 s->rec.error[0] ? s->rec.error : NULL);
}

void control_ocsp_metrics(const struct control *c, struct buf *out)
{
	static const char *const ends[FETCH_CERT_COUNT] = {"failed", "good", "revoked"};
	const struct control_ocsp *m = c->ocsp;
	int64_t now = clock_wall_ms();
	struct control_staple *s;
	unsigned stapled = 0, missing = 0, revoked = 0;

	if (!m)
		return;
	for (size_t pos = 0; (s = map_next(m->all, &pos));) {
		revoked += s->rec.state == MODEL_STAPLE_REVOKED;
		stapled += control_ocsp_holds(s, now);
		missing += s->rec.state != MODEL_STAPLE_REVOKED && !control_ocsp_holds(s, now);
	}
	buf_adds(out, "# HELP tulou_ocsp_answers_total Questions to OCSP responders that ended, by what came.\n"
		      "# TYPE tulou_ocsp_answers_total counter\n");
	for (unsigned i = 0; i < FETCH_CERT_COUNT; i++)
		buf_printf(out, "tulou_ocsp_answers_total{end=\"%s\"} %" PRIu64 "\n", ends[i], m->ends[i]);
	buf_printf(out,
		   "# HELP tulou_ocsp_certificates Certificates that name an OCSP responder or demand a staple.\n"
		   "# TYPE tulou_ocsp_certificates gauge\n"
		   "tulou_ocsp_certificates{state=\"stapled\"} %u\n"
		   "tulou_ocsp_certificates{state=\"missing\"} %u\n"
		   "tulou_ocsp_certificates{state=\"revoked\"} %u\n",
		   stapled, missing, revoked);
}
