#include "net/gcra.h"

struct gcra
gcra_look(int64_t tat_us, int64_t now_us, int64_t limit, int64_t window_us)
{
	int64_t step = window_us / (limit < 1 ? 1 : limit);
	int64_t tat = tat_us > now_us ? tat_us : now_us;
	int64_t late = tat + step - now_us - window_us;
	struct gcra g = {.allowed = late <= 0, .tat_us = tat + step};
	int64_t left = window_us - (tat - now_us);

	if (g.allowed) {
		g.remaining = (left - step) / step;
		g.reset_us = g.tat_us - now_us;
	} else {
		g.remaining = left > 0 ? left / step : 0;
		g.reset_us = tat - now_us;
		g.retry_us = late;
	}
	return g;
}
