#include "http/disposition.h"

#include "base/arena.h"
#include "base/buf.h"

/* RFC 8187: what is no attr-char is percent-encoded. */
static void
write_extended(struct buf *b, struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		unsigned char ch = (unsigned char)name.p[i];
		bool plain = (ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z') ||
		    (ch >= 'a' && ch <= 'z') || str_index(STR("!#$&+-.^_`|~"), (char)ch) >= 0;

		if (plain)
			buf_char(b, (char)ch);
		else
			buf_fmt(b, "%%%02X", ch);
	}
}

/* A quoted-string for programs that know ASCII only. */
static void
write_plain(struct buf *b, struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		unsigned char ch = (unsigned char)name.p[i];
		bool bad = ch < 0x20 || ch > 0x7e || ch == '"' || ch == '\\' || ch == '%';

		if ((ch & 0xc0) != 0x80) /* one for each character */
			buf_char(b, bad ? '_' : (char)ch);
	}
}

struct str
disposition(struct arena *a, struct str kind, struct str name)
{
	struct buf b;
	struct str out;

	buf_init(&b, 8192);
	buf_fmt(&b, "%.*s; filename=\"", STR_ARG(kind));
	write_plain(&b, name);
	buf_str(&b, STR("\"; filename*=UTF-8''"));
	write_extended(&b, name);
	out = str_dup(a, buf_view(&b));
	buf_fini(&b);
	return out;
}
