#include "gateway/bambu.h"
#include "gateway/driver.h"
#include "gateway/moonraker.h"
#include "gateway/octoprint.h"
#include "gateway/prusalink.h"

/* One line per protocol. */
const struct driver *const drivers[DRIVERS_MOST] = {
    &bambu_driver,
    &moonraker_driver,
    &prusalink_driver,
    &octoprint_driver,
};
