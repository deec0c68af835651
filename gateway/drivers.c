#include "gateway/bambu.h"
#include "gateway/driver.h"

const struct driver *const drivers[DRIVERS] = {
    &bambu_driver,
};

const struct driver *
driver_find(struct str protocol)
{
	for (int i = 0; i < DRIVERS; i++)
		if (str_eq(protocol, str_from(drivers[i]->protocol)))
			return drivers[i];
	return NULL;
}

int
driver_index(const struct driver *d)
{
	int i = 0;

	while (i < DRIVERS - 1 && drivers[i] != d)
		i++;
	return i;
}
