/* The files of the dashboard, built into the program.  Layer web, control process.
 * web/dashboard/embed.mjs writes the table from what Vite built; see dashboard.mk. */
#ifndef TULOU_WEB_DASHBOARD_DASHBOARD_H
#define TULOU_WEB_DASHBOARD_DASHBOARD_H

#include <stddef.h>

struct dashboard_file {
	const char *path;	   /* "/index.html", "/assets/index-4f2a91c0.js": compared exactly */
	const char *type;	   /* value of Content-Type */
	const char *etag;	   /* quoted, from the content's digest */
	const unsigned char *data; /* static, never freed */
	size_t len;
	const unsigned char *gzip; /* the same file compressed; NULL when that does not make it smaller */
	size_t gzip_len;
};

/* The file of a request's path, without its query; "/" is "/index.html".  NULL when there is none: a path that names
 * no file and has no dot is a page inside the dashboard, for which the caller serves "/index.html".
 * Files below "/assets/" have a digest in their name and may be cached for ever; all others must be asked for again. */
const struct dashboard_file *dashboard_find(const char *path);

#endif
