/*
 * Measures the temperatures of a brewery and appends each reading to a log.
 *
 * The log has one writer, so a reading has the number of its position. A program that starts asks
 * the log where it ends, and continues with that number. It needs no file of its own.
 *
 *     ./sensors LOG PER_SECOND
 *
 * The first record is {"reading":0,"sensor":"mash tun","celsius":65.7}. Ctrl-C or SIGTERM ends the
 * program when all its readings are stored.
 */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <styx.h>
#include <time.h>

/* A fixed id: the log ends an older connection of this program before it opens a new one. */
static const char PRODUCER_ID[] = "1";

static const struct {
    const char *name;
    double celsius;
    double swing;
} SENSORS[] = {
    {"mash tun", 66.0, 1.4},    {"kettle", 98.6, 0.8},    {"fermenter 1", 18.5, 0.9},
    {"fermenter 2", 12.0, 0.6}, {"cold room", 3.5, 0.5}, {"brew hall", 21.0, 1.8},
};
enum { SENSOR_COUNT = sizeof SENSORS / sizeof SENSORS[0] };

static volatile sig_atomic_t stopped;

static void stop(int signal) {
    (void)signal;
    stopped = 1;
}

static void check(styx_error *error) {
    if (error != NULL) {
        fprintf(stderr, "error: %s: %s\n", styx_error_name(error), styx_error_message(error));
        exit(1);
    }
}

/* Reading `number` as JSON. A real program would ask its hardware. */
static size_t measure(char *text, size_t size, uint64_t number) {
    size_t sensor = number % SENSOR_COUNT;
    double time = (double)(number / SENSOR_COUNT);
    double noise = (double)(number * 7919 % 101) / 101.0 - 0.5;
    double wave = sin(time / 9.0 + (double)sensor) + 0.35 * sin(time / 2.3) + 0.5 * noise;
    double celsius = SENSORS[sensor].celsius + SENSORS[sensor].swing * wave;
    return (size_t)snprintf(text, size,
                            "{\"reading\":%" PRIu64 ",\"sensor\":\"%s\",\"celsius\":%.1f}", number,
                            SENSORS[sensor].name, celsius);
}

/* Appends a record. It waits only while 32 MiB are not acknowledged yet. */
static void append(const styx_producer *producer, const char *text, size_t size) {
    styx_error *error;
    while ((error = styx_producer_append(producer, (const uint8_t *)text, size, NULL)) != NULL) {
        if (styx_error_code(error) != STYX_E_WOULD_BLOCK) {
            check(error);
        }
        styx_error_free(error);
        styx_producer_wait_room(producer, -1);
    }
}

/* Sleeps until `number` readings after `start` are due. */
static void wait_for_turn(const struct timespec *start, uint64_t number, double per_second) {
    double due = (double)number / per_second;
    struct timespec until = *start;
    until.tv_sec += (time_t)due;
    until.tv_nsec += (long)((due - floor(due)) * 1e9);
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

int main(int argc, char **argv) {
    double per_second = argc == 3 ? strtod(argv[2], NULL) : 0;
    if (!(per_second > 0)) {
        fprintf(stderr, "usage: sensors LOG PER_SECOND\n");
        return 2;
    }
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    /* Without an address, the client uses the variable STYX_HOST, then localhost:7123. */
    styx_client *client;
    check(styx_client_connect(NULL, NULL, &client));
    check(styx_create_log(client, argv[1], NULL, 0, true, NULL, 0));
    styx_options *options = styx_options_new();
    check(styx_options_set(options, "producer_id", PRODUCER_ID));
    styx_producer *producer;
    check(styx_producer_open(client, argv[1], options, &producer));
    styx_options_free(options);
    styx_log_info info;
    check(styx_get_log(client, argv[1], &info, sizeof info));

    printf("continuing with reading %" PRIu64 "\n", info.end_position);
    fflush(stdout);
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (uint64_t done = 0; !stopped; done++) {
        char text[128];
        size_t size = measure(text, sizeof text, info.end_position + done);
        append(producer, text, size);
        wait_for_turn(&start, done + 1, per_second);
    }

    /* Waits until every reading is on the server's disk. */
    check(styx_producer_close(producer, -1));
    styx_producer_free(producer);
    styx_client_free(client);
    return 0;
}
