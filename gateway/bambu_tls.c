#include "gateway/bambu_tls.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/log.h"

/* The certificate's only CN. */
static bool
common_name(X509 *cert, char *out, size_t size)
{
	X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	const ASN1_STRING *cn;

	if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
		return false;
	cn = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
	if (ASN1_STRING_length(cn) <= 0 || (size_t)ASN1_STRING_length(cn) >= size)
		return false;
	memcpy(out, ASN1_STRING_get0_data(cn), (size_t)ASN1_STRING_length(cn));
	out[ASN1_STRING_length(cn)] = '\0';
	return strlen(out) == (size_t)ASN1_STRING_length(cn);
}

static int
verify(int chain_ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct bambu_tls *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	char cn[80];

	if (!chain_ok) {
		t->verdict = TLS_UNTRUSTED;
		return 0;
	}
	if (X509_STORE_CTX_get_error_depth(store) > 0)
		return 1;
	t->verdict = TLS_OTHER_SERIAL;
	if (t->serial && common_name(X509_STORE_CTX_get_current_cert(store), cn, sizeof(cn)) &&
	    strcmp(cn, t->serial) == 0)
		t->verdict = TLS_GOOD;
	if (t->verdict != TLS_GOOD)
		X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
	return t->verdict == TLS_GOOD;
}

bool
bambu_tls_init(struct bambu_tls *t, const char *ca_path)
{
	memset(t, 0, sizeof(*t));
	t->ctx = SSL_CTX_new(TLS_client_method());
	must(t->ctx != NULL);
	SSL_CTX_set_app_data(t->ctx, t);
	SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION); /* most models speak nothing newer */
	SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(t->ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, verify);
	if (SSL_CTX_load_verify_locations(t->ctx, ca_path, NULL) == 1)
		return true;
	log_error("the printers' CA file cannot be used", LOG_Z("path", ca_path));
	ERR_clear_error();
	bambu_tls_fini(t);
	return false;
}

void
bambu_tls_fini(struct bambu_tls *t)
{
	SSL_CTX_free(t->ctx);
	t->ctx = NULL;
}
