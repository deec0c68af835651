/* A gateway's name: one living process per host, name and database has it alone. */
#include "gateway/identity.h"

#include <unistd.h>

#include "tap.h"

int
main(void)
{
	struct identity a, b, c;
	char name[32];

	snprintf(name, sizeof(name), "unit-%d", (int)getpid());
	identity_init(&a, name, "dbname=one");
	ok(a.sole, "the first has the name alone");
	ok(str_index(str_from(a.name), '/') > 0, "with the host's: %s", a.name);
	identity_init(&b, name, "dbname=one");
	ok(!b.sole, "the second does not");
	ok(strcmp(a.name, b.name) != 0, "and is called otherwise: %s", b.name);
	identity_init(&c, name, "dbname=two");
	ok(c.sole, "another database is another matter");
	identity_fini(&c);
	identity_fini(&b);
	identity_fini(&a);
	identity_init(&b, name, "dbname=one");
	ok(b.sole, "free again when its owner has gone");
	identity_fini(&b);
	return tap_done();
}
