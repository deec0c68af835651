/* "<signature> <disposition>": nothing that was not made with the key is good. */
#include "auth/sign.h"
#include "base/arena.h"
#include "fuzz.h"

static struct arena *arena;

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[SIGN_KEY_LEN] = {1};
	struct str rest = {(const char *)data, size};
	struct str given = str_cut(&rest, ' '), good;
	struct sign_claim c = {.purpose = SIGN_DOWNLOAD, .disposition = rest, .expires_s = 2};
	enum sign_verdict v = sign_check(key, &c, given, 1);

	if (!arena)
		arena = arena_new(1 << 20);
	if (rest.n > SIGN_DISPOSITION_MOST) {
		must(v == SIGN_FORGED);
		return 0;
	}
	good = sign_make(arena, key, &c);
	must(good.n == SIGN_TEXT_LEN);
	must((v == SIGN_GOOD) == str_eq(given, good));
	must(sign_check(key, &c, good, 1) == SIGN_GOOD &&
	    sign_check(key, &c, good, 2) == SIGN_EXPIRED);
	arena_reset(arena);
	return 0;
}
