/* Which node, as whom: options, environment, what `tulou login` saved, the node on this host.  Layer web, program
 * tulou. */
#ifndef TULOU_WEB_CLI_ACCOUNT_H
#define TULOU_WEB_CLI_ACCOUNT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct cli;

/* Fills c->base and c->bearer (NULL when there is no token).  A saved token goes only to the URL it was saved with, and
 * the operator's token of this host only to this host.  0 or -EINVAL (a URL that is none, a saved file that cannot be
 * read). */
int cli_account(struct cli *c, struct err *e);
void cli_account_done(struct cli *c);

/* Keeps url and token in ~/.config/tulou/config.json (0600, directory 0700; $XDG_CONFIG_HOME counts). 0 or negative
 * errno. */
int cli_account_save(const char *url, const char *token, struct err *e);
/* Removes that file; 0 (also when there is none) or negative errno. */
int cli_account_forget(struct err *e);

/* Checks and cleans a URL: http or https, a host, no user, query or fragment; "host" alone becomes "http://host".
 * *ret is owned, without a slash at its end.  0 or -EINVAL. */
int cli_account_url(const char *text, char **ret, struct err *e);

/* Fills c->app_name, from --app, $TULOU_APP, the git remote `tulou`, app.json.  0, or -ENOENT with e saying how to name
 * one. */
int cli_account_app(struct cli *c, struct err *e);

/* Name of the app in the URL of a git remote ("http://x@HOST/git/shop.git" → "shop"); false when it is none of ours. */
bool cli_account_remote(const char *url, char *out, size_t cap);

#endif
