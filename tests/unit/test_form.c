/* multipart/form-data: what comes out of whole, odd and broken bodies. */
#include "scan/form.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"

#include "tap.h"

#define TYPE "multipart/form-data; boundary=XX"
#define PART(disposition, content)                                                                 \
	"--XX\r\nContent-Disposition: form-data; " disposition "\r\n\r\n" content "\r\n"
#define FILE_PART(content) PART("name=\"file\"; filename=\"a.stl\"", content)
#define END "--XX--\r\n"

static struct arena *arena;

struct done {
	struct scan_form form;
	struct str file; /* what was written */
};

static int
file_of(struct str bytes)
{
	int fd = memfd_create("form", MFD_CLOEXEC);

	must(fd >= 0);
	must(write(fd, bytes.p ? bytes.p : "", bytes.n) == (ssize_t)bytes.n);
	return fd;
}

static struct done
take(struct str type, struct str body)
{
	struct done d;
	int in = file_of(body), out = file_of(STR(""));
	char *p;
	ssize_t n;

	form_read(arena, in, type, out, &d.form);
	p = arena_alloc(arena, 1 << 20);
	n = pread(out, p, 1 << 20, 0);
	d.file = (struct str){p, n > 0 ? (size_t)n : 0};
	close(in);
	close(out);
	return d;
}

static struct str
field(const struct done *d, struct str name)
{
	for (size_t i = 0; i < d->form.n_fields; i++)
		if (str_eq(d->form.fields[i].name, name))
			return d->form.fields[i].value;
	return STR_NONE;
}

static void
test_errors(void)
{
	static const struct {
		struct str type, body;
		const char *want; /* begins with */
	} cases[] = {
	    {STR_INIT("application/json"), STR_INIT("{}"),
		"The Content-Type of the request is not multipart/form-data."},
	    {STR_INIT(""), STR_INIT("{}"), "The Content-Type of the request is not"},
	    {STR_INIT("multipart/mixed; boundary=XX"), STR_INIT(FILE_PART("x") END),
		"The Content-Type of the request is not"},
	    {STR_INIT("multipart/form-data"), STR_INIT(FILE_PART("x") END),
		"The Content-Type of the request names no boundary."},
	    {STR_INIT("multipart/form-data; boundary=XX\r\nX: y"), STR_INIT(FILE_PART("x") END),
		"The Content-Type of the request is malformed."},
	    {STR_INIT("multipart/form-data; boundary=YY"), STR_INIT(FILE_PART("x") END),
		"The body has no part between"},
	    {STR_INIT(TYPE), STR_INIT(""), "The body has no part between"},
	    {STR_INIT(TYPE), STR_INIT(END), "The body has no part between"},
	    {STR_INIT(TYPE), STR_INIT(FILE_PART("x")), "The body ends before"},
	    {STR_INIT(TYPE), STR_INIT("--XX\r\nContent-Disposition: form-data; name=\"file\""),
		"The body ends before"},
	    {STR_INIT(TYPE), STR_INIT(FILE_PART("x") "--XX-"), "The body ends before"},
	    {STR_INIT(TYPE), STR_INIT(PART("name=\"a\"", "x") END),
		"The form has no part named file."},
	    {STR_INIT(TYPE), STR_INIT(FILE_PART("x") FILE_PART("y") END),
		"The form has more than one part named file."},
	    {STR_INIT(TYPE), STR_INIT(PART("filename=\"x\"", "x") END),
		"A part of the form has no name."},
	    {STR_INIT(TYPE), STR_INIT("--XX\r\n\r\nx\r\n" END), "A part of the form has no name."},
	    {STR_INIT(TYPE), STR_INIT(PART("name=\"a\"", "\xff\xfe") FILE_PART("x") END),
		"The form field a is not UTF-8 text."},
	    {STR_INIT(TYPE),
		STR_INIT("--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n"
			 "Content-Type: multipart/mixed; boundary=ZZ\r\n\r\n"
			 "--ZZ\r\n\r\nx\r\n--ZZ--\r\n" END),
		"A part of the form is itself"},
	    {STR_INIT(TYPE),
		STR_INIT("--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n"
			 "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nx\r\n" END),
		"A part of the form is itself"},
	};

	TAP_EACH(cases, c)
	{
		struct done d = take(c->type, c->body);

		ok(str_starts(d.form.error, str_from(c->want)), "%s", c->want);
		if (!str_starts(d.form.error, str_from(c->want)))
			printf("# got '%.*s'\n", STR_ARG(d.form.error));
		is_int(d.form.n_fields, 0, "no field of a refused form");
	}
}

static void
test_contents(void)
{
	static const struct str contents[] = {
	    STR_INIT(""),
	    STR_INIT("x"),
	    STR_INIT("\n"),
	    STR_INIT("\r"),
	    STR_INIT("\r\n"),
	    STR_INIT("solid\r\nend\r\n"),
	    STR_INIT("\r\n\r\n"),
	    STR_INIT("a\r"),
	    STR_INIT("a\0b\0\0"),
	    STR_INIT("From me\r\n>From you\r\n"),
	    STR_INIT("--X\r\n--XY\r\n--XXY\r\n --XX\r\n--"),
	    STR_INIT("\xff\xfe\x80 not text"),
	    STR_INIT("Content-Type: x\r\n\r\nno header"),
	    STR_INIT("-----BEGIN PGP MESSAGE-----\r\nx\r\n-----END PGP MESSAGE-----\r\n"),
	};

	TAP_EACH(contents, c)
	{
		struct str body = str_fmt(arena, "%s",
		    "--XX\r\nContent-Disposition: form-data; name=file; filename=x\r\n\r\n");
		struct buf b;
		struct done d;

		buf_init(&b, 1 << 20);
		buf_str(&b, body);
		buf_str(&b, *c);
		buf_str(&b, STR("\r\n" END));
		d = take(STR(TYPE), buf_view(&b));
		is_str(d.form.error, STR_NONE, "accepted");
		is_str(d.file, *c, "the content byte for byte");
		is_int(d.form.size, c->n, "its size");
		buf_fini(&b);
	}
}

/* Contents whose line ends fall on every place of the parser's buffers. */
static void
test_sizes(void)
{
	struct buf b, content;
	int bad = 0;

	buf_init(&b, 1 << 20);
	buf_init(&content, 1 << 20);
	for (size_t n = 3900; n < 4300; n++) {
		struct done d;

		buf_clear(&b);
		buf_clear(&content);
		for (size_t i = 0; i < n; i++)
			buf_char(&content, i % 97 == 96 ? '\n' : i % 89 == 88 ? '\r' : 'x');
		buf_str(&b, STR("--XX\r\nContent-Disposition: form-data; name=file\r\n\r\n"));
		buf_str(&b, buf_view(&content));
		buf_str(&b, STR("\r\n" PART("name=after", "1") END));
		d = take(STR(TYPE), buf_view(&b));
		bad += d.form.error.n || !str_eq(d.file, buf_view(&content)) ||
		    !str_eq(field(&d, STR("after")), STR("1"));
		arena_reset(arena);
	}
	is_int(bad, 0, "contents of 3900 to 4299 bytes come out as they went in");
	buf_fini(&b);
	buf_fini(&content);
}

static void
test_filenames(void)
{
	static const struct {
		const char *parameter, *want;
	} cases[] = {
	    {"filename=\"cube.stl\"", "cube.stl"},
	    {"filename=cube.stl", "cube.stl"},
	    {"filename=\"\"", ""},
	    {"x=y", ""},
	    {"filename=\"../../etc/passwd\"", "passwd"},
	    {"filename=\"/etc/passwd\"", "passwd"},
	    {"filename=\"C:\\\\parts\\\\cube.stl\"", "cube.stl"},
	    {"filename=\"..\"", ""},
	    {"filename=\"a/..\"", ""},
	    {"filename=\"dir/\"", ""},
	    {"filename=\"a\tb\x01"
	     "c.stl\"",
		"abc.stl"},
	    {"filename=\"W\xc3\xbcrfel.stl\"", "W\xc3\xbcrfel.stl"},
	    {"filename*=UTF-8''W%C3%BCrfel%20%E2%82%AC.stl", "W\xc3\xbcrfel \xe2\x82\xac.stl"},
	    {"filename*=iso-8859-1''W%FCrfel.stl", "W\xc3\xbcrfel.stl"},
	    {"filename*=UTF-8''..%2F..%2Fx.stl", "x.stl"},
	    {"filename*=UTF-8''a%00b%0D%0Ac.stl", "a"},
	    {"filename=\"a\\\"b.stl\"", "a\"b.stl"},
	};

	TAP_EACH(cases, c)
	{
		struct str body = str_fmt(arena,
		    "--XX\r\nContent-Disposition: form-data; name=\"file\"; %s\r\n\r\nx\r\n" END,
		    c->parameter);
		struct done d = take(STR(TYPE), body);

		is_str(d.form.error, STR_NONE, "accepted");
		is_str(d.form.filename, str_from(c->want), c->parameter);
	}
}

static void
test_fields(void)
{
	struct done d = take(STR("Multipart/Form-Data; charset=utf-8; boundary=\"XX\""),
	    STR("preamble\r\n" PART("name=\"path\"", "a/b") PART("name=\"print\"", "true")
		    PART("name=\"print\"", "false") PART("name=\"empty\"",
			"") "--XX\r\nContent-Type: model/stl; x=y\r\nContent-Transfer-Encoding: "
			    "base64\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n"
			    "aGVs\r\nbG8=\r\n" END "epilogue"));

	is_str(d.form.error, STR_NONE, "accepted");
	is_int(d.form.n_fields, 4, "fields");
	is_str(field(&d, STR("path")), STR("a/b"), "path");
	is_str(field(&d, STR("print")), STR("true"), "the first of its name");
	is_str(field(&d, STR("empty")), STR(""), "empty");
	ok(!field(&d, STR("none")).p, "absent");
	is_str(d.form.content_type, STR("model/stl"), "content type without parameters");
	is_str(d.file, STR("hello"), "base64 is decoded");
	is_int(d.form.size, 5, "decoded size");
	d = take(STR(TYPE), STR(FILE_PART("x") END));
	is_str(d.form.content_type, STR(""), "no content type was given");
	d = take(STR(TYPE), STR("--XX\nContent-Disposition: form-data; name=file\n\nx\n--XX--"));
	is_str(d.form.error, STR_NONE, "bare line feeds");
	is_str(d.file, STR("x"), "and their content");
}

static void
test_limits(void)
{
	struct buf b;
	struct done d;

	buf_init(&b, 64 << 20);
	buf_str(&b, STR("--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n"));
	for (int i = 0; i < FORM_FIELD_MOST; i++)
		buf_char(&b, 'v');
	buf_str(&b, STR("\r\n" FILE_PART("x") END));
	d = take(STR(TYPE), buf_view(&b));
	is_int(field(&d, STR("a")).n, FORM_FIELD_MOST, "a value of full size");

	buf_clear(&b);
	buf_str(&b, STR("--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n"));
	for (int i = 0; i <= FORM_FIELD_MOST; i++)
		buf_char(&b, 'v');
	buf_str(&b, STR("\r\n" FILE_PART("x") END));
	is_str(take(STR(TYPE), buf_view(&b)).form.error,
	    STR("The form field a is over 1024 bytes."), "a byte more");

	buf_clear(&b);
	for (int i = 0; i < 17; i++)
		buf_str(&b, STR(PART("name=a", "1")));
	buf_str(&b, STR(FILE_PART("x") END));
	is_str(take(STR(TYPE), buf_view(&b)).form.error,
	    STR("The form has more than 16 fields beside the file."), "17 fields");
	buf_fini(&b);
}

/* What the parser would keep in memory is bounded, wherever it stands. */
static void
test_memory(void)
{
	static const struct {
		struct str before, again, after;
		const char *name;
	} cases[] = {
	    {STR_INIT("--XX\r\nX-Long: "), STR_INIT("xxxxxxxxxxxxxxxx"), STR_INIT("\r\n\r\n"),
		"one long header"},
	    {STR_INIT("--XX\r\n"), STR_INIT("X-Many: x\r\n"), STR_INIT("\r\n"), "many headers"},
	    {STR_INIT(""), STR_INIT("prologue\r\n"), STR_INIT(""), "prologue"},
	    {STR_INIT(""), STR_INIT("--XX\r\n\r\n\r\n"), STR_INIT(""), "many parts"},
	    {STR_INIT(FILE_PART("x") END), STR_INIT("epilogue\r\n"), STR_INIT(""), "epilogue"},
	};

	TAP_EACH(cases, c)
	{
		struct buf b;
		struct done d;

		buf_init(&b, 64 << 20);
		buf_str(&b, c->before);
		while (b.n < 40 << 20)
			buf_str(&b, c->again);
		buf_str(&b, c->after);
		buf_str(&b, STR(FILE_PART("x") END));
		d = take(STR(TYPE), buf_view(&b));
		is_str(d.form.error,
		    STR("The form has too many parts, or headers that are too long."), c->name);
		buf_fini(&b);
	}
}

int
main(void)
{
	arena = arena_new(1 << 28);
	form_init();
	test_errors();
	test_contents();
	test_sizes();
	test_filenames();
	test_fields();
	test_limits();
	test_memory();
	arena_free(arena);
	return tap_done();
}
