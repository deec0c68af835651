#include "gateway/uuid_map.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* The last bytes of a UUID are random in every version that is used here. */
static size_t
home(const struct uuid_map *m, struct uuid key)
{
	uint64_t h;

	memcpy(&h, key.b + 8, sizeof(h));
	h *= 0x9E3779B97F4A7C15u;
	return (size_t)(h >> 32) & (m->room - 1);
}

static size_t
find(const struct uuid_map *m, struct uuid key)
{
	size_t i = home(m, key);

	while (m->slots[i].value && !uuid_eq(m->slots[i].key, key))
		i = (i + 1) & (m->room - 1);
	return i;
}

void
uuid_map_fini(struct uuid_map *m)
{
	free(m->slots);
	memset(m, 0, sizeof(*m));
}

void *
uuid_map_get(const struct uuid_map *m, struct uuid key)
{
	return m->room ? m->slots[find(m, key)].value : NULL;
}

static void
grow(struct uuid_map *m)
{
	struct uuid_map old = *m;

	m->room = old.room ? old.room * 2 : 64;
	m->slots = calloc(m->room, sizeof(*m->slots));
	must(m->slots != NULL);
	for (size_t i = 0; i < old.room; i++)
		if (old.slots[i].value)
			m->slots[find(m, old.slots[i].key)] = old.slots[i];
	free(old.slots);
}

void
uuid_map_put(struct uuid_map *m, struct uuid key, void *value)
{
	size_t i;

	must(value != NULL);
	if (m->n * 2 >= m->room)
		grow(m);
	i = find(m, key);
	if (!m->slots[i].value)
		m->n++;
	m->slots[i] = (struct uuid_map_slot){key, value};
}

void *
uuid_map_take(struct uuid_map *m, struct uuid key)
{
	size_t gap = m->room ? find(m, key) : 0;
	void *value = m->room ? m->slots[gap].value : NULL;

	if (!value)
		return NULL;
	m->n--;
	/* Close the gap: pull back what was pushed past it. */
	for (size_t i = (gap + 1) & (m->room - 1); m->slots[i].value; i = (i + 1) & (m->room - 1)) {
		size_t want = home(m, m->slots[i].key);

		if (((i - want) & (m->room - 1)) < ((i - gap) & (m->room - 1)))
			continue;
		m->slots[gap] = m->slots[i];
		gap = i;
	}
	m->slots[gap].value = NULL;
	return value;
}

void *
uuid_map_next(const struct uuid_map *m, size_t *at)
{
	while (*at < m->room) {
		void *value = m->slots[(*at)++].value;

		if (value)
			return value;
	}
	return NULL;
}
