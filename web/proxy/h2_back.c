/* Apps that speak HTTP/2 without TLS.  Layer web, proxy process.  None is known yet. */
#include "web/proxy/h2.h"

void h2_back_callbacks(nghttp2_session_callbacks *c)
{
	(void)c;
}

void h2_back_turn(struct h2 *h)
{
	(void)h;
}

void h2_back_run(struct h2_stream *st)
{
	(void)st;
}
