/* Producers. */
#include "test.h"

#include <pthread.h>

static void appended_records_are_durable_after_a_flush(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_producer *producer = test_producer(client, "log", NULL);
    uint64_t sequence, position, id;
    uint32_t epoch;
    char log_id[40];
    for (uint64_t i = 0; i < 1000; i++) {
        OK(styx_producer_append(producer, BYTES("record"), &sequence));
        EQUAL(sequence, i);
    }
    EQUAL(styx_producer_next_sequence(producer), 1000);
    OK(styx_producer_flush(producer, -1));
    EQUAL(styx_producer_durable_sequence(producer), 1000);
    OK(styx_producer_send(producer, BYTES("record"), 10000, &position));
    EQUAL(position, 1000);
    OK(styx_producer_send(producer, BYTES("record"), INT64_MAX, NULL));
    CHECK(styx_producer_identity(producer, &id, &epoch));
    OK(styx_producer_log_id(producer, &log_id));
    EQUAL(strlen(log_id), 32);
    OK(styx_producer_flush(producer, 10000));
    OK(styx_producer_close(producer, INT64_MAX));
    OK(styx_producer_close(producer, -1));
    FAILS(STYX_E_CLOSED, styx_producer_append(producer, BYTES("late"), &sequence));
    FAILS(STYX_E_CLOSED, styx_producer_send(producer, BYTES("late"), -1, &position));
    const uint32_t end = 4;
    FAILS(STYX_E_CLOSED, styx_producer_append_packed(producer, BYTES("late"), &end, 1, NULL));
    OK(styx_producer_flush(producer, -1));
    CHECK(styx_producer_wait_room(producer, -1));
    styx_producer_stats_t stats;
    OK(styx_producer_stats(producer, &stats, sizeof stats));
    EQUAL(stats.acked_records, 1002);
    styx_producer_free(producer);
    styx_log_info info;
    OK(styx_get_log(client, "log", &info, sizeof info));
    EQUAL(info.record_count, 1002);
    styx_client_free(client);
}

static void closed_producer_refuses_appends(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_producer *producer =
        test_producer(client, "log", test_options("track_settled", "true", NULL));
    OK(styx_producer_append(producer, BYTES("record"), NULL));
    OK(styx_producer_close(producer, -1));
    OK(styx_producer_close(producer, 0));
    const uint32_t end = 4;
    uint64_t sequence = 9, id;
    uint32_t epoch;
    FAILS(STYX_E_CLOSED, styx_producer_append(producer, BYTES("late"), &sequence));
    FAILS(STYX_E_CLOSED, styx_producer_append_packed(producer, BYTES("late"), &end, 1, NULL));
    FAILS(STYX_E_CLOSED, styx_producer_send(producer, BYTES("late"), -1, NULL));
    EQUAL(sequence, 9);
    /* Nothing waits for a producer that has ended. */
    OK(styx_producer_flush(producer, -1));
    CHECK(styx_producer_wait_room(producer, -1));
    CHECK(test_readable(styx_producer_fd(producer), 10000));
    styx_ack ack;
    size_t count;
    OK(styx_producer_acks(producer, &ack, 1, sizeof ack, &count));
    EQUAL(count, 1);
    CHECK(ack.error == NULL);
    styx_producer_seen(producer);
    EQUAL(styx_producer_next_sequence(producer), 1);
    EQUAL(styx_producer_durable_sequence(producer), 1);
    CHECK(styx_producer_identity(producer, &id, &epoch));
    char log_id[40];
    OK(styx_producer_log_id(producer, &log_id));
    styx_producer_stats_t stats;
    OK(styx_producer_stats(producer, &stats, sizeof stats));
    EQUAL(stats.acked_records, 1);
    styx_producer_free(producer);
    styx_client_free(client);
}

static void packed_records_keep_their_limits(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_producer *producer = test_producer(client, "log", NULL);
    const uint32_t ends[] = {3, 3, 6, 11};
    size_t accepted = 0;
    OK(styx_producer_append_packed(producer, BYTES("onetwothree"), ends, 4, &accepted));
    EQUAL(accepted, 4);
    /* The last end is beyond the data, and an end is before the one before it. */
    const uint32_t decreasing[] = {3, 2};
    INVALID(styx_producer_append_packed(producer, BYTES("onetwothre"), ends, 4, &accepted));
    EQUAL(accepted, 0);
    INVALID(styx_producer_append_packed(producer, BYTES("one"), decreasing, 2, &accepted));
    EQUAL(styx_producer_next_sequence(producer), 4);
    OK(styx_producer_close(producer, -1));
    styx_producer_free(producer);
    styx_consumer *consumer = test_consumer(client, "log", NULL);
    static const char *const expected[] = {"one", "", "two", "three"};
    for (size_t i = 0; i < 4; i++) {
        styx_batch *batch;
        styx_record record;
        OK(styx_consumer_poll(consumer, 1, 10000, &batch));
        CHECK(styx_batch_get(batch, 0, &record, sizeof record));
        EQUAL(record.size, strlen(expected[i]));
        CHECK(memcmp(record.data, expected[i], record.size) == 0);
        styx_batch_free(batch);
    }
    styx_consumer_free(consumer);
    styx_client_free(client);
}

/* Fills a producer whose server does not answer. Returns how many records it has taken. */
static size_t filled(const styx_producer *producer, const uint8_t *data, size_t size)
{
    size_t count = 0;
    for (;;) {
        styx_error *error = styx_producer_append(producer, data, size, NULL);
        if (error != NULL) {
            EQUAL(styx_error_code(error), STYX_E_WOULD_BLOCK);
            CHECK(styx_error_retriable(error) && !styx_error_maybe_appended(error));
            styx_error_free(error);
            return count;
        }
        count++;
    }
}

static void full_producer_never_blocks(void)
{
    static uint8_t data[1000];
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_producer *producer =
        test_producer(client, "log", test_options("in_flight_bytes", "1 MiB", NULL));
    OK(styx_producer_send(producer, BYTES("first"), -1, NULL));
    test_server_pause();
    size_t count = 1 + filled(producer, data, sizeof data);
    CHECK(count > 500);
    const double begin = test_seconds();
    CHECK(!styx_producer_wait_room(producer, 0));
    CHECK(!styx_producer_wait_room(producer, 50));
    FAILS(STYX_E_TIMED_OUT, styx_producer_send(producer, data, sizeof data, 50, NULL));
    FAILS(STYX_E_TIMED_OUT, styx_producer_flush(producer, 50));
    styx_error *late = styx_producer_flush(producer, 1);
    CHECK(styx_error_maybe_appended(late));
    styx_error_free(late);
    FAILS(STYX_E_TIMED_OUT, styx_producer_flush(producer, 0));
    const uint32_t ends[] = {100, 200};
    size_t accepted = 9;
    FAILS(STYX_E_WOULD_BLOCK,
        styx_producer_append_packed(producer, data, sizeof data, ends, 2, &accepted));
    EQUAL(accepted, 0);
    CHECK(test_seconds() - begin < TEST_STALL);
    EQUAL(styx_producer_next_sequence(producer), count);
    styx_producer_stats_t stats;
    OK(styx_producer_stats(producer, &stats, sizeof stats));
    EQUAL(stats.in_flight_records, count - 1);
    EQUAL(stats.acked_records, 1);
    test_server_resume();
    CHECK(styx_producer_wait_room(producer, -1));
    OK(styx_producer_append(producer, data, sizeof data, NULL));
    OK(styx_producer_close(producer, -1));
    styx_producer_free(producer);
    styx_log_info info;
    OK(styx_get_log(client, "log", &info, sizeof info));
    EQUAL(info.record_count, count + 1);
    styx_client_free(client);
}

enum { PARTS_RECORDS = 5 << 10, PARTS_SIZE = 1016 };
static uint8_t parts_data[PARTS_RECORDS * PARTS_SIZE];
static uint32_t parts_ends[PARTS_RECORDS];

/* 1,024 records of 1 KiB are 1 MiB, which is atomic. More are split there. */
static void accepted_counts_say_what_to_append_again(void)
{
    for (uint32_t i = 0; i < PARTS_RECORDS; i++) {
        parts_ends[i] = (i + 1) * PARTS_SIZE;
    }
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_producer *producer =
        test_producer(client, "log", test_options("in_flight_bytes", "2 MiB", NULL));
    size_t accepted = 7;
    INVALID(styx_producer_append_packed(
        producer, parts_data, sizeof parts_data, parts_ends, PARTS_RECORDS, NULL));
    EQUAL(styx_producer_next_sequence(producer), 0);
    OK(styx_producer_append_packed(
        producer, parts_data, sizeof parts_data, parts_ends, 1024, NULL));
    OK(styx_producer_flush(producer, -1));
    test_server_pause();
    FAILS(STYX_E_WOULD_BLOCK, styx_producer_append_packed(producer, parts_data,
        sizeof parts_data, parts_ends, PARTS_RECORDS, &accepted));
    CHECK(accepted > 0 && accepted < PARTS_RECORDS);
    EQUAL(accepted % 1024, 0);
    size_t total = accepted;
    test_server_resume();
    while (total < PARTS_RECORDS) {
        styx_error *error = styx_producer_append_packed(producer, parts_data,
            sizeof parts_data - total * PARTS_SIZE, parts_ends, PARTS_RECORDS - total, &accepted);
        EQUAL(accepted % 1024, 0);
        if (error != NULL) {
            EQUAL(styx_error_code(error), STYX_E_WOULD_BLOCK);
            CHECK(styx_producer_wait_room(producer, 10000));
        }
        styx_error_free(error);
        total += accepted;
    }
    OK(styx_producer_close(producer, -1));
    styx_producer_free(producer);
    styx_log_info info;
    OK(styx_get_log(client, "log", &info, sizeof info));
    EQUAL(info.record_count, 1024 + PARTS_RECORDS);
    styx_client_free(client);
}

static size_t take(const styx_producer *producer, styx_ack *acks, size_t capacity)
{
    size_t count = 99;
    OK(styx_producer_acks(producer, acks, capacity, sizeof *acks, &count));
    CHECK(count <= capacity);
    return count;
}

static void acks_have_every_record_once_and_in_order(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 10);
    /* Any spelling of true that the option allows. */
    styx_options *options = test_options("track_settled", "1", "block_bytes", "100", NULL);
    styx_producer *producer = test_producer(client, "log", options);
    for (int i = 0; i < 100; i++) {
        OK(styx_producer_append(producer, BYTES("a record of some bytes"), NULL));
    }
    OK(styx_producer_flush(producer, -1));
    EQUAL(take(producer, NULL, 0), 0);
    uint64_t next = 0;
    CHECK(test_readable(styx_producer_fd(producer), 1000));
    while (next < 100) {
        styx_ack ack;
        EQUAL(take(producer, &ack, 1), 1);
        CHECK(ack.error == NULL);
        EQUAL(ack.first_sequence, next);
        EQUAL(ack.position, 10 + next);
        CHECK(ack.count > 0 && ack.count < 100);
        next += ack.count;
        CHECK(test_readable(styx_producer_fd(producer), 0) || next == 100);
    }
    styx_ack acks[2];
    /* A thread of the client may still be about to tell the descriptor of the last outcome. */
    for (int i = 0; i < 100 && test_readable(styx_producer_fd(producer), 20); i++) {
        EQUAL(take(producer, acks, 2), 0);
    }
    CHECK(!test_readable(styx_producer_fd(producer), 20));
    OK(styx_producer_close(producer, -1));
    styx_producer_free(producer);

    producer = test_producer(client, "log", NULL);
    size_t count;
    FAILS_WITH(STYX_E_INVALID_ARGUMENT, "track_settled",
        styx_producer_acks(producer, acks, 2, sizeof *acks, &count));
    OK(styx_producer_append(producer, BYTES("a"), NULL));
    CHECK(test_readable(styx_producer_fd(producer), 10000));
    OK(styx_producer_flush(producer, -1));
    for (int i = 0; i < 100 && test_readable(styx_producer_fd(producer), 20); i++) {
        styx_producer_seen(producer);
    }
    CHECK(!test_readable(styx_producer_fd(producer), 20));
    styx_producer_free(producer);
    styx_client_free(client);
}

static void fenced_producer_fails_for_good(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_producer *old = test_producer(client, "log",
        test_options("producer_id", "7", "epoch", "1", "track_settled", "true", NULL));
    uint64_t id;
    uint32_t epoch;
    CHECK(styx_producer_identity(old, &id, &epoch));
    EQUAL(id, 7);
    EQUAL(epoch, 1);
    OK(styx_producer_send(old, BYTES("old"), -1, NULL));
    styx_ack ack;
    while (take(old, &ack, 1) == 0) {
        CHECK(test_readable(styx_producer_fd(old), 10000));
    }
    styx_producer *new =
        test_producer(client, "log", test_options("producer_id", "7", "epoch", "2", NULL));
    EQUAL(styx_producer_next_sequence(new), 1);
    OK(styx_producer_send(new, BYTES("new"), -1, NULL));
    styx_error *error = styx_producer_append(old, BYTES("old"), NULL);
    if (error == NULL) {
        CHECK(test_readable(styx_producer_fd(old), 10000));
        for (int i = 0; i < 1000 && take(old, &ack, 1) == 0; i++) {
            CHECK(test_readable(styx_producer_fd(old), 10000));
        }
        CHECK(ack.error != NULL);
        EQUAL(ack.first_sequence, 1);
        EQUAL(styx_error_code(ack.error), STYX_E_PRODUCER_FENCED);
        CHECK(!styx_error_retriable(ack.error));
        styx_error_free(ack.error);
    } else {
        EQUAL(styx_error_code(error), STYX_E_PRODUCER_FENCED);
        styx_error_free(error);
    }
    FAILS(STYX_E_PRODUCER_FENCED, styx_producer_append(old, BYTES("old"), NULL));
    FAILS(STYX_E_PRODUCER_FENCED, styx_producer_send(old, BYTES("old"), -1, NULL));
    FAILS(STYX_E_PRODUCER_FENCED, styx_producer_flush(old, -1));
    CHECK(styx_producer_wait_room(old, -1));
    styx_error_free(styx_producer_close(old, -1));
    styx_producer *late;
    styx_options *options = test_options("producer_id", "7", "epoch", "1", NULL);
    FAILS(STYX_E_PRODUCER_FENCED, styx_producer_open(client, "log", options, &late));
    styx_options_free(options);
    styx_producer_free(old);
    OK(styx_producer_close(new, -1));
    styx_producer_free(new);
    styx_client_free(client);
}

static void record_that_is_too_large_is_refused(void)
{
    static uint8_t data[5000];
    styx_client *client = test_client();
    styx_log_config config;
    styx_log_config_default(&config, sizeof config);
    config.max_record_size = 4096;
    OK(styx_create_log(client, "log", &config, sizeof config, false, NULL, 0));
    styx_producer *producer = test_producer(client, "log", NULL);
    OK(styx_producer_send(producer, data, 4088, -1, NULL));
    styx_error *error = styx_producer_send(producer, data, 4089, -1, NULL);
    EQUAL(styx_error_code(error), STYX_E_RECORD_TOO_LARGE);
    CHECK(!styx_error_retriable(error) && !styx_error_maybe_appended(error));
    styx_error_free(error);
    styx_error_free(styx_producer_close(producer, -1));
    styx_producer_free(producer);
    styx_log_info info;
    OK(styx_get_log(client, "log", &info, sizeof info));
    EQUAL(info.record_count, 1);
    styx_client_free(client);
}

static void lost_records_are_reported_once(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_producer *producer = test_producer(client, "log", NULL);
    OK(styx_producer_send(producer, BYTES("kept"), -1, NULL));
    test_server_pause();
    OK(styx_producer_append(producer, BYTES("lost"), NULL));
    styx_error *error = styx_producer_close(producer, TEST_SENT_MS);
    EQUAL(styx_error_code(error), STYX_E_TIMED_OUT);
    CHECK(styx_error_maybe_appended(error));
    styx_error_free(error);
    OK(styx_producer_close(producer, -1));
    styx_producer_free(producer);
    test_server_resume();
    /* Freeing waits for nothing. */
    producer = test_producer(client, "log", NULL);
    test_server_pause();
    OK(styx_producer_append(producer, BYTES("lost"), NULL));
    const double begin = test_seconds();
    styx_producer_free(producer);
    CHECK(test_seconds() - begin < TEST_STALL);
    test_server_resume();
    styx_client_free(client);
}

static void producer_outlives_its_client_and_a_restart(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_producer *producer = test_producer(client, "log", NULL);
    styx_client_free(client);
    OK(styx_producer_send(producer, BYTES("before"), -1, NULL));
    test_server_kill();
    OK(styx_producer_append(producer, BYTES("while"), NULL));
    test_server_start();
    uint64_t position;
    OK(styx_producer_send(producer, BYTES("after"), -1, &position));
    EQUAL(position, 2);
    styx_producer_stats_t stats;
    OK(styx_producer_stats(producer, &stats, sizeof stats));
    CHECK(stats.reconnects > 0 && stats.is_connected == 1);
    OK(styx_producer_close(producer, -1));
    styx_producer_free(producer);
}

enum { THREADS = 4, EACH = 5000 };

static void *append_many(void *argument)
{
    const styx_producer *producer = argument;
    for (int i = 0; i < EACH; i++) {
        for (;;) {
            styx_error *error = styx_producer_append(producer, BYTES("record"), NULL);
            if (error == NULL) {
                break;
            }
            EQUAL(styx_error_code(error), STYX_E_WOULD_BLOCK);
            styx_error_free(error);
            CHECK(styx_producer_wait_room(producer, 10000));
        }
        if (i % 1000 == 0) {
            OK(styx_producer_flush(producer, -1));
        }
    }
    return NULL;
}

static void *take_all(void *argument)
{
    const styx_producer *producer = argument;
    uint64_t *taken = calloc(1, sizeof *taken);
    while (*taken < THREADS * EACH) {
        styx_ack acks[16];
        if (test_readable(styx_producer_fd(producer), 10000)) {
            const size_t count = take(producer, acks, 16);
            for (size_t i = 0; i < count; i++) {
                EQUAL(acks[i].first_sequence, *taken);
                *taken += acks[i].count;
            }
        }
    }
    return taken;
}

static void threads_share_a_producer(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_producer *producer = test_producer(client, "log",
        test_options("track_settled", "true", "in_flight_bytes", "64 KiB", NULL));
    pthread_t threads[THREADS], taker;
    void *taken;
    CHECK(pthread_create(&taker, NULL, take_all, producer) == 0);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, append_many, producer) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_join(taker, &taken);
    free(taken);
    OK(styx_producer_close(producer, -1));
    styx_producer_free(producer);
    styx_log_info info;
    OK(styx_get_log(client, "log", &info, sizeof info));
    EQUAL(info.record_count, THREADS * EACH);
    styx_client_free(client);
}

static void *send_one(void *argument)
{
    return styx_producer_send(argument, BYTES("record"), -1, NULL);
}

static void close_ends_a_waiting_send(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_producer *producer = test_producer(client, "log", NULL);
    OK(styx_producer_send(producer, BYTES("first"), -1, NULL));
    test_server_pause();
    pthread_t sender;
    CHECK(pthread_create(&sender, NULL, send_one, producer) == 0);
    while (styx_producer_next_sequence(producer) < 2) {
        test_sleep_ms(1);
    }
    styx_error *closed = styx_producer_close(producer, TEST_SENT_MS);
    void *result;
    pthread_join(sender, &result);
    CHECK(result != NULL);
    CHECK(styx_error_maybe_appended(result));
    styx_error_free(result);
    styx_error_free(closed);
    test_server_resume();
    styx_producer_free(producer);
    styx_client_free(client);
}

TEST_MAIN(TEST(appended_records_are_durable_after_a_flush),
    TEST(closed_producer_refuses_appends), TEST(packed_records_keep_their_limits),
    TEST(full_producer_never_blocks), TEST(accepted_counts_say_what_to_append_again),
    TEST(acks_have_every_record_once_and_in_order), TEST(fenced_producer_fails_for_good),
    TEST(record_that_is_too_large_is_refused), TEST(lost_records_are_reported_once),
    TEST(producer_outlives_its_client_and_a_restart), TEST(threads_share_a_producer),
    TEST(close_ends_a_waiting_send))
