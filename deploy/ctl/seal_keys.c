/* gateway-key create, courier-key create: the key pairs that seal secrets. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/seal.h"
#include "ctl.h"

/* A new file, whole and on disk; never over an existing one, which would make sealed secrets
 * unreadable. */
static bool
write_new(const char *path, struct str text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	bool ok;

	if (fd < 0)
		return fail("%s: %s", path, strerror(errno)), false;
	ok = write(fd, text.p, text.n) == (ssize_t)text.n && fchmod(fd, mode) == 0 &&
	    fsync(fd) == 0;
	if (!ok)
		fail("%s: %s", path, strerror(errno));
	close(fd);
	if (!ok)
		unlink(path);
	return ok;
}

static int
make_pair(struct ctl *c, const char *reader)
{
	const char *paths[2];
	struct str priv, pub;

	if (!opts_parse(c, NULL, 0, paths, 2))
		return 2;
	seal_generate(c->arena, &priv, &pub);
	if (!write_new(paths[0], priv, 0400))
		return 1;
	if (!write_new(paths[1], pub, 0444)) {
		unlink(paths[0]);
		return 1;
	}
	note("private key (the %s's alone): %s\npublic key (the API's): %s", reader, paths[0],
	    paths[1]);
	return 0;
}

int
cmd_gateway_key(struct ctl *c)
{
	return make_pair(c, "gateway");
}

int
cmd_courier_key(struct ctl *c)
{
	return make_pair(c, "courier");
}
