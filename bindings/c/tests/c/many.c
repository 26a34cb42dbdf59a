/*
 * Clients, producers and consumers that are opened and closed many times leave nothing behind.
 * STYX_TEST_ROUNDS is their number. Valgrind runs it too.
 */
#define _GNU_SOURCE
#include "test.h"

#include <dirent.h>
#include <unistd.h>

static size_t descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    size_t count = 0;
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

static size_t threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    size_t count = 0;
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

static void round_trip(size_t round)
{
    styx_client *client = test_client();
    styx_producer *producer =
        test_producer(client, "log", test_options("track_settled", "true", NULL));
    styx_consumer *consumer = test_consumer(client, "log", test_options("start", "end-1",
        "follow", round % 2 == 0 ? "true" : "false", "cursor", "c", NULL));
    int32_t fd;
    OK(styx_consumer_fd(consumer, &fd));
    uint64_t position;
    OK(styx_producer_send(producer, BYTES("record"), -1, &position));
    styx_batch *batch;
    OK(styx_consumer_poll(consumer, 0, round % 3 == 0 ? 0 : 10000, &batch));
    styx_batch *clone = styx_batch_clone(batch);
    styx_batch_free(batch);
    styx_error *error = styx_get_log(client, "missing", NULL, 0);
    EQUAL(styx_error_code(error), STYX_E_LOG_NOT_FOUND);
    /* In any order, closed or not, with records that are not durable. */
    switch (round % 4) {
    case 0:
        OK(styx_producer_close(producer, -1));
        styx_consumer_close(consumer);
        break;
    case 1:
        OK(styx_producer_append(producer, BYTES("lost"), NULL));
        break;
    default:
        styx_client_free(client);
        client = NULL;
    }
    styx_error_free(error);
    styx_consumer_free(consumer);
    styx_batch_free(clone);
    styx_producer_free(producer);
    styx_client_free(client);
}

static void nothing_is_left_behind(void)
{
    const size_t rounds = test_number("STYX_TEST_ROUNDS", 1000);
    styx_client *client = test_client();
    test_log(client, "log", 1);
    for (size_t i = 0; i < 20; i++) {
        round_trip(i);
    }
    const size_t before = descriptors(), threads_before = threads();
    for (size_t i = 0; i < rounds; i++) {
        round_trip(i);
    }
    /* Threads end in the background. */
    for (int i = 0; i < 1000; i++) {
        if (descriptors() <= before && threads() <= threads_before) {
            break;
        }
        test_sleep_ms(10);
    }
    CHECK(descriptors() <= before);
    CHECK(threads() <= threads_before);
    styx_client_free(client);
    test_sleep_ms(200);
}

TEST_MAIN(TEST(nothing_is_left_behind))
