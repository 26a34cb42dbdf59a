/*
 * Prints the records of a log with their positions, and exits.
 *
 * Shows: reading from any position of a log to its current end, batch by batch.
 *
 *     cc examples/c/consume.c -o consume $(pkg-config --cflags --libs styx)
 *     ./consume orders
 *     ./consume orders end-100
 *     ./consume orders time:2026-11-28T16:00:00Z
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <styx.h>

static void check(styx_error *error) {
    if (error != NULL) {
        fprintf(stderr, "%s: %s\n", styx_error_name(error), styx_error_message(error));
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: consume LOG [START]\n");
        return 2;
    }

    styx_client *client;
    check(styx_client_connect(NULL, NULL, &client));
    styx_options *options = styx_options_new();
    check(styx_options_set(options, "start", argc == 3 ? argv[2] : "start"));
    styx_consumer *consumer;
    check(styx_consumer_open(client, argv[1], options, &consumer));
    styx_options_free(options);

    while (!styx_consumer_ended(consumer)) {
        styx_batch *batch; /* NULL at the end */
        check(styx_consumer_poll(consumer, 0, -1, &batch));
        styx_record record;
        for (size_t i = 0; styx_batch_get(batch, i, &record, sizeof record); i++) {
            printf("%" PRIu64 " ", record.position);
            fwrite(record.data, 1, record.size, stdout);
            putchar('\n');
        }
        styx_batch_free(batch);
    }

    styx_consumer_free(consumer);
    styx_client_free(client);
    return fflush(stdout) == 0 ? 0 : 1;
}
