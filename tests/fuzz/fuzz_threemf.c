/* A 3MF whose parts are any bytes: the input is cut at its zero bytes and put, stored, under the
 * names that readers look for. What an archive may be otherwise is fuzz_zip's. */
#include <stdlib.h>
#include <zip.h>

#include "fuzz_media.h"

static const char *const names[] = {
    "3D/3dmodel.model",
    "_rels/.rels",
    "Metadata/slice_info.config",
    "Metadata/model_settings.config",
    "Metadata/project_settings.config",
    "Metadata/plate_1.json",
    "Metadata/plate_1.gcode",
    "Metadata/Slic3r_PE.config",
    "Metadata/Slic3r_PE_model.config",
    "3D/Objects/a.model",
    "Metadata/plate_1.png",
};

static zip_t *
new_archive(zip_source_t **source)
{
	zip_t *z;

	*source = zip_source_buffer_create(NULL, 0, 0, NULL);
	z = zip_open_from_source(*source, ZIP_TRUNCATE, NULL);
	must(z != NULL);
	zip_source_keep(*source);
	return z;
}

static void
add(zip_t *z, const char *name, const uint8_t *data, size_t n)
{
	zip_int64_t i = zip_file_add(z, name, zip_source_buffer(z, data, n, 0), 0);

	must(i >= 0);
	must(zip_set_file_compression(z, (zip_uint64_t)i, ZIP_CM_STORE, 0) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	zip_source_t *source;
	zip_t *z = new_archive(&source);
	zip_stat_t st;
	uint8_t *p;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && size; i++) {
		const uint8_t *end = memchr(data, 0, size);
		size_t n = end ? (size_t)(end - data) : size;

		add(z, names[i], data, n);
		data += n + (end != NULL);
		size -= n + (end != NULL);
	}
	must(zip_close(z) == 0);
	if (zip_source_stat(source, &st) == 0 && zip_source_open(source) == 0) {
		p = malloc(st.size + 1);
		must(p && zip_source_read(source, p, st.size) == (zip_int64_t)st.size);
		fuzz_media(p, st.size, "x.3mf");
		free(p);
		zip_source_close(source);
	}
	zip_source_free(source);
	return 0;
}
