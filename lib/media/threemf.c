#include "media/threemf.h"

#include "base/arena.h"
#include "base/buf.h"
#include "media/formats.h"

#define RELATIONSHIPS "http://schemas.openxmlformats.org/package/2006/relationships/"

static bool
is_threemf(const struct media *m, struct str head)
{
	(void)m;
	return str_starts(head, STR("PK\3\4")) || str_starts(head, STR("PK\5\6"));
}

ptrdiff_t
threemf_part(struct threemf *t, struct str name)
{
	struct str rest = name;

	while (name.n && *name.p == '/')
		name.p++, name.n--;
	while (rest.n) {
		if (str_eq(str_cut(&rest, '/'), STR(".."))) {
			media_fail(
			    t->m, "path_traversal", "A relationship leads out of the archive.");
			return -1;
		}
	}
	return name.n ? unzip_find(t->z, name) : -1;
}

void
threemf_picture(struct threemf *t, int plate, struct str name)
{
	struct buf b;

	buf_init(&b, MEDIA_PICTURE_MOST);
	if (unzip_into(t->z, threemf_part(t, name), &b))
		media_picture(t->m, plate, buf_view(&b));
	buf_fini(&b);
}

static bool
on_relationship(void *ctx, struct str name, const char *const *attributes)
{
	static const struct {
		struct str type;
		size_t member;
	} known[] = {
	    {STR_INIT("http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"),
		offsetof(struct threemf, model)},
	    {STR_INIT(RELATIONSHIPS "metadata/thumbnail"), offsetof(struct threemf, thumbnail)},
	};
	struct threemf *t = ctx;
	struct str type = xml_attribute(attributes, STR("Type"));
	struct str target = xml_attribute(attributes, STR("Target"));

	if (!str_eq(name, STR("Relationship")))
		return true;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct str *at = (struct str *)(void *)((char *)t + known[i].member);

		if (str_eq(type, known[i].type) && !at->p)
			*at = str_dup(t->m->arena, target);
	}
	return true;
}

/* Open Packaging Conventions: the package's relationships name the model. */
static void
read_relationships(struct threemf *t)
{
	static const struct xml_events events = {.start = on_relationship};
	ptrdiff_t i = unzip_find(t->z, STR("_rels/.rels"));

	if (i >= 0)
		xml_read(t->m, t->z, i, &events, t);
	if (!t->model.p)
		t->model = STR("3D/3dmodel.model");
	if (!t->thumbnail.p)
		t->thumbnail = STR("Metadata/thumbnail.png");
}

static void
read_threemf(struct media *m)
{
	struct threemf t = {.m = m};

	t.z = unzip_open(m);
	if (!t.z)
		return;
	read_relationships(&t);
	if (threemf_part(&t, t.model) < 0) {
		media_fail(m, "not_a_3mf", "The archive has no 3D model.");
		return;
	}
	threemf_model(&t);
	threemf_settings(&t);
	threemf_plates(&t);
	if (!m->n_thumbnails)
		threemf_picture(&t, 0, t.thumbnail);
}

const struct media_format format_threemf = {"3mf", is_threemf, read_threemf};
