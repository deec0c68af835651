#include "gateway/identity.h"

#include <openssl/sha.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

/* True when no other process has bound it. */
static bool
bind_name(int fd, const char *name, const char *database)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	unsigned char hash[SHA256_DIGEST_LENGTH];
	char text[512];
	int n = snprintf(text, sizeof(text), "%.190s %.300s", name, database);

	must(n > 0 && n < (int)sizeof(text));
	SHA256((const unsigned char *)text, (size_t)n, hash);
	n = snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "soloprint-gateway-");
	memcpy(at.sun_path + 1 + n, hash, sizeof(hash));
	return bind(fd, (const struct sockaddr *)&at,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n +
		       sizeof(hash))) == 0;
}

void
identity_init(struct identity *id, const char *name, const char *database)
{
	char host[64] = "";
	size_t n;

	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	snprintf(id->name, sizeof(id->name), "%s/%.100s", host, name);
	id->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(id->fd >= 0);
	id->sole = bind_name(id->fd, id->name, database);
	n = strlen(id->name);
	if (!id->sole)
		snprintf(id->name + n, sizeof(id->name) - n, "-%d", (int)getpid());
}

void
identity_fini(struct identity *id)
{
	close(id->fd);
	id->fd = -1;
}
