/* Is a certificate revoked: questions and what responders answer.  Layer agent, fetcher process. */
#include "agent/fetch/ocsp.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct ocsp {
	X509 *issuer;
	OCSP_CERTID *id;
	uint8_t *question; /* OpenSSL's */
	size_t len;
};

static int ocsp_no_passphrase(char *buf, int size, int rw, void *arg)
{
	(void)buf;
	(void)size;
	(void)rw;
	(void)arg;
	return -1;
}

void ocsp_free(struct ocsp *o)
{
	if (!o)
		return;
	X509_free(o->issuer);
	OCSP_CERTID_free(o->id);
	OPENSSL_free(o->question);
	free(o);
}

static bool ocsp_make_question(struct ocsp *o)
{
	OCSP_REQUEST *q = OCSP_REQUEST_new();
	OCSP_CERTID *copy = OCSP_CERTID_dup(o->id);
	int n = -1;

	if (q && copy && OCSP_request_add0_id(q, copy)) {
		copy = NULL;
		n = i2d_OCSP_REQUEST(q, &o->question);
	}
	OCSP_CERTID_free(copy);
	OCSP_REQUEST_free(q);
	o->len = n > 0 ? (size_t)n : 0;
	return n > 0;
}

int ocsp_new(const char *pem, size_t n, struct ocsp **ret, struct err *e)
{
	struct ocsp *o = calloc(1, sizeof *o);
	BIO *b = n <= LIMIT_CERT_BYTES * 2 ? BIO_new_mem_buf(pem, (int)n) : NULL;
	X509 *leaf = b ? PEM_read_bio_X509(b, NULL, ocsp_no_passphrase, NULL) : NULL;
	int r = 0;

	if (o)
		o->issuer = leaf ? PEM_read_bio_X509(b, NULL, ocsp_no_passphrase, NULL) : NULL;
	if (!o)
		r = err_set(e, ENOMEM, "out of memory");
	else if (!leaf || !o->issuer)
		r = err_set(e, EINVAL, "the certificate or its issuer cannot be read");
	else if (!(o->id = OCSP_cert_to_id(EVP_sha1(), leaf, o->issuer)) || !ocsp_make_question(o))
		r = err_set(e, ENOMEM, "out of memory");
	X509_free(leaf);
	BIO_free(b);
	ERR_clear_error();
	if (r < 0)
		ocsp_free(o);
	else
		*ret = o;
	return r;
}

const uint8_t *ocsp_question(const struct ocsp *o, size_t *n)
{
	*n = o->len;
	return o->question;
}

bool ocsp_get(const struct ocsp *o, const char *url, char out[LIMIT_FETCH_URL + 1])
{
	char text[OCSP_GET_MAX * 2];
	size_t n = strlen(url);

	if (o->len > OCSP_GET_MAX / 2 || n >= OCSP_GET_MAX || strpbrk(url, "?#"))
		return false;
	EVP_EncodeBlock((uint8_t *)text, o->question, (int)o->len);
	memcpy(out, url, n);
	if (n == 0 || url[n - 1] != '/')
		out[n++] = '/';
	for (const char *p = text; *p; p++) {
		if (n + 3 > OCSP_GET_MAX)
			return false;
		if (*p == '+' || *p == '/' || *p == '=')
			n += (size_t)snprintf(out + n, 4, "%%%02X", (unsigned)*p);
		else
			out[n++] = *p;
	}
	out[n] = '\0';
	return true;
}

/* --- answers -------------------------------------------------------------------------------------------------- */

static int64_t ocsp_time_ms(const ASN1_GENERALIZEDTIME *t)
{
	struct tm tm;

	return t && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) * 1000 : -1;
}

/* Signed by the issuer, or by whom it named: the issuer is the one thing that is trusted, whoever signed it. */
static bool ocsp_signed(const struct ocsp *o, OCSP_BASICRESP *answer, int64_t now_ms)
{
	X509_STORE *trust = X509_STORE_new();
	STACK_OF(X509) *known = sk_X509_new_null();
	X509_VERIFY_PARAM *param = trust ? X509_STORE_get0_param(trust) : NULL;
	bool ok = param && known && X509_STORE_add_cert(trust, o->issuer) == 1 && sk_X509_push(known, o->issuer) > 0;

	if (ok) {
		X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
		X509_VERIFY_PARAM_set_time(param, (time_t)(now_ms / 1000));
		ok = OCSP_basic_verify(answer, known, trust, OCSP_NOEXPLICIT) == 1;
	}
	sk_X509_free(known);
	X509_STORE_free(trust);
	return ok;
}

/* NULL when it holds at now_ms, or why it does not. */
static const char *ocsp_holds(struct fetch_status_answer *ret, bool has_next, int64_t now_ms)
{
	if (ret->this_ms < 0 || (has_next && ret->next_ms <= ret->this_ms))
		return "the responder's answer has times that cannot be";
	if (ret->this_ms > now_ms + OCSP_SKEW_MS)
		return "the responder's answer is of the future; is this host's clock right?";
	if (has_next ? ret->next_ms <= now_ms : now_ms - ret->this_ms > OCSP_STALE_MS)
		return "the responder's answer is over";
	return NULL;
}

static const char *ocsp_judge(const struct ocsp *o, OCSP_BASICRESP *answer, int64_t now_ms,
			      struct fetch_status_answer *ret)
{
	ASN1_GENERALIZEDTIME *revoked = NULL, *from = NULL, *to = NULL;
	int status, reason;
	const char *wrong;

	if (!ocsp_signed(o, answer, now_ms))
		return "the responder's answer is not signed by the certificate's issuer";
	if (OCSP_resp_find_status(answer, o->id, &status, &reason, &revoked, &from, &to) != 1)
		return "the responder's answer is about another certificate";
	ret->this_ms = ocsp_time_ms(from);
	ret->next_ms = to ? ocsp_time_ms(to) : 0;
	if ((wrong = ocsp_holds(ret, to != NULL, now_ms)))
		return wrong;
	if (status == V_OCSP_CERTSTATUS_GOOD) {
		ret->cert = FETCH_CERT_GOOD;
		return NULL;
	}
	if (status != V_OCSP_CERTSTATUS_REVOKED)
		return "the responder does not know the certificate";
	ret->cert = FETCH_CERT_REVOKED;
	ret->revoked_ms = ocsp_time_ms(revoked);
	return NULL;
}

static const char *ocsp_refusal(int status)
{
	switch (status) {
	case OCSP_RESPONSE_STATUS_MALFORMEDREQUEST:
		return "the responder does not understand the question";
	case OCSP_RESPONSE_STATUS_INTERNALERROR:
		return "the responder has an internal error";
	case OCSP_RESPONSE_STATUS_TRYLATER:
		return "the responder says: later";
	case OCSP_RESPONSE_STATUS_SIGREQUIRED:
		return "the responder wants questions to be signed";
	case OCSP_RESPONSE_STATUS_UNAUTHORIZED:
		return "the responder does not answer for this certificate";
	default:
		return "the responder's answer cannot be read";
	}
}

void ocsp_read(const struct ocsp *o, const void *der, size_t n, int64_t now_ms, struct fetch_status_answer *ret)
{
	const uint8_t *p = der, *end = p + n;
	OCSP_RESPONSE *r = n > 0 && n <= LIMIT_STAPLE_BYTES ? d2i_OCSP_RESPONSE(NULL, &p, (long)n) : NULL;
	OCSP_BASICRESP *basic = NULL;
	const char *wrong = "the responder's answer cannot be read";
	int status = r ? OCSP_response_status(r) : -1;

	ret->cert = FETCH_CERT_UNKNOWN;
	ret->this_ms = ret->next_ms = ret->revoked_ms = 0;
	if (n > LIMIT_STAPLE_BYTES)
		wrong = "the responder's answer is too long";
	else if (r && p == end && status != OCSP_RESPONSE_STATUS_SUCCESSFUL)
		wrong = ocsp_refusal(status);
	else if (r && p == end && (basic = OCSP_response_get1_basic(r)))
		wrong = ocsp_judge(o, basic, now_ms, ret);
	snprintf(ret->error, sizeof ret->error, "%s", wrong ? wrong : "");
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(r);
	ERR_clear_error();
}
