/* What other resources need of apps.  Layer web, control process. */
#ifndef TULOU_WEB_API_APPS_H
#define TULOU_WEB_API_APPS_H

#include "web/api/exchange.h"

/* The app object of README.md; a new reference. */
json_t *apps_json(struct api *a, const struct model_app *app);
/* Its public URL. */
void apps_url(const struct api *a, const char *name, char out[LIMIT_HOST + 64]);
/* Tells control that x->app's wanted state changed. */
void apps_changed(struct exchange *x);

/* Sets the counts of a formation object for one app: checked against the live release's types, the limits and the
 * tenant's quota before anything is written.  0 or negative errno. */
int formation_set(struct api *a, const struct model_app *app, json_t *counts, struct err *e);

#endif
