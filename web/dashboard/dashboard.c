/* The dashboard's files, found by path.  Layer web, control process. */
#include "web/dashboard/dashboard.h"

#include "dashboard_files.h" /* generated: dashboard_files[], sorted by path */

#include <stdlib.h>
#include <string.h>

static int compare_path(const void *key, const void *row)
{
	return strcmp(key, ((const struct dashboard_file *)row)->path);
}

const struct dashboard_file *dashboard_find(const char *path)
{
	if (!strcmp(path, "/"))
		path = "/index.html";
	return bsearch(path, dashboard_files, sizeof dashboard_files / sizeof *dashboard_files, sizeof *dashboard_files,
		       compare_path);
}
