/*
 * One way of using libstyx, timed. The shapes and the output are those of
 * core-client/examples/shapes.rs.
 *
 *     shapes ADDRESS LOG SHAPE RECORDS
 *
 * SHAPE: append, append_packed, consume_get, consume_views, send, or batch_get and batch_views,
 * which only measure going through batches that are in memory already.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <styx.h>

/* Records of a batch that is appended, and bytes of a record. */
enum { BATCH = 10000, SIZE = 100, VIEWS = 4096 };

static void ok(styx_error *error)
{
    if (error != NULL) {
        fprintf(stderr, "%s: %s\n", styx_error_name(error), styx_error_message(error));
        exit(1);
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Waits for room if that was missing. Other errors end the program. */
static void wait_room(const styx_producer *producer, styx_error *error)
{
    if (styx_error_code(error) != STYX_E_WOULD_BLOCK) {
        ok(error);
    }
    styx_error_free(error);
    styx_producer_wait_room(producer, -1);
}

static double append(const styx_producer *producer, size_t records)
{
    static uint8_t payload[SIZE];
    memset(payload, 'x', sizeof payload);
    const double begin = now();
    for (size_t i = 0; i < records;) {
        styx_error *error = styx_producer_append(producer, payload, sizeof payload, NULL);
        if (error == NULL) {
            i++;
        } else {
            wait_room(producer, error);
        }
    }
    ok(styx_producer_flush(producer, -1));
    return now() - begin;
}

static double append_packed(const styx_producer *producer, size_t records)
{
    static uint8_t data[BATCH * SIZE];
    static uint32_t ends[BATCH];
    memset(data, 'x', sizeof data);
    for (uint32_t i = 0; i < BATCH; i++) {
        ends[i] = (i + 1) * SIZE;
    }
    const double begin = now();
    for (size_t i = 0; i < records / BATCH; i++) {
        /* More than 1 MiB with the 8 bytes of each record, so a part may be accepted. */
        for (size_t done = 0; done < BATCH;) {
            size_t accepted;
            styx_error *error = styx_producer_append_packed(producer, data,
                (BATCH - done) * SIZE, ends, BATCH - done, &accepted);
            done += accepted;
            if (error != NULL) {
                wait_room(producer, error);
            }
        }
    }
    ok(styx_producer_flush(producer, -1));
    return now() - begin;
}

static int ascending(const void *one, const void *other)
{
    const double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

/* The median time of one record multiplied by their number. */
static double send(const styx_producer *producer, size_t records)
{
    const uint8_t payload[SIZE] = {'x'};
    double *times = malloc((records + 1) * sizeof *times);
    if (times == NULL) {
        exit(1);
    }
    for (size_t i = 0; i < records; i++) {
        const double begin = now();
        ok(styx_producer_send(producer, payload, sizeof payload, -1, NULL));
        times[i] = now() - begin;
    }
    qsort(times, records, sizeof *times, ascending);
    const double taken = times[records / 2] * (double)records;
    free(times);
    return taken;
}

static size_t bytes_by_get(const styx_batch *batch)
{
    size_t bytes = 0;
    styx_record record;
    for (size_t i = 0; styx_batch_get(batch, i, &record, sizeof record); i++) {
        bytes += record.size;
    }
    return bytes;
}

static size_t bytes_by_views(const styx_batch *batch)
{
    static styx_record views[VIEWS];
    size_t bytes = 0, first = 0, count;
    while ((count = styx_batch_views(batch, first, views, VIEWS, sizeof *views)) > 0) {
        for (size_t i = 0; i < count; i++) {
            bytes += views[i].size;
        }
        first += count;
    }
    return bytes;
}

/* `only_batches`: counts the time in the library's batches, and not that of receiving them. */
static double consume(styx_consumer *consumer, size_t records, int by_views, int only_batches)
{
    size_t read = 0, bytes = 0;
    double inside = 0;
    const double begin = now();
    for (;;) {
        styx_batch *batch;
        ok(styx_consumer_poll(consumer, 0, -1, &batch));
        if (batch == NULL) {
            break;
        }
        read += styx_batch_len(batch);
        if (only_batches) {
            /* The first time brings the index into the cache. */
            (void)bytes_by_views(batch);
        }
        const double before = only_batches ? now() : 0;
        bytes += by_views ? bytes_by_views(batch) : bytes_by_get(batch);
        inside += only_batches ? now() - before : 0;
        styx_batch_free(batch);
    }
    const double taken = now() - begin;
    if (read != records || bytes != records * SIZE) {
        fprintf(stderr, "read %zu records and %zu bytes\n", read, bytes);
        exit(1);
    }
    return only_batches ? inside : taken;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("use ADDRESS LOG SHAPE RECORDS\n", stderr);
        return 2;
    }
    const char *log = argv[2], *shape = argv[3];
    const size_t records = (size_t)strtoull(argv[4], NULL, 10);
    styx_client *client;
    styx_options *options = styx_options_new();
    double taken;
    ok(styx_client_connect(argv[1], NULL, &client));
    if (strncmp(shape, "consume_", 8) == 0 || strncmp(shape, "batch_", 6) == 0) {
        styx_consumer *consumer;
        ok(styx_options_set(options, "count", argv[4]));
        ok(styx_consumer_open(client, log, options, &consumer));
        taken = consume(consumer, records, strstr(shape, "_views") != NULL, shape[0] == 'b');
        styx_consumer_free(consumer);
    } else {
        styx_producer *producer;
        ok(styx_producer_open(client, log, options, &producer));
        if (strcmp(shape, "append") == 0) {
            taken = append(producer, records);
        } else if (strcmp(shape, "append_packed") == 0) {
            taken = append_packed(producer, records);
        } else if (strcmp(shape, "send") == 0) {
            taken = send(producer, records);
        } else {
            fprintf(stderr, "no shape %s\n", shape);
            return 2;
        }
        styx_producer_free(producer);
    }
    printf("{\"shape\":\"%s\",\"records\":%zu,\"seconds\":%.9f}\n", shape, records, taken);
    styx_options_free(options);
    styx_client_free(client);
    return 0;
}
