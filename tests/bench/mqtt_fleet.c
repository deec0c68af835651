/*
 * Load generator: publishes reports of many virtual printers through the broker's plain listener,
 * and answers pushall and get_version. Every report carries a rising layer_num, logged with its
 * wall-clock time, so that the lag up to the database can be measured.
 *
 * mqtt_fleet PORT PASSWORD SERIALS TEMPLATE REPORTS_PER_S SECONDS LOG full|delta FIRST_LAYER
 *   SERIALS   file with one serial per line
 *   TEMPLATE  file with the `print` object of a full report, JSON
 *   LOG       written: "<serial> <layer> <nanoseconds since the epoch>" per report
 */
#include <errno.h>
#include <json-c/json.h>
#include <mosquitto.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000L
#define SERIAL_MAX 32
#define REPORT_MAX 65536

struct load {
	char (*serials)[SERIAL_MAX];
	size_t n_serials;
	char *
	    rest; /* the template's members after those set per report, without the opening brace */
	struct mosquitto *mosq;
	FILE *log;
	atomic_uint full_replies;
	double rate;
	long seconds, first_layer;
	int delta;
};

static volatile sig_atomic_t stop;

static void
on_signal(int number)
{
	(void)number;
	stop = 1;
}

static long
now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* Reads the serials, one per line; 0 when the file cannot be read. */
static size_t
read_serials(const char *path, char (**out)[SERIAL_MAX])
{
	FILE *file = fopen(path, "r");
	size_t n = 0, room = 0;
	char line[SERIAL_MAX];

	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (n == room) {
			room = room * 2 + 64;
			*out = realloc(*out, room * sizeof(**out));
			if (*out == NULL)
				abort();
		}
		memcpy((*out)[n++], line, sizeof(line));
	}
	fclose(file);
	return n;
}

/* The template without the members that every report sets itself. NULL when it is not a JSON
 * object. */
static char *
read_template(const char *path)
{
	static const char *const own[] = {"layer_num", "sequence_id", "msg", "command"};
	struct json_object *root = json_object_from_file(path);
	char *out;

	if (!json_object_is_type(root, json_type_object))
		return NULL;
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		json_object_object_del(root, own[i]);
	out = strdup(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN) + 1);
	json_object_put(root);
	return out;
}

static void
publish(struct load *l, const char *serial, const char *payload, int len)
{
	char topic[SERIAL_MAX + 16];

	snprintf(topic, sizeof(topic), "device/%s/report", serial);
	mosquitto_publish(l->mosq, NULL, topic, len, payload, 0, false);
}

static void
publish_report(struct load *l, const char *serial, long layer, int full)
{
	char payload[REPORT_MAX];
	int len;

	if (full)
		len = snprintf(payload, sizeof(payload),
		    "{\"print\":{\"command\":\"push_status\",\"msg\":0,\"sequence_id\":\"%ld\",\"layer_num\":%ld,%s}",
		    layer, layer, l->rest);
	else
		/* As an A1 sends them while it prints. */
		len = snprintf(payload, sizeof(payload),
		    "{\"print\":{\"bed_temper\":%ld.%02ld,\"nozzle_temper\":%ld.%02ld,\"wifi_signal\":\"-5%lddBm\","
		    "\"command\":\"push_status\",\"msg\":1,\"sequence_id\":\"%ld\",\"mc_percent\":%ld,\"layer_num\":%ld,"
		    "\"cooling_fan_speed\":\"%ld\",\"upload\":{\"status\":\"idle\",\"progress\":0,\"message\":\"\"},"
		    "\"mc_print_line_number\":\"%ld\",\"net\":{\"conf\":16}}}",
		    50 + layer % 7, layer % 100, 215 + layer % 5, layer % 100, layer % 10, layer,
		    layer % 100, layer, layer % 16, layer * 100);
	if (len > 0 && (size_t)len < sizeof(payload))
		publish(l, serial, payload, len);
}

static void
publish_version(struct load *l, const char *serial)
{
	static const char version[] =
	    "{\"info\":{\"command\":\"get_version\",\"sequence_id\":\"1\",\"module\":[{\"name\":"
	    "\"ota\",\"product_name\":\"Bambu Lab X1 Carbon\",\"sw_ver\":\"01.11.02.00\"}]}}";

	publish(l, serial, version, (int)sizeof(version) - 1);
}

static void
on_message(struct mosquitto *mosq, void *data, const struct mosquitto_message *message)
{
	struct load *l = data;
	char serial[SERIAL_MAX];
	struct json_object *root, *section = NULL;

	(void)mosq;
	if (sscanf(message->topic, "device/%31[^/]/request", serial) != 1)
		return;
	root = json_tokener_parse(message->payload);
	if (json_object_object_get_ex(root, "pushing", &section)) {
		publish_report(l, serial, 0, 1);
		atomic_fetch_add(&l->full_replies, 1);
	} else if (json_object_object_get_ex(root, "info", &section)) {
		publish_version(l, serial);
	}
	json_object_put(root);
}

static void
on_connect(struct mosquitto *mosq, void *data, int code)
{
	(void)data;
	if (code == 0)
		mosquitto_subscribe(mosq, NULL, "device/+/request", 1);
}

static int
dial(struct load *l, int port, const char *password)
{
	l->mosq = mosquitto_new("mqtt_fleet", true, l);
	if (l->mosq == NULL)
		return -1;
	mosquitto_connect_callback_set(l->mosq, on_connect);
	mosquitto_message_callback_set(l->mosq, on_message);
	mosquitto_username_pw_set(l->mosq, "fleet", password);
	if (mosquitto_connect(l->mosq, "127.0.0.1", port, 30) != MOSQ_ERR_SUCCESS)
		return -1;
	return mosquitto_loop_start(l->mosq) == MOSQ_ERR_SUCCESS ? 0 : -1;
}

/* Publishes at the wanted rate until the time is over; returns how many reports went out. */
static long
run(struct load *l)
{
	const long start = now_ns(CLOCK_MONOTONIC), end = start + l->seconds * NS_PER_S;
	const long gap = l->rate > 0 ? (long)((double)NS_PER_S / l->rate) : NS_PER_S;
	long sent = 0;

	while (!stop && now_ns(CLOCK_MONOTONIC) < end) {
		const long due = start + sent * gap;
		const struct timespec at = {due / NS_PER_S, due % NS_PER_S};
		const char *serial = l->serials[(size_t)sent % l->n_serials];
		const long layer = sent / (long)l->n_serials + l->first_layer;

		if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
			continue;
		if (l->rate > 0) {
			fprintf(l->log, "%s %ld %ld\n", serial, layer, now_ns(CLOCK_REALTIME));
			publish_report(l, serial, layer, !l->delta);
		}
		sent++;
	}
	return sent;
}

static int
usage(void)
{
	fputs("usage: mqtt_fleet PORT PASSWORD SERIALS TEMPLATE REPORTS_PER_S SECONDS LOG "
	      "full|delta FIRST_LAYER\n",
	    stderr);
	return 2;
}

int
main(int argc, char **argv)
{
	struct load l = {0};
	long sent;

	if (argc < 10)
		return usage();
	l.n_serials = read_serials(argv[3], &l.serials);
	l.rest = read_template(argv[4]);
	l.rate = strtod(argv[5], NULL);
	l.seconds = strtol(argv[6], NULL, 10);
	l.log = fopen(argv[7], "w");
	l.delta = strcmp(argv[8], "delta") == 0;
	l.first_layer = strtol(argv[9], NULL, 10);
	if (l.n_serials == 0 || l.rest == NULL || l.log == NULL)
		return usage();
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	mosquitto_lib_init();
	if (dial(&l, (int)strtol(argv[1], NULL, 10), argv[2]) != 0)
		return 1;
	sent = run(&l);
	printf("%ld %u\n", l.rate > 0 ? sent : 0, atomic_load(&l.full_replies));
	mosquitto_disconnect(l.mosq);
	mosquitto_loop_stop(l.mosq, false);
	mosquitto_destroy(l.mosq);
	mosquitto_lib_cleanup();
	fclose(l.log);
	free(l.serials);
	free(l.rest);
	return 0;
}
