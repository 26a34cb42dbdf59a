/* Consumers. */
#include "test.h"

static styx_batch *poll_batch(styx_consumer *consumer, size_t max_records, int64_t timeout_ms)
{
    styx_batch *batch = (styx_batch *)(uintptr_t)1;
    OK(styx_consumer_poll(consumer, max_records, timeout_ms, &batch));
    return batch;
}

static void read_ends_at_the_end_of_the_log(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 100);
    styx_consumer *consumer = test_consumer(client, "log", NULL);
    CHECK(!styx_consumer_ended(consumer));
    EQUAL(test_read(consumer, 100), 100);
    CHECK(poll_batch(consumer, 0, -1) == NULL);
    CHECK(styx_consumer_ended(consumer));
    CHECK(poll_batch(consumer, 0, 0) == NULL);
    CHECK(styx_consumer_ended(consumer));
    EQUAL(styx_consumer_position(consumer), 100);
    EQUAL(styx_consumer_lag(consumer), 0);
    CHECK(styx_consumer_caught_up(consumer));
    OK(styx_consumer_seek(consumer, "98"));
    CHECK(!styx_consumer_ended(consumer));
    EQUAL(test_read(consumer, 100), 2);
    styx_consumer_free(consumer);
    consumer = test_consumer(client, "log", test_options("count", "7", NULL));
    EQUAL(test_read(consumer, 100), 7);
    CHECK(styx_consumer_ended(consumer));
    styx_consumer_free(consumer);
    styx_client_free(client);
}

/* The records that a poll has left are there at the next one. */
static void max_records_leave_the_rest_readable(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 20);
    styx_consumer *consumer = test_consumer(client, "log", test_options("follow", "true", NULL));
    int32_t fd;
    OK(styx_consumer_fd(consumer, &fd));
    for (uint64_t position = 0; position < 20; position++) {
        CHECK(test_readable(fd, 10000));
        EQUAL(styx_consumer_position(consumer), position);
        /* Without waiting: a descriptor that is readable promises that. */
        styx_batch *batch = poll_batch(consumer, 1, 0);
        CHECK(batch != NULL);
        EQUAL(styx_batch_len(batch), 1);
        EQUAL(styx_batch_first_position(batch), position);
        styx_batch_free(batch);
    }
    CHECK(poll_batch(consumer, 1, 0) == NULL);
    CHECK(!styx_consumer_ended(consumer));
    CHECK(!test_readable(fd, 20));
    test_append(client, "log", 1);
    CHECK(test_readable(fd, 10000));
    styx_batch_free(poll_batch(consumer, SIZE_MAX, 0));
    styx_consumer_free(consumer);
    styx_client_free(client);
}

static void timeouts_are_kept(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 1);
    styx_consumer *consumer = test_consumer(client, "log", test_options("follow", "true", NULL));
    EQUAL(test_read(consumer, 1), 1);
    double begin = test_seconds();
    CHECK(poll_batch(consumer, 0, 0) == NULL);
    CHECK(test_seconds() - begin < TEST_STALL);
    begin = test_seconds();
    CHECK(poll_batch(consumer, 0, 100) == NULL);
    CHECK(test_seconds() - begin >= 0.099 && test_seconds() - begin < TEST_STALL);
    CHECK(!styx_consumer_ended(consumer));
    test_append(client, "log", 3);
    styx_batch *batch = poll_batch(consumer, 0, INT64_MAX);
    CHECK(batch != NULL);
    styx_batch_free(batch);
    test_append(client, "log", 1);
    batch = poll_batch(consumer, 0, INT64_MIN);
    CHECK(batch != NULL);
    styx_batch_free(batch);
    styx_consumer_free(consumer);
    styx_client_free(client);
}

static uint64_t next_position(styx_consumer *consumer)
{
    styx_batch *batch = poll_batch(consumer, 1, 10000);
    CHECK(batch != NULL);
    const uint64_t position = styx_batch_first_position(batch);
    styx_batch_free(batch);
    return position;
}

static void seek_continues_anywhere(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 50);
    styx_consumer *consumer = test_consumer(client, "log", test_options("start", "end-5", NULL));
    EQUAL(next_position(consumer), 45);
    styx_checkpoint checkpoint, other;
    OK(styx_consumer_checkpoint(consumer, &checkpoint));
    OK(styx_consumer_seek(consumer, "start"));
    EQUAL(next_position(consumer), 0);
    OK(styx_consumer_seek(consumer, "end-1"));
    EQUAL(next_position(consumer), 49);
    OK(styx_consumer_seek(consumer, checkpoint.text));
    OK(styx_consumer_checkpoint(consumer, &other));
    SAME_TEXT(other.text, checkpoint.text);
    EQUAL(next_position(consumer), 46);
    OK(styx_consumer_seek(consumer, "time:2020-01-01T00:00:00Z"));
    EQUAL(next_position(consumer), 0);
    INVALID(styx_consumer_seek(consumer, "nowhere"));
    EQUAL(next_position(consumer), 1);
    styx_error *error = styx_consumer_seek(consumer, "51");
    uint64_t fact = 0;
    EQUAL(styx_error_code(error), STYX_E_OUT_OF_RANGE);
    CHECK(styx_error_fact(error, "end_position", &fact));
    EQUAL(fact, 50);
    CHECK(styx_error_fact(error, "start_position", &fact));
    EQUAL(fact, 0);
    styx_error_free(error);
    styx_batch *batch;
    FAILS(STYX_E_OUT_OF_RANGE, styx_consumer_poll(consumer, 0, 1000, &batch));
    CHECK(batch == NULL);
    OK(styx_consumer_seek(consumer, "end"));
    CHECK(poll_batch(consumer, 0, -1) == NULL && styx_consumer_ended(consumer));
    styx_consumer_free(consumer);
    styx_client_free(client);
}

static void errors_stay_until_a_seek(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 10);
    styx_consumer *consumer = test_consumer(client, "log", test_options("follow", "true", NULL));
    EQUAL(test_read(consumer, 10), 10);
    styx_checkpoint checkpoint;
    OK(styx_consumer_checkpoint(consumer, &checkpoint));
    OK(styx_truncate_log(client, "log"));
    styx_batch *batch;
    for (int i = 0; i < 3; i++) {
        FAILS(STYX_E_LOG_CHANGED, styx_consumer_poll(consumer, 0, 10000, &batch));
        CHECK(batch == NULL);
        int32_t fd;
        OK(styx_consumer_fd(consumer, &fd));
        CHECK(test_readable(fd, 1000));
    }
    CHECK(!styx_consumer_ended(consumer));
    styx_options *options = test_options("start", checkpoint.text, NULL);
    styx_consumer *other;
    FAILS(STYX_E_LOG_CHANGED, styx_consumer_open(client, "log", options, &other));
    styx_options_free(options);
    FAILS(STYX_E_LOG_NOT_FOUND, styx_consumer_open(client, "missing", NULL, &other));
    styx_consumer_free(consumer);
    styx_client_free(client);
}

static void closed_consumer_refuses_calls(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 10);
    styx_consumer *consumer = test_consumer(client, "log", test_options("follow", "true", NULL));
    EQUAL(test_read(consumer, 3), 3);
    styx_consumer_close(consumer);
    styx_consumer_close(consumer);
    styx_batch *batch;
    FAILS(STYX_E_CLOSED, styx_consumer_poll(consumer, 0, -1, &batch));
    FAILS(STYX_E_CLOSED, styx_consumer_poll(consumer, 0, 0, &batch));
    FAILS(STYX_E_CLOSED, styx_consumer_seek(consumer, "start"));
    FAILS(STYX_E_CLOSED, styx_consumer_commit(consumer, -1, NULL));
    CHECK(!styx_consumer_ended(consumer));
    styx_consumer_wakeup(consumer);
    EQUAL(styx_consumer_position(consumer), 3);
    styx_checkpoint checkpoint;
    OK(styx_consumer_checkpoint(consumer, &checkpoint));
    styx_consumer_stats_t stats;
    OK(styx_consumer_stats(consumer, &stats, sizeof stats));
    CHECK(stats.received_records >= 3);
    char log_id[40];
    OK(styx_consumer_log_id(consumer, &log_id));
    EQUAL(strlen(log_id), 32);
    CHECK(styx_consumer_lag(consumer) <= 7);
    (void)styx_consumer_caught_up(consumer);
    /* A loop that watches the descriptor learns that the consumer is closed. */
    int32_t fd;
    OK(styx_consumer_fd(consumer, &fd));
    CHECK(test_readable(fd, 10000));
    styx_consumer_free(consumer);
    styx_client_free(client);
}

static void consumer_survives_a_restart_and_its_client(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 100);
    styx_consumer *consumer = test_consumer(client, "log", test_options("follow", "true", NULL));
    EQUAL(test_read(consumer, 50), 50);
    test_server_kill();
    test_server_start();
    test_append(client, "log", 10);
    styx_client_free(client);
    EQUAL(test_read(consumer, 60), 60);
    EQUAL(styx_consumer_position(consumer), 110);
    styx_consumer_free(consumer);
}

static void lag_counts_what_was_not_returned(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 100);
    styx_consumer *consumer = test_consumer(client, "log", NULL);
    EQUAL(styx_consumer_lag(consumer), 100);
    CHECK(!styx_consumer_caught_up(consumer));
    EQUAL(test_read(consumer, 40), 40);
    EQUAL(styx_consumer_lag(consumer), 60);
    EQUAL(test_read(consumer, 60), 60);
    EQUAL(styx_consumer_lag(consumer), 0);
    CHECK(styx_consumer_caught_up(consumer));
    styx_consumer_free(consumer);
    styx_client_free(client);
}

TEST_MAIN(TEST(read_ends_at_the_end_of_the_log), TEST(max_records_leave_the_rest_readable),
    TEST(timeouts_are_kept), TEST(seek_continues_anywhere), TEST(errors_stay_until_a_seek),
    TEST(closed_consumer_refuses_calls), TEST(consumer_survives_a_restart_and_its_client),
    TEST(lag_counts_what_was_not_returned))
