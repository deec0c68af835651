/* The S3 client on the command line, configured as the service is:
 *     s3_tool put KEY FILE [STALL]     s3_tool get KEY FROM SIZE FILE   s3_tool head KEY
 *     s3_tool verify KEY FILE          s3_tool delete KEY               s3_tool list PREFIX [AFTER]
 *     s3_tool compose TO PART…         s3_tool uploads PREFIX           s3_tool abort KEY ID
 *     s3_tool probe                    s3_tool presign METHOD KEY EXPIRES SIZE [TYPE DISPOSITION]
 * Prints what it found as lines of JSON; ends with the s3_end, its reason on stderr. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "store/digest.h"
#include "store/s3.h"

static struct arena *arena;
static struct s3 *s3;
static struct s3_config config;

static void
line(const struct sigv4_pair *pairs, size_t n)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	buf_char(&b, '{');
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_char(&b, ',');
		buf_json_str(&b, pairs[i].name);
		buf_char(&b, ':');
		buf_json_str(&b, pairs[i].value);
	}
	printf("%.*s}\n", STR_ARG(buf_view(&b)));
	buf_fini(&b);
}

static struct str
number(int64_t v)
{
	return str_fmt(arena, "%lld", (long long)v);
}

static int64_t
value(const char *text)
{
	int64_t v;

	must(str_to_i64(str_from(text), &v));
	return v;
}

struct source {
	int fd;
	int64_t size;
	uint8_t sha256[DIGEST_LEN];
};

static struct source
source(const char *path)
{
	struct source f = {.fd = open(path, O_RDONLY)};

	must(f.fd >= 0 && digest_file(f.fd, f.sha256, &f.size, NULL, NULL));
	return f;
}

static bool
tell(void *ctx, int64_t done)
{
	const int64_t *most = ctx;

	return *most < 0 || done < *most;
}

static enum s3_end
do_put(char **argv)
{
	struct source f = source(argv[1]);
	int64_t most = argv[2] ? value(argv[2]) : -1;

	return s3_put(s3, str_from(argv[0]), f.fd, f.size, f.sha256, tell, &most);
}

static bool
sink(void *ctx, const void *p, size_t n)
{
	const int *fd = ctx;

	must(write(*fd, p, n) == (ssize_t)n);
	return true;
}

static enum s3_end
do_get(char **argv)
{
	int fd = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0600);

	return s3_get(s3, str_from(argv[0]), value(argv[1]), value(argv[2]), sink, &fd);
}

static enum s3_end
do_head(char **argv)
{
	struct s3_object o;
	enum s3_end end = s3_head(s3, str_from(argv[0]), &o);

	line((struct sigv4_pair[]){{STR("size"), number(o.size)}, {STR("etag"), str_from(o.etag)},
		 {STR("sha256"), str_from(o.sha256)}},
	    3);
	return end;
}

static enum s3_end
do_verify(char **argv)
{
	struct source f = source(argv[1]);

	return s3_verify(s3, str_from(argv[0]), f.size, f.sha256, NULL, NULL);
}

static enum s3_end
do_delete(char **argv)
{
	return s3_delete(s3, str_from(argv[0]));
}

static bool
print_entry(void *ctx, const struct s3_entry *e)
{
	(void)ctx;
	line((struct sigv4_pair[]){{STR("key"), e->key}, {STR("size"), number(e->size)},
		 {STR("modified_s"), number(e->modified_s)}, {STR("upload_id"), e->upload_id}},
	    4);
	return true;
}

static enum s3_end
do_list(char **argv)
{
	return s3_list(s3, str_from(argv[0]), str_from(argv[1]), print_entry, NULL);
}

static enum s3_end
do_uploads(char **argv)
{
	return s3_uploads(s3, str_from(argv[0]), print_entry, NULL);
}

static enum s3_end
do_abort(char **argv)
{
	return s3_abort(s3, str_from(argv[0]), str_from(argv[1]));
}

static enum s3_end
do_compose(char **argv)
{
	struct str parts[64];
	size_t n = 0;

	while (argv[n + 1] && n < 64) {
		parts[n] = str_from(argv[n + 1]);
		n++;
	}
	return s3_compose(s3, str_from(argv[0]), parts, n, NULL, NULL);
}

static enum s3_end
do_probe(char **argv)
{
	(void)argv;
	return s3_probe(s3);
}

static enum s3_end
do_presign(char **argv)
{
	struct s3_presigned out = s3_presign(arena, &config,
	    &(struct s3_presign){.method = argv[0],
		.key = str_from(argv[1]),
		.expires_s = value(argv[2]),
		.size = value(argv[3]),
		.content_type = argv[4] ? str_from(argv[4]) : STR_NONE,
		.content_disposition = argv[4] ? str_from(argv[5]) : STR_NONE});

	line(&(struct sigv4_pair){STR("url"), out.url}, 1);
	line(out.headers, out.n_headers);
	return S3_DONE;
}

static const struct {
	const char *name;
	enum s3_end (*run)(char **argv);
} commands[] = {
    {"put", do_put},
    {"get", do_get},
    {"head", do_head},
    {"verify", do_verify},
    {"delete", do_delete},
    {"list", do_list},
    {"uploads", do_uploads},
    {"abort", do_abort},
    {"compose", do_compose},
    {"probe", do_probe},
    {"presign", do_presign},
};

int
main(int argc, char **argv)
{
	enum s3_end end = S3_REFUSED;

	log_init("s3_tool", LOG_INFO);
	arena = arena_new(1 << 20);
	if (argc < 2 || !s3_config_load(arena, &config))
		return 64;
	s3 = s3_new(&config, 0);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (str_eq(str_from(commands[i].name), str_from(argv[1])))
			end = commands[i].run(argv + 2);
	}
	if (end != S3_DONE)
		fprintf(stderr, "%s\n", s3_reason(s3));
	s3_free(s3);
	arena_free(arena);
	return (int)end;
}
