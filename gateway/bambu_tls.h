/* TLS towards Bambu printers: the certificate chains to a maker's CA and its CN is the printer's
 * serial number. */
#ifndef GATEWAY_BAMBU_TLS_H
#define GATEWAY_BAMBU_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>

enum tls_verdict { TLS_NOT_SEEN, TLS_GOOD, TLS_OTHER_SERIAL, TLS_UNTRUSTED };

/* One context for all sessions. Which of them a handshake belongs to is said before each call that
 * may do one. */
struct bambu_tls {
	SSL_CTX *ctx;
	const char *serial;       /* expected in the handshake that runs now */
	enum tls_verdict verdict; /* of it */
};

/* ca_path: PEM certificates. False, and logged, when it cannot be used. The struct must not move
 * afterwards. */
bool bambu_tls_init(struct bambu_tls *t, const char *ca_path);
void bambu_tls_fini(struct bambu_tls *t);

#endif
