/* CSV values: quoting and what spreadsheets must not compute. */
#include "base/buf.h"
#include "db/rows_csv.h"
#include "tap.h"

static const struct {
	struct str in, want;
} cases[] = {
    {STR_INIT(""), STR_INIT("\"\"")},
    {STR_INIT("plain"), STR_INIT("\"plain\"")},
    {STR_INIT("a,b"), STR_INIT("\"a,b\"")},
    {STR_INIT("say \"x\""), STR_INIT("\"say \"\"x\"\"\"")},
    {STR_INIT("two\r\nlines"), STR_INIT("\"two\r\nlines\"")},
    {STR_INIT("=1+1"), STR_INIT("\"'=1+1\"")},
    {STR_INIT("+1"), STR_INIT("\"'+1\"")},
    {STR_INIT("-1"), STR_INIT("\"'-1\"")},
    {STR_INIT("@x"), STR_INIT("\"'@x\"")},
    {STR_INIT("\tx"), STR_INIT("\"'\tx\"")},
    {STR_INIT("\rx"), STR_INIT("\"'\rx\"")},
    {STR_INIT("a=1"), STR_INIT("\"a=1\"")},
    {STR_INIT("\"=1"), STR_INIT("\"\"\"=1\"")},
    {STR_INIT("\xC3\xA9"), STR_INIT("\"\xC3\xA9\"")},
};

int
main(void)
{
	struct buf b;

	buf_init(&b, 64);
	TAP_EACH(cases, c)
	{
		buf_clear(&b);
		csv_value(&b, c->in);
		is_str(buf_view(&b), c->want, c->in.p);
	}
	csv_value(&b, STR_NONE);
	ok(!b.overflow, "NULL is empty");
	buf_clear(&b);
	csv_value(&b, STR("0123456789012345678901234567890123456789012345678901234567890123"));
	ok(b.overflow, "what does not fit is said");
	buf_fini(&b);
	return tap_done();
}
