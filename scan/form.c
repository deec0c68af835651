#include "scan/form.h"

#include <errno.h>
#include <gmime/gmime.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/io.h"
#include "scan/form_stream.h"

/* One body on its way through. */
struct form {
	struct arena *a;
	struct form_source source;
	int out_fd;
	struct scan_form *out;
	GMimePart *file; /* borrowed from the parsed body */
};

/* Notes the first error. Always false. */
__attribute__((format(printf, 2, 3))) static bool
refuse(struct form *f, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	int n;

	if (f->out->error.n)
		return false;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	f->out->error = str_dup(
	    f->a, (struct str){text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1});
	return false;
}

/* Bytes of the character at s.p[i], 0 when it is malformed or a control character. */
static size_t
printable_at(struct str s, size_t i)
{
	size_t n = str_utf8_at(s, i);
	unsigned char c = (unsigned char)s.p[i];

	if (n == 1 && (c < 0x20 || c == 0x7f))
		return 0;
	if (n == 2 && c == 0xc2 && (unsigned char)s.p[i + 1] < 0xa0)
		return 0;
	return n;
}

static struct str
last_segment(struct str s)
{
	for (size_t i = s.n; i > 0; i--)
		if (s.p[i - 1] == '/' || s.p[i - 1] == '\\')
			return (struct str){s.p + i, s.n - i};
	return s;
}

/* A name to show and to download under; "" when nothing of it is left. */
static struct str
clean_filename(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, FORM_FILENAME_MOST);
	struct str name = {p, 0};

	s = last_segment(s);
	for (size_t i = 0, n; i < s.n; i += n ? n : 1) {
		n = printable_at(s, i);
		if (name.n + n > FORM_FILENAME_MOST)
			break;
		for (size_t k = 0; k < n; k++)
			p[name.n++] = s.p[i + k];
	}
	name = str_trim(name);
	return str_eq(name, STR(".")) || str_eq(name, STR("..")) ? STR("") : name;
}

/* A text field's value: UTF-8 without NUL. */
static bool
is_text(struct str s)
{
	return str_utf8(s) && str_index(s, '\0') < 0;
}

/* The value's bytes, decoded; at most FORM_FIELD_MOST. */
static bool
field_value(struct form *f, GMimePart *part, struct str *value)
{
	GMimeDataWrapper *content = g_mime_part_get_content(part);
	GMimeStream *to;
	GByteArray *bytes;
	bool good;

	*value = STR("");
	if (!content)
		return true;
	/* Encodings take at most three bytes for one, and line ends. */
	if (g_mime_stream_length(g_mime_data_wrapper_get_stream(content)) > 4 * FORM_FIELD_MOST)
		return false;
	to = g_mime_stream_mem_new();
	good = g_mime_data_wrapper_write_to_stream(content, to) >= 0;
	bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(to));
	good = good && bytes->len <= FORM_FIELD_MOST;
	if (good)
		*value = str_dup(f->a, (struct str){(const char *)bytes->data, bytes->len});
	g_object_unref(to);
	return good;
}

static bool
take_field(struct form *f, struct str name, GMimePart *part)
{
	struct scan_form *out = f->out;
	struct str value;

	if (name.n > FORM_NAME_MOST || !is_text(name))
		return refuse(
		    f, "The name of a form field is over %d bytes or not UTF-8.", FORM_NAME_MOST);
	if (out->n_fields == sizeof(out->fields) / sizeof(out->fields[0]))
		return refuse(f, "The form has more than %zu fields beside the file.",
		    sizeof(out->fields) / sizeof(out->fields[0]));
	if (!field_value(f, part, &value))
		return refuse(
		    f, "The form field %.*s is over %d bytes.", STR_ARG(name), FORM_FIELD_MOST);
	if (!is_text(value))
		return refuse(f, "The form field %.*s is not UTF-8 text.", STR_ARG(name));
	out->fields[out->n_fields].name = str_dup(f->a, name);
	out->fields[out->n_fields++].value = value;
	return true;
}

static bool
take_part(struct form *f, GMimeObject *part)
{
	struct str name = str_from(g_mime_object_get_content_disposition_parameter(part, "name"));

	if (!name.n)
		return refuse(f, "A part of the form has no name.");
	if (!GMIME_IS_PART(part))
		return refuse(f, "A part of the form is itself a multipart or a message.");
	if (!str_eq(name, STR("file")))
		return take_field(f, name, (GMimePart *)part);
	if (f->file)
		return refuse(f, "The form has more than one part named file.");
	f->file = (GMimePart *)part;
	return true;
}

static bool
copy_range(struct form *f, int64_t start, int64_t end)
{
	char *chunk = arena_alloc(f->a, FORM_COPY);

	while (start < end) {
		int64_t left = end - start;
		size_t want = left < FORM_COPY ? (size_t)left : FORM_COPY;
		ssize_t got = pread(f->source.fd, chunk, want, (off_t)start);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 || !io_write_all(f->out_fd, chunk, (size_t)got))
			return false;
		start += got;
		f->out->size += got;
	}
	return true;
}

/* RFC 7578 deprecates transfer encodings; whoever uses one is understood. */
static bool
copy_decoded(struct form *f, GMimeDataWrapper *content)
{
	GMimeStream *to = g_mime_stream_fs_new(f->out_fd);
	int64_t n;

	g_mime_stream_fs_set_owner(GMIME_STREAM_FS(to), FALSE);
	n = g_mime_data_wrapper_write_to_stream(content, to);
	g_object_unref(to);
	f->out->size = n;
	return n >= 0;
}

static bool
copy_file(struct form *f)
{
	GMimeDataWrapper *content = g_mime_part_get_content(f->file);
	int64_t start, end;
	bool good = true;

	if (content && g_mime_data_wrapper_get_encoding(content) > GMIME_CONTENT_ENCODING_BINARY) {
		good = copy_decoded(f, content);
	} else if (content) {
		form_stream_range(g_mime_data_wrapper_get_stream(content), &start, &end);
		good = copy_range(f, start, end);
	}
	return good || refuse(f, "The file of the form could not be written.");
}

static void
describe_file(struct form *f)
{
	GMimeObject *part = (GMimeObject *)f->file;
	char *type;

	f->out->filename = clean_filename(f->a, str_from(g_mime_part_get_filename(f->file)));
	f->out->content_type = STR("");
	if (g_mime_object_get_header(part, "Content-Type")) {
		type = g_mime_content_type_get_mime_type(g_mime_object_get_content_type(part));
		if (str_utf8(str_from(type)))
			f->out->content_type = str_dup(f->a, str_from(type));
		g_free(type);
	}
}

/* Whether the parser saw a whole form. */
static bool
check_form(struct form *f, GMimeObject *body)
{
	if (f->source.failed)
		return refuse(f, "The body of the request could not be read.");
	if (f->source.heap_full)
		return refuse(f, "The form has too many parts, or headers that are too long.");
	if (!body || !GMIME_IS_MULTIPART(body) ||
	    !g_mime_multipart_get_count((GMimeMultipart *)body))
		return refuse(f,
		    "The body has no part between the boundaries that Content-Type "
		    "names.");
	if (!((GMimeMultipart *)body)->write_end_boundary)
		return refuse(f, "The body ends before its closing boundary.");
	return true;
}

static void
take_form(struct form *f, GMimeObject *body)
{
	GMimeMultipart *form = (GMimeMultipart *)body;

	if (!check_form(f, body))
		return;
	for (int i = 0; i < g_mime_multipart_get_count(form); i++)
		if (!take_part(f, g_mime_multipart_get_part(form, i)))
			return;
	if (!f->file)
		refuse(f, "The form has no part named file.");
	else if (copy_file(f))
		describe_file(f);
}

/* The parser must see a multipart with a boundary, else it would take the body for one text. */
static bool
check_type(struct form *f, struct str content_type)
{
	GMimeContentType *type = NULL;
	bool good = false;

	if (!is_text(content_type) || str_index(content_type, '\n') >= 0 ||
	    str_index(content_type, '\r') >= 0)
		return refuse(f, "The Content-Type of the request is malformed.");
	type = g_mime_content_type_parse(NULL, str_z(f->a, content_type));
	if (!type || !g_mime_content_type_is_type(type, "multipart", "form-data"))
		refuse(f, "The Content-Type of the request is not multipart/form-data.");
	else if (!str_from(g_mime_content_type_get_parameter(type, "boundary")).n)
		refuse(f, "The Content-Type of the request names no boundary.");
	else
		good = true;
	if (type)
		g_object_unref(type);
	return good;
}

static GMimeObject *
parse(struct form *f)
{
	GMimeStream *stream = form_stream_new(&f->source);
	GMimeParser *parser = g_mime_parser_new_with_stream(stream);
	GMimeObject *body;

	g_mime_parser_set_format(parser, GMIME_FORMAT_MESSAGE);
	g_mime_parser_set_persist_stream(parser, TRUE);
	body = g_mime_parser_construct_part(parser, NULL);
	g_object_unref(parser);
	g_object_unref(stream);
	return body;
}

/* iconv opens files at the first use of a charset, and unloads them after the last: those that
 * forms come in are kept open. */
void
form_init(void)
{
	static const char *const charsets[] = {"iso-8859-1", "windows-1252", "us-ascii"};
	static iconv_t kept[sizeof(charsets) / sizeof(charsets[0])];

	g_mime_init();
	for (size_t i = 0; i < sizeof(charsets) / sizeof(charsets[0]); i++)
		if (!kept[i])
			kept[i] = g_mime_iconv_open("utf-8", charsets[i]);
}

void
form_read(struct arena *a, int body_fd, struct str content_type, int out_fd, struct scan_form *out)
{
	struct form f = {.a = a, .out_fd = out_fd, .out = out};
	GMimeObject *body;
	off_t size = lseek(body_fd, 0, SEEK_END);

	*out = (struct scan_form){.size = 0};
	if (size < 0) {
		refuse(&f, "The body of the request could not be read.");
		return;
	}
	if (!check_type(&f, content_type))
		return;
	f.source = (struct form_source){.fd = body_fd,
	    .size = size,
	    .head = str_fmt(a, "Content-Type: %.*s\r\n\r\n", STR_ARG(content_type)),
	    .heap_most = form_heap() + FORM_MEMORY_MOST};
	body = parse(&f);
	take_form(&f, body);
	if (body)
		g_object_unref(body);
	if (out->error.n)
		*out = (struct scan_form){.error = out->error};
}

static struct json_object *
json_text(struct str s)
{
	return json_object_new_string_len(s.p ? s.p : "", (int)s.n);
}

int
form_main(
    struct arena *a, int body_fd, const char *content_type, int out_fd, struct json_object *out)
{
	struct scan_form form;
	struct json_object *fields;

	form_read(a, body_fd, str_from(content_type), out_fd, &form);
	if (form.error.n) {
		json_object_object_add(out, "error", json_text(form.error));
		return 0;
	}
	json_object_object_add(out, "size", json_object_new_int64(form.size));
	json_object_object_add(out, "filename", json_text(form.filename));
	json_object_object_add(out, "content_type", json_text(form.content_type));
	fields = json_object_new_array();
	for (size_t i = 0; i < form.n_fields; i++) {
		struct json_object *field = json_object_new_object();

		json_object_object_add(field, "name", json_text(form.fields[i].name));
		json_object_object_add(field, "value", json_text(form.fields[i].value));
		json_object_array_add(fields, field);
	}
	json_object_object_add(out, "fields", fields);
	return 0;
}
