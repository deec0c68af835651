/* Calls' own copies of what they were asked for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/http_call.h"
#include "gateway/http_url.h"
#include "gateway/resolve.h"

enum { BODY_MOST = 1024 * 1024, FIELDS_MOST = 32, LIST_MOST = 32, LINE_MOST = 8192 };

static bool
is_clean(const char *z)
{
	size_t n = 0;

	for (; z && z[n]; n++)
		if ((unsigned char)z[n] < 0x20 || z[n] == 0x7f || n > LINE_MOST)
			return false;
	return true;
}

static bool
is_token(const char *z)
{
	static const char usual[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

	return z[0] && strspn(z, usual) == strlen(z);
}

static char *
dup_or_null(const char *z)
{
	char *p = z ? strdup(z) : NULL;

	must(p != NULL || !z);
	return p;
}

static bool
append(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*list, line);

	must(longer != NULL);
	*list = longer;
	return true;
}

static bool
copy_headers(struct http_call *call, const struct http_request *r)
{
	char line[LINE_MOST];

	for (size_t i = 0; i < r->n_headers; i++) {
		const struct http_header *h = &r->headers[i];
		int n;

		if (!is_token(h->name) || !is_clean(h->value) || i == LIST_MOST)
			return false;
		n = !h->value     ? snprintf(line, sizeof(line), "%s:", h->name)
		    : h->value[0] ? snprintf(line, sizeof(line), "%s: %s", h->name, h->value)
				  : snprintf(line, sizeof(line), "%s;", h->name);
		if (n < 0 || (size_t)n >= sizeof(line))
			return false;
		append(&call->headers, line);
		explicit_bzero(line, (size_t)n);
	}
	return true;
}

/* libcurl calls a body a form's unless it is told better. */
static bool
add_body_type(struct http_call *call, const struct http_request *r)
{
	char line[256];
	int n;

	if (r->file_field || r->n_fields > 0)
		return true;
	if (!is_clean(r->body_type))
		return false;
	n = snprintf(line, sizeof(line), "Content-Type:%s%s", r->body_type ? " " : "",
	    r->body_type ? r->body_type : "");
	return n > 0 && (size_t)n < sizeof(line) && append(&call->headers, line);
}

static bool
copy_form(struct http_call *call, const struct http_request *r)
{
	struct http_form *f = &call->form;

	if (r->n_fields > FIELDS_MOST || !is_clean(r->file_field) || !is_clean(r->file_name) ||
	    !is_clean(r->file_type))
		return false;
	f->fields = calloc(r->n_fields ? r->n_fields : 1, sizeof(*f->fields));
	must(f->fields != NULL);
	for (size_t i = 0; i < r->n_fields; i++) {
		if (!is_clean(r->fields[i].name))
			return false;
		f->fields[i].name = dup_or_null(r->fields[i].name);
		f->fields[i].value = dup_or_null(r->fields[i].value);
		f->n = i + 1;
	}
	f->file_field = dup_or_null(r->file_field);
	f->file_name = dup_or_null(r->file_name);
	f->file_type = dup_or_null(r->file_type);
	return true;
}

static bool
copy_body(struct http_call *call, const struct http_request *r)
{
	if (r->body.n == 0)
		return true;
	call->body_copy = malloc(r->body.n);
	must(call->body_copy != NULL);
	memcpy(call->body_copy, r->body.p, r->body.n);
	return true;
}

/* Whatever host the URL names, the connection goes to this address, to the URL's port. */
static bool
copy_address(struct http_call *call, const char *address)
{
	char text[RESOLVE_TEXT], bare[RESOLVE_TEXT], line[RESOLVE_TEXT + 8];
	struct str zone, ip;

	if (!address)
		return true;
	zone = str_from(address);
	ip = str_cut(&zone, '%');
	snprintf(bare, sizeof(bare), "%.*s", STR_ARG(ip));
	if (!resolve_literal(bare, text) || (zone.n > 0 && !is_token(zone.p)))
		return false;
	snprintf(text, sizeof(text), "%s", address);
	snprintf(line, sizeof(line), strchr(text, ':') ? "::[%s]:" : "::%s:", text);
	return append(&call->connect_to, line);
}

static bool
is_sound(const struct http_call *call, const struct http_request *r)
{
	const struct http_client *c = call->client;

	return http_url_is_good(r->url, r->address || c->unix_socket) &&
	    (!r->method || (is_token(r->method) && strlen(r->method) < sizeof(call->method))) &&
	    is_clean(c->agent) && is_clean(c->user) && is_clean(c->secret) &&
	    (!r->file || (r->fd >= 0 && r->file_size >= 0)) && (!r->file_field || r->file);
}

static void
point_to_copies(struct http_call *call)
{
	struct http_request *r = &call->request;

	r->method = call->method;
	r->url = call->url;
	r->address = NULL;
	r->headers = NULL;
	r->body.p = call->body_copy;
	r->body_type = NULL;
	r->fields = call->form.fields;
	r->file_field = call->form.file_field;
	r->file_name = call->form.file_name;
	r->file_type = call->form.file_type;
	if (r->most <= 0)
		r->most = BODY_MOST;
}

bool
http_call_copy(struct http_call *call, const struct http_request *r)
{
	bool ok;

	call->request = *r;
	ok = is_sound(call, r) && copy_headers(call, r) && add_body_type(call, r) &&
	    copy_form(call, r) && copy_body(call, r) && copy_address(call, r->address);
	call->url = dup_or_null(r->url);
	snprintf(call->method, sizeof(call->method), "%s", r->method ? r->method : "GET");
	point_to_copies(call);
	buf_init(&call->body, (size_t)call->request.most + 1);
	return ok;
}

static void
wipe(void *p, size_t n)
{
	if (p)
		explicit_bzero(p, n);
	free(p);
}

static void
wipe_list(struct curl_slist *list)
{
	for (struct curl_slist *l = list; l; l = l->next)
		explicit_bzero(l->data, strlen(l->data));
	curl_slist_free_all(list);
}

void
http_call_free(struct http_call *call)
{
	curl_mime_free(call->mime);
	wipe_list(call->headers);
	curl_slist_free_all(call->connect_to);
	for (size_t i = 0; i < call->form.n; i++) {
		free((char *)(uintptr_t)call->form.fields[i].name);
		free((char *)(uintptr_t)call->form.fields[i].value);
	}
	free(call->form.fields);
	free(call->form.file_field);
	free(call->form.file_name);
	free(call->form.file_type);
	free(call->url);
	wipe(call->body_copy, call->request.body.n);
	buf_fini(&call->body);
	free(call);
}
