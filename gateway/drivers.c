#include "gateway/bambu.h"
#include "gateway/driver.h"

const struct driver *const drivers[DRIVERS] = {
    &bambu_driver,
};

int
driver_find(struct str protocol)
{
	for (int i = 0; i < DRIVERS; i++)
		if (str_eq(protocol, str_from(drivers[i]->protocol)))
			return i;
	return -1;
}
