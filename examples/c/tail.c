/*
 * Prints the last records of a log and then the new ones, as `tail -f` does, until Ctrl-C.
 *
 * Shows: following a log, ending a wait from a signal handler, and events: they say when the
 * connection is lost and found again.
 *
 *     cc examples/c/tail.c -o tail $(pkg-config --cflags --libs styx)
 *     ./tail orders
 *     ./tail orders 100
 */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <styx.h>

static styx_consumer *consumer;
static volatile sig_atomic_t stopped;

/* styx_consumer_wakeup() is the only function of Styx that a signal handler may call. */
static void stop(int signal) {
    (void)signal;
    stopped = 1;
    styx_consumer_wakeup(consumer);
}

static void check(styx_error *error) {
    if (error != NULL) {
        fprintf(stderr, "%s: %s\n", styx_error_name(error), styx_error_message(error));
        exit(1);
    }
}

static void report(const styx_event *event, void *user_data) {
    (void)user_data;
    if (event->kind == STYX_EVENT_LOST) {
        fprintf(stderr, "connection lost: %s\n", styx_error_message(event->error));
    } else if (event->kind == STYX_EVENT_AGAIN) {
        fprintf(stderr, "connecting again in %" PRIu64 " ms\n", event->wait_ms);
    } else if (event->kind == STYX_EVENT_CONNECTED) {
        fprintf(stderr, "connected\n");
    }
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: tail LOG [RECORDS]\n");
        return 2;
    }
    styx_client *client;
    check(styx_client_connect(NULL, NULL, &client));
    char start[64];
    snprintf(start, sizeof start, "end-%s", argc == 3 ? argv[2] : "10");
    styx_options *options = styx_options_new();
    check(styx_options_set(options, "start", start));
    check(styx_options_set(options, "follow", "true"));
    check(styx_consumer_open(client, argv[1], options, &consumer));
    styx_options_free(options);

    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    while (!stopped) {
        /* Events are taken once a second even if there are no records. */
        styx_batch *batch;
        check(styx_consumer_poll(consumer, 0, 1000, &batch));
        styx_record record;
        for (size_t i = 0; styx_batch_get(batch, i, &record, sizeof record); i++) {
            fwrite(record.data, 1, record.size, stdout);
            putchar('\n');
        }
        styx_batch_free(batch);
        fflush(stdout);
        check(styx_client_take_events(client, report, NULL, NULL));
    }
    fprintf(stderr, "stopped at position %" PRIu64 "\n", styx_consumer_position(consumer));

    /* The handler must not see a consumer that was freed. */
    action.sa_handler = SIG_DFL;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    styx_consumer_free(consumer);
    styx_client_free(client);
    return 0;
}
