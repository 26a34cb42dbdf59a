/*
 * Appends readings of eight sensors to a log, each of them exactly once, even if the program is
 * killed and started again.
 *
 * Shows: a producer with an id. The log knows how many records it has of this producer, so an
 * import continues where it was stopped. The readings are appended many at a time, which is the
 * fastest way.
 *
 *     cc examples/c/sensors.c -o sensors $(pkg-config --cflags --libs styx)
 *     ./sensors readings 100000
 *
 * Each record is a line: number, sensor and value, such as "42 sensor-2 17.3".
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <styx.h>

enum { AT_ONCE = 500 };

static void check(styx_error *error) {
    if (error != NULL) {
        fprintf(stderr, "%s: %s\n", styx_error_name(error), styx_error_message(error));
        exit(1);
    }
}

/* Reading `number`: the same one in every run. A real program would read line `number` of a file. */
static int reading(char *text, size_t size, uint64_t number) {
    double value = 15.0 + (double)(number * 7919 % 100) / 10.0;
    return snprintf(text, size, "%" PRIu64 " sensor-%" PRIu64 " %.1f", number, number % 8, value);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: sensors LOG READINGS\n");
        return 2;
    }
    uint64_t readings = strtoull(argv[2], NULL, 10);

    styx_client *client;
    check(styx_client_connect(NULL, NULL, &client));
    check(styx_create_log(client, argv[1], NULL, 0, true, NULL, 0));
    styx_options *options = styx_options_new();
    check(styx_options_set(options, "producer_id", "7"));
    check(styx_options_set(options, "linger", "5 ms"));
    styx_producer *producer;
    check(styx_producer_open(client, argv[1], options, &producer));
    styx_options_free(options);

    uint64_t next = styx_producer_next_sequence(producer);
    fprintf(stderr, "continuing with reading %" PRIu64 "\n", next);
    while (next < readings) {
        char data[AT_ONCE * 64];
        uint32_t ends[AT_ONCE];
        size_t count = 0;
        size_t size = 0;
        while (count < AT_ONCE && next + count < readings) {
            size += (size_t)reading(data + size, sizeof data - size, next + count);
            ends[count++] = (uint32_t)size;
        }
        /* They are less than 1 MiB, so all of them are appended or none. */
        styx_error *error = styx_producer_append_packed(producer, (const uint8_t *)data, size,
                                                        ends, count, NULL);
        if (error == NULL) {
            next += count;
        } else if (styx_error_code(error) == STYX_E_WOULD_BLOCK) {
            styx_error_free(error);
            styx_producer_wait_room(producer, -1);
        } else {
            check(error);
        }
    }

    check(styx_producer_close(producer, -1));
    printf("%" PRIu64 " readings\n", styx_producer_durable_sequence(producer));
    styx_producer_free(producer);
    styx_client_free(client);
    return 0;
}
