#include "web/dashboard/dashboard.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

/* The page as it is asked for: "/" names it, and all that it names is there. */
Test(dashboard, index_and_what_it_names)
{
	const struct dashboard_file *f = dashboard_find("/");
	char html[8192], path[256];
	unsigned named = 0;

	cr_assert_not_null(f);
	cr_assert_eq(f, dashboard_find("/index.html"));
	cr_assert_str_eq(f->type, "text/html; charset=utf-8");
	cr_assert(f->etag[0] == '"' && f->etag[strlen(f->etag) - 1] == '"');
	cr_assert_lt(f->len, sizeof html);
	memcpy(html, f->data, f->len);
	html[f->len] = '\0';
	for (const char *p = html; (p = strpbrk(p, "\"")) != NULL; p++) {
		size_t n = strcspn(p + 1, "\"");
		if (p[1] != '/' || n >= sizeof path)
			continue;
		memcpy(path, p + 1, n);
		path[n] = '\0';
		cr_assert_not_null(dashboard_find(path), "%s is named by the page", path);
		named++;
	}
	cr_assert_geq(named, 3u, "a script, a style sheet and an icon");
	/* The policy forbids inline code. */
	cr_assert_null(strstr(html, "<style"));
	cr_assert_null(strstr(html, "onload="));
	cr_assert_null(strstr(html, "data:"));
}

Test(dashboard, finds_exact_paths_only)
{
	static const char *const none[] = {"",
					   "index.html",
					   "//",
					   "/index.html/",
					   "/INDEX.HTML",
					   "/assets/",
					   "/assets/../index.html",
					   "/apps/shop",
					   "/index.html.gz",
					   "/z"};

	for (size_t i = 0; i < sizeof none / sizeof *none; i++)
		cr_assert_null(dashboard_find(none[i]), "%s", none[i]);
}

/* The compressed form is the same file. */
Test(dashboard, gzip_is_the_same)
{
	const struct dashboard_file *f = dashboard_find("/");
	static unsigned char out[1 << 16];
	z_stream z = {0};

	cr_assert_not_null(f->gzip);
	cr_assert_lt(f->gzip_len, f->len);
	cr_assert_eq(inflateInit2(&z, 16 + MAX_WBITS), Z_OK);
	z.next_in = (z_const Bytef *)(uintptr_t)f->gzip;
	z.avail_in = (uInt)f->gzip_len;
	z.next_out = out;
	z.avail_out = sizeof out;
	cr_assert_eq(inflate(&z, Z_FINISH), Z_STREAM_END);
	cr_assert_eq(z.total_out, f->len);
	cr_assert_eq(memcmp(out, f->data, f->len), 0);
	inflateEnd(&z);
}
