/* Events by callback, and numbers. */
#include "test.h"

typedef struct {
    size_t count[8];
    size_t of_producer, of_consumer;
    size_t errors;
    uint64_t wait_ms;
} seen;

static void on_event(const styx_event *event, void *user_data)
{
    seen *all = user_data;
    CHECK(event->kind >= STYX_EVENT_CONNECTED && event->kind <= STYX_EVENT_OTHER);
    CHECK(event->log != NULL);
    all->count[event->kind]++;
    if (event->subject == STYX_OF_PRODUCER || event->subject == STYX_OF_CONSUMER) {
        SAME_TEXT(event->log, "log");
        all->of_producer += event->subject == STYX_OF_PRODUCER;
        all->of_consumer += event->subject == STYX_OF_CONSUMER;
    }
    CHECK((event->kind == STYX_EVENT_LOST) == (event->error != NULL));
    if (event->error != NULL) {
        all->errors++;
        CHECK(styx_error_code(event->error) != 0);
        CHECK(strlen(styx_error_name(event->error)) > 0);
        CHECK(strlen(styx_error_message(event->error)) > 0);
    }
    if (event->kind == STYX_EVENT_AGAIN) {
        all->wait_ms += event->wait_ms;
    }
}

static void events_tell_of_connections(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 1);
    OK(styx_client_take_events(client, NULL, NULL, NULL));
    styx_producer *producer = test_producer(client, "log", NULL);
    styx_consumer *consumer = test_consumer(client, "log", test_options("follow", "true", NULL));
    EQUAL(test_read(consumer, 1), 1);
    test_server_kill();
    OK(styx_producer_append(producer, BYTES("record"), NULL));
    test_sleep_ms(300);
    test_server_start();
    EQUAL(test_read(consumer, 1), 1);
    OK(styx_producer_close(producer, -1));
    styx_producer_free(producer);
    styx_consumer_close(consumer);
    styx_consumer_free(consumer);
    seen all = {0};
    uint64_t lost = 99;
    for (int i = 0; i < 1000 && all.count[STYX_EVENT_CLOSED] < 1; i++) {
        OK(styx_client_take_events(client, on_event, &all, &lost));
        EQUAL(lost, 0);
        test_sleep_ms(5);
    }
    CHECK(all.count[STYX_EVENT_CONNECTED] >= 4);
    CHECK(all.count[STYX_EVENT_LOST] >= 2 && all.errors == all.count[STYX_EVENT_LOST]);
    CHECK(all.count[STYX_EVENT_AGAIN] >= 2 && all.wait_ms > 0);
    CHECK(all.count[STYX_EVENT_CLOSED] >= 1);
    CHECK(all.of_producer > 0 && all.of_consumer > 0);
    styx_client_free(client);
}

static void events_that_nobody_takes_are_counted(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    for (int i = 0; i < 1000; i++) {
        styx_consumer_free(test_consumer(client, "log", NULL));
    }
    uint64_t lost = 0;
    seen all = {0};
    OK(styx_client_take_events(client, on_event, &all, &lost));
    CHECK(lost > 0);
    OK(styx_client_take_events(client, on_event, &all, &lost));
    EQUAL(lost, 0);
    styx_client_free(client);
}

/* A callback may use the library, except for taking events. */
static void use_client(const styx_event *event, void *user_data)
{
    (void)event;
    OK(styx_get_log(user_data, "log", NULL, 0));
}

static void callback_may_use_the_client(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_consumer_free(test_consumer(client, "log", NULL));
    OK(styx_client_take_events(client, use_client, client, NULL));
    styx_client_free(client);
}

static void numbers_add_up(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_producer *producer = test_producer(client, "log", NULL);
    styx_producer_stats_t produced;
    OK(styx_producer_stats(producer, &produced, sizeof produced));
    EQUAL(produced.acked_records, 0);
    EQUAL(produced.since_last_ack_ms, STYX_NEVER);
    EQUAL(produced.is_connected, 1);
    for (int i = 0; i < 100; i++) {
        OK(styx_producer_append(producer, BYTES("ten bytes!"), NULL));
    }
    OK(styx_producer_flush(producer, -1));
    OK(styx_producer_stats(producer, &produced, sizeof produced));
    EQUAL(produced.acked_records, 100);
    EQUAL(produced.acked_bytes, 100 * 18);
    CHECK(produced.acked_blocks >= 1 && produced.acked_blocks <= 100);
    EQUAL(produced.in_flight_records, 0);
    EQUAL(produced.failed_records, 0);
    CHECK(produced.since_last_ack_ms < 60000 && produced.since_last_heard_ms < 60000);
    styx_consumer *consumer = test_consumer(client, "log", NULL);
    EQUAL(test_read(consumer, 100), 100);
    styx_consumer_stats_t consumed;
    OK(styx_consumer_stats(consumer, &consumed, sizeof consumed));
    EQUAL(consumed.received_records, 100);
    CHECK(consumed.received_bytes >= 1000 && consumed.received_batches >= 1);
    EQUAL(consumed.buffered_bytes, 0);
    styx_client_stats_t stats;
    OK(styx_client_stats(client, &stats, sizeof stats));
    CHECK(stats.requests >= 1 && stats.connections >= 1 && stats.failed_connections == 0);
    CHECK(stats.since_last_heard_ms < 60000);
    styx_consumer_free(consumer);
    OK(styx_producer_close(producer, -1));
    styx_producer_free(producer);
    styx_client_free(client);
}

static void silence_shows_in_the_numbers(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 1);
    styx_consumer *consumer = test_consumer(client, "log", test_options("follow", "true", NULL));
    EQUAL(test_read(consumer, 1), 1);
    test_server_pause();
    test_sleep_ms(200);
    styx_consumer_stats_t stats;
    OK(styx_consumer_stats(consumer, &stats, sizeof stats));
    CHECK(stats.since_last_heard_ms >= 150);
    test_server_resume();
    styx_consumer_free(consumer);
    styx_client_free(client);
}

TEST_MAIN(TEST(events_tell_of_connections), TEST(events_that_nobody_takes_are_counted),
    TEST(callback_may_use_the_client), TEST(numbers_add_up), TEST(silence_shows_in_the_numbers))
