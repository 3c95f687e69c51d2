/* The operator's certificates: files of the folder tls.certificates.  Layer agent, supervisor process.
 * NAME.crt is a chain, NAME.key its key.  They are the operator's and only root may read keys, so the supervisor reads
 * them; it hands their bytes to control and does not look into them. */
#ifndef TULOU_AGENT_ROLES_CERTFILES_H
#define TULOU_AGENT_ROLES_CERTFILES_H

#include "base/chan.h"

/* Sends a MSG_CERT_FILE for each pair in dir ("" = none).  What cannot be used is logged and left out: a folder that
 * others than its owner may write, a key that everybody may read, files over LIMIT_CERT_BYTES. */
void certfiles_send(struct chan *control, const char *dir);

#endif
