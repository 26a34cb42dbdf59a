/*
 * Appends every line of its input to a log, and returns when all of them are durable.
 *
 * Shows: creating a log, appending without waiting for each record, and waiting for all records at
 * the end.
 *
 *     cc examples/c/produce.c -o produce $(pkg-config --cflags --libs styx)
 *     seq 1 1000 | ./produce orders
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <styx.h>

static void check(styx_error *error) {
    if (error != NULL) {
        fprintf(stderr, "%s: %s\n", styx_error_name(error), styx_error_message(error));
        exit(1);
    }
}

/* Appends a record; waits only while 32 MiB are unacknowledged. */
static void append(const styx_producer *producer, const char *line, size_t size) {
    styx_error *error;
    while ((error = styx_producer_append(producer, (const uint8_t *)line, size, NULL)) != NULL) {
        if (styx_error_code(error) != STYX_E_WOULD_BLOCK) {
            check(error);
        }
        styx_error_free(error);
        styx_producer_wait_room(producer, -1);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: produce LOG < lines\n");
        return 2;
    }

    /* Without an address, the client uses the variable STYX_HOST, then localhost:7123. */
    styx_client *client;
    check(styx_client_connect(NULL, NULL, &client));
    check(styx_create_log(client, argv[1], NULL, 0, true, NULL, 0));
    styx_producer *producer;
    check(styx_producer_open(client, argv[1], NULL, &producer));

    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    while ((size = getline(&line, &capacity, stdin)) >= 0) {
        if (size > 0 && line[size - 1] == '\n') {
            size--;
        }
        append(producer, line, (size_t)size);
    }
    free(line);

    /* Waits until every record is on the server's disk, and reports what was lost. */
    check(styx_producer_close(producer, -1));
    printf("%llu lines\n", (unsigned long long)styx_producer_durable_sequence(producer));
    styx_producer_free(producer);
    styx_client_free(client);
    return 0;
}
