#include "gateway/bambu.h"
#include "gateway/driver.h"
#include "gateway/octoprint.h"

/* One line per protocol. */
const struct driver *const drivers[DRIVERS_MOST] = {
    &bambu_driver,
    &octoprint_driver,
};
