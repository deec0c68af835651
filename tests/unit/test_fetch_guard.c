/* The guard on a handle: a server on loopback tells how often it was reached. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/fetch_guard.h"
#include "tap.h"

static int port, told; /* told: a byte per request */

static void
answer(int s)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
	char in[4096];
	size_t n = 0;

	for (;;) {
		ssize_t got = read(s, in + n, sizeof(in) - n);

		if (got <= 0)
			break;
		n += (size_t)got;
		if (n < 4 || memcmp(in + n - 4, "\r\n\r\n", 4) != 0)
			continue;
		n = 0;
		if (write(told, "r", 1) != 1 || write(s, text, sizeof(text) - 1) < 0)
			break;
	}
	close(s);
}

static pid_t
start_server(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(sa);
	int s = socket(AF_INET, SOCK_STREAM, 0), pipes[2];
	pid_t pid;

	if (s < 0 || bind(s, (struct sockaddr *)&sa, n) != 0 || listen(s, 8) != 0 ||
	    getsockname(s, (struct sockaddr *)&sa, &n) != 0 || pipe(pipes) != 0)
		abort();
	port = ntohs(sa.sin_port);
	pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		told = pipes[1];
		for (;;)
			answer(accept(s, NULL, NULL));
	}
	close(s);
	close(pipes[1]);
	told = pipes[0];
	return pid;
}

/* Requests that have reached the server since the last call. */
static int
requests(void)
{
	struct pollfd p = {.fd = told, .events = POLLIN};
	char bytes[16];

	return poll(&p, 1, 0) == 1 ? (int)read(told, bytes, sizeof(bytes)) : 0;
}

static size_t
discard(char *p, size_t size, size_t n, void *ctx)
{
	(void)p;
	(void)ctx;
	return size * n;
}

static CURL *
handle(const char *url)
{
	CURL *h = curl_easy_init();

	curl_easy_setopt(h, CURLOPT_URL, url);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, discard);
	curl_easy_setopt(h, CURLOPT_PROXY, "");
	return h;
}

static struct fetch_url
as_url(const char *text)
{
	return (struct fetch_url){.text = str_from(text), .http = true};
}

static void
test_fresh(const char *url)
{
	static const struct fetch_rules none = {.http = true};
	static const struct fetch_rules test = {.http = true, .test_net = "127.0.0.0/8"};
	struct fetch_guard g;
	struct fetch_url u = as_url(url);
	CURL *h = handle(url);
	CURLcode code;

	fetch_prepare(h, &g, &none, &u);
	code = curl_easy_perform(h);
	is_int(fetch_verdict(&g, code), FETCH_BLOCKED, "loopback is not connected to");
	is_int(requests(), 0, "nothing reached the server");
	fetch_prepare(h, &g, &test, &u);
	code = curl_easy_perform(h);
	is_int(fetch_verdict(&g, code), FETCH_OK, "a test's network is");
	is_int(requests(), 1, "one request");
	curl_easy_cleanup(h);
}

/* A connection that somebody else has left open: the address is not looked at when it is connected
 * to, only before the request goes out. */
static void
test_reused(const char *url)
{
	static const struct fetch_rules none = {.http = true};
	struct fetch_guard g;
	struct fetch_url u = as_url(url);
	CURL *h = handle(url);
	CURLcode code = curl_easy_perform(h);
	long connects = -1;

	is_int(code, CURLE_OK, "without the guard the server answers");
	is_int(requests(), 1, "one request");
	fetch_prepare(h, &g, &none, &u);
	curl_easy_setopt(h, CURLOPT_FRESH_CONNECT, 0L);
	code = curl_easy_perform(h);
	curl_easy_getinfo(h, CURLINFO_NUM_CONNECTS, &connects);
	is_int(connects, 0, "the open connection is taken");
	is_int(fetch_verdict(&g, code), FETCH_BLOCKED, "and not used");
	is_int(requests(), 0, "nothing reached the server");
	curl_easy_cleanup(h);
}

static void
test_fresh_by_itself(const char *url)
{
	static const struct fetch_rules none = {.http = true};
	struct fetch_guard g;
	struct fetch_url u = as_url(url);
	CURL *h = handle(url);
	CURLcode code = curl_easy_perform(h);

	is_int(code, CURLE_OK, "without the guard the server answers again");
	is_int(requests(), 1, "one request");
	fetch_prepare(h, &g, &none, &u);
	code = curl_easy_perform(h);
	is_int(fetch_verdict(&g, code), FETCH_BLOCKED, "a prepared handle takes no old connection");
	is_int(requests(), 0, "nothing reached the server");
	curl_easy_cleanup(h);
}

int
main(void)
{
	char url[64];
	pid_t server = start_server();

	snprintf(url, sizeof(url), "http://127.0.0.1:%d/", port);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	test_fresh(url);
	test_reused(url);
	test_fresh_by_itself(url);
	curl_global_cleanup();
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	return tap_done();
}
