/* Any bytes as a form: the first line is the boundary, the rest the body. A file part that comes
 * out stands in the body. */
#include "fuzz_media.h"
#include "scan/form.h"

static void
check_text(struct str s)
{
	must(s.p != NULL && str_utf8(s));
}

static void
check_form(const struct scan_form *form, int out, size_t most)
{
	if (form->error.n) {
		must(form->n_fields == 0 && form->size == 0);
		return;
	}
	check_text(form->filename);
	check_text(form->content_type);
	must(form->filename.n <= FORM_FILENAME_MOST);
	must(str_index(form->filename, '/') < 0 && str_index(form->filename, '\\') < 0);
	must(form->size >= 0 && (size_t)form->size <= most);
	must(lseek(out, 0, SEEK_END) == form->size);
	for (size_t i = 0; i < form->n_fields; i++) {
		check_text(form->fields[i].name);
		check_text(form->fields[i].value);
		must(form->fields[i].value.n <= FORM_FIELD_MOST);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct str rest = {(const char *)data, size}, boundary;
	struct arena *a = arena_new(64 << 20);
	struct scan_form form;
	int in, out = fuzz_memory(data, 0);

	if (!ready)
		form_init();
	ready = true;
	boundary = str_cut(&rest, '\n');
	in = fuzz_memory((const uint8_t *)rest.p, rest.n);
	form_read(
	    a, in, str_fmt(a, "multipart/form-data; boundary=%.*s", STR_ARG(boundary)), out, &form);
	check_form(&form, out, rest.n);
	close(in);
	close(out);
	arena_free(a);
	return 0;
}
