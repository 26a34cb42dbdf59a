/* Arguments that are NULL, not UTF-8, too long or not aligned, and structs of other sizes. */
#include "test.h"

/* Nothing here has a server: NULL is refused before anything is sent. */
static void null_handles_are_refused(void)
{
    styx_client *client = (styx_client *)(uintptr_t)1;
    styx_producer *producer = NULL;
    styx_consumer *consumer = NULL;
    styx_log_list *logs = NULL;
    styx_cursor_list *cursors = NULL;
    styx_backup *backup = NULL;
    styx_restore *restore = NULL;
    styx_batch *batch = NULL;
    styx_log_info info;
    styx_log_config config;
    styx_log_details details;
    styx_cursor_info cursor;
    styx_server_info server;
    styx_client_stats_t client_stats;
    styx_producer_stats_t producer_stats;
    styx_consumer_stats_t consumer_stats;
    styx_checkpoint checkpoint;
    styx_ack ack;
    char id[40];
    const uint8_t *data;
    const uint32_t *index;
    uint32_t end = 0, epoch;
    size_t size, count;
    uint64_t number;
    int32_t fd;

    /* Clients. */
    FAILS_WITH(STYX_E_INVALID_ARGUMENT, "client is NULL", styx_client_connect("a", NULL, NULL));
    client = NULL;
    CHECK(styx_client_address(NULL) == NULL);
    INVALID(styx_client_check(NULL, &server, sizeof server));
    INVALID(styx_client_stats(NULL, &client_stats, sizeof client_stats));
    INVALID(styx_client_take_events(NULL, NULL, NULL, NULL));
    styx_client_free(NULL);

    /* Logs. */
    styx_log_config_default(NULL, 0);
    INVALID(styx_create_log(client, "a", NULL, 0, false, &info, sizeof info));
    INVALID(styx_list_logs(client, &logs));
    INVALID(styx_list_logs(client, NULL));
    EQUAL(styx_log_list_len(NULL), 0);
    CHECK(!styx_log_list_get(NULL, 0, &info, sizeof info));
    styx_log_list_free(NULL);
    INVALID(styx_get_log(client, "a", &info, sizeof info));
    INVALID(styx_get_log_details(client, "a", &info, sizeof info, &config, sizeof config, &details,
        sizeof details));
    INVALID(styx_delete_log(client, "a"));
    INVALID(styx_truncate_log(client, "a"));
    INVALID(styx_trim_log(client, "a", 0, &info, sizeof info));
    INVALID(styx_adopt_log(client, "a", &info, sizeof info));

    /* Archives. */
    INVALID(styx_backup_open(client, "a", &backup));
    INVALID(styx_backup_open(client, "a", NULL));
    INVALID(styx_backup_next(NULL, &data, &size));
    styx_backup_free(NULL);
    INVALID(styx_restore_open(client, "a", &restore));
    INVALID(styx_restore_open(client, "a", NULL));
    INVALID(styx_restore_write(NULL, NULL, 0));
    INVALID(styx_restore_finish(NULL));
    styx_restore_free(NULL);

    /* Cursors. */
    INVALID(styx_list_cursors(client, "a", &cursors));
    INVALID(styx_list_cursors(client, "a", NULL));
    EQUAL(styx_cursor_list_len(NULL), 0);
    CHECK(!styx_cursor_list_get(NULL, 0, &cursor, sizeof cursor));
    styx_cursor_list_free(NULL);
    INVALID(styx_get_cursor(client, "a", "b", &cursor, sizeof cursor));
    INVALID(styx_set_cursor(client, "a", "b", 0, &cursor, sizeof cursor));
    INVALID(styx_delete_cursor(client, "a", "b"));

    /* Producers. */
    INVALID(styx_producer_open(client, "a", NULL, &producer));
    INVALID(styx_producer_open(client, "a", NULL, NULL));
    INVALID(styx_producer_append(NULL, NULL, 0, &number));
    count = 7;
    INVALID(styx_producer_append_packed(NULL, NULL, 0, &end, 1, &count));
    EQUAL(count, 0);
    CHECK(styx_producer_wait_room(NULL, 0));
    INVALID(styx_producer_send(NULL, NULL, 0, 0, &number));
    INVALID(styx_producer_flush(NULL, 0));
    INVALID(styx_producer_close(NULL, 0));
    INVALID(styx_producer_acks(NULL, &ack, 1, sizeof ack, &count));
    CHECK(styx_producer_fd(NULL) == -1);
    styx_producer_seen(NULL);
    EQUAL(styx_producer_next_sequence(NULL), 0);
    EQUAL(styx_producer_durable_sequence(NULL), 0);
    CHECK(!styx_producer_identity(NULL, &number, &epoch));
    INVALID(styx_producer_log_id(NULL, &id));
    INVALID(styx_producer_stats(NULL, &producer_stats, sizeof producer_stats));
    styx_producer_free(NULL);

    /* Consumers. */
    INVALID(styx_consumer_open(client, "a", NULL, &consumer));
    INVALID(styx_consumer_open(client, "a", NULL, NULL));
    batch = (styx_batch *)(uintptr_t)1;
    INVALID(styx_consumer_poll(NULL, 0, 0, &batch));
    CHECK(batch == NULL);
    CHECK(!styx_consumer_ended(NULL));
    INVALID(styx_consumer_fd(NULL, &fd));
    styx_consumer_wakeup(NULL);
    INVALID(styx_consumer_seek(NULL, "start"));
    EQUAL(styx_consumer_position(NULL), 0);
    EQUAL(styx_consumer_lag(NULL), 0);
    CHECK(!styx_consumer_caught_up(NULL));
    INVALID(styx_consumer_checkpoint(NULL, &checkpoint));
    INVALID(styx_consumer_commit(NULL, 0, &number));
    INVALID(styx_consumer_log_id(NULL, &id));
    INVALID(styx_consumer_stats(NULL, &consumer_stats, sizeof consumer_stats));
    styx_consumer_close(NULL);
    styx_consumer_free(NULL);

    /* Batches. */
    INVALID(styx_batch_of(0, 0, NULL, 0, NULL));
    EQUAL(styx_batch_len(NULL), 0);
    styx_record record;
    CHECK(!styx_batch_get(NULL, 0, &record, sizeof record));
    EQUAL(styx_batch_views(NULL, 0, &record, 1, sizeof record), 0);
    EQUAL(styx_batch_first_position(NULL), 0);
    EQUAL(styx_batch_next_position(NULL), 0);
    INVALID(styx_batch_checkpoint(NULL, &checkpoint));
    INVALID(styx_batch_log_id(NULL, &id));
    INVALID(styx_batch_memory(NULL, &data, &size, &index));
    CHECK(styx_batch_clone(NULL) == NULL);
    styx_batch_free(NULL);

    /* Errors and options. */
    EQUAL(styx_error_code(NULL), 0);
    SAME_TEXT(styx_error_name(NULL), "");
    SAME_TEXT(styx_error_message(NULL), "");
    SAME_TEXT(styx_error_status(NULL), "");
    CHECK(!styx_error_retriable(NULL) && !styx_error_maybe_appended(NULL));
    CHECK(!styx_error_fact(NULL, "position", &number));
    styx_error_free(NULL);
    INVALID(styx_options_set(NULL, "linger", "0"));
    styx_options_free(NULL);
}

static void null_texts_and_results_are_refused(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 3);
    INVALID(styx_create_log(client, NULL, NULL, 0, false, NULL, 0));
    INVALID(styx_get_log(client, NULL, NULL, 0));
    INVALID(styx_get_log_details(client, NULL, NULL, 0, NULL, 0, NULL, 0));
    INVALID(styx_delete_log(client, NULL));
    INVALID(styx_truncate_log(client, NULL));
    INVALID(styx_trim_log(client, NULL, 0, NULL, 0));
    INVALID(styx_adopt_log(client, NULL, NULL, 0));
    INVALID(styx_list_logs(client, NULL));
    INVALID(styx_list_cursors(client, "log", NULL));
    INVALID(styx_get_cursor(client, "log", NULL, NULL, 0));
    INVALID(styx_get_cursor(client, NULL, "c", NULL, 0));
    INVALID(styx_set_cursor(client, "log", NULL, 0, NULL, 0));
    INVALID(styx_delete_cursor(client, "log", NULL));
    INVALID(styx_producer_open(client, NULL, NULL, NULL));
    styx_producer *producer;
    INVALID(styx_producer_open(client, NULL, NULL, &producer));
    styx_consumer *consumer;
    INVALID(styx_consumer_open(client, NULL, NULL, &consumer));

    consumer = test_consumer(client, "log", NULL);
    INVALID(styx_consumer_poll(consumer, 0, 0, NULL));
    INVALID(styx_consumer_fd(consumer, NULL));
    INVALID(styx_consumer_seek(consumer, NULL));
    OK(styx_consumer_checkpoint(consumer, NULL));
    OK(styx_consumer_log_id(consumer, NULL));
    OK(styx_consumer_stats(consumer, NULL, 0));
    EQUAL(test_read(consumer, 3), 3);
    styx_consumer_free(consumer);

    producer = test_producer(client, "log", test_options("track_settled", "true", NULL));
    INVALID(styx_producer_append(producer, NULL, 1, NULL));
    INVALID(styx_producer_send(producer, NULL, 1, 0, NULL));
    INVALID(styx_producer_append_packed(producer, NULL, 1, NULL, 0, NULL));
    INVALID(styx_producer_append_packed(producer, BYTES("abc"), NULL, 2, NULL));
    INVALID(styx_producer_acks(producer, NULL, 0, 0, NULL));
    OK(styx_producer_stats(producer, NULL, 0));
    OK(styx_producer_log_id(producer, NULL));
    styx_producer_identity(producer, NULL, NULL);
    OK(styx_producer_close(producer, -1));
    styx_producer_free(producer);

    styx_error *error = styx_get_log(client, "missing", NULL, 0);
    uint64_t value = 9;
    CHECK(!styx_error_fact(error, NULL, &value) && !styx_error_fact(error, "?", &value));
    CHECK(!styx_error_fact(error, "position", NULL));
    SAME_TEXT(styx_error_status(error), "");
    EQUAL(value, 9);
    styx_error_free(error);
    styx_client_free(client);
}

static void null_and_zero_are_empty(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_producer *producer = test_producer(client, "log", NULL);
    OK(styx_producer_append(producer, NULL, 0, NULL));
    OK(styx_producer_append_packed(producer, NULL, 0, NULL, 0, NULL));
    const uint32_t ends[] = {0, 0};
    OK(styx_producer_append_packed(producer, NULL, 0, ends, 2, NULL));
    uint64_t position;
    OK(styx_producer_send(producer, NULL, 0, -1, &position));
    EQUAL(position, 3);
    OK(styx_producer_close(producer, -1));
    styx_producer_free(producer);

    styx_consumer *consumer = test_consumer(client, "log", NULL);
    for (uint64_t expected = 0; expected < 4; expected++) {
        styx_batch *batch;
        styx_record record;
        OK(styx_consumer_poll(consumer, 1, 10000, &batch));
        CHECK(styx_batch_get(batch, 0, &record, sizeof record));
        EQUAL(record.position, expected);
        EQUAL(record.size, 0);
        CHECK(record.data != NULL);
        styx_batch_free(batch);
    }
    styx_consumer_free(consumer);

    styx_restore *restore;
    OK(styx_restore_open(client, "restored", &restore));
    OK(styx_restore_write(restore, NULL, 0));
    styx_restore_free(restore);
    FAILS(STYX_E_LOG_NOT_FOUND, styx_get_log(client, "restored", NULL, 0));
    styx_client_free(client);
}

static void texts_that_are_not_utf8_are_refused(void)
{
    static const char *const wrong[] = {"\xff", "a\xc3", "\xed\xa0\x80", "\xc0\xaf", "ok\x80"};
    styx_client *client = test_client();
    test_log(client, "log", 1);
    styx_options *options = styx_options_new();
    styx_consumer *consumer = test_consumer(client, "log", NULL);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        styx_client *other;
        FAILS_WITH(STYX_E_INVALID_ARGUMENT, "UTF-8", styx_client_connect(wrong[i], NULL, &other));
        FAILS_WITH(STYX_E_INVALID_ARGUMENT, "UTF-8",
            styx_create_log(client, wrong[i], NULL, 0, false, NULL, 0));
        INVALID(styx_get_log(client, wrong[i], NULL, 0));
        INVALID(styx_get_cursor(client, "log", wrong[i], NULL, 0));
        INVALID(styx_options_set(options, wrong[i], "1"));
        INVALID(styx_options_set(options, "linger", wrong[i]));
        INVALID(styx_consumer_seek(consumer, wrong[i]));
        uint64_t value;
        styx_error *error = styx_get_log(client, "missing", NULL, 0);
        CHECK(!styx_error_fact(error, wrong[i], &value));
        styx_error_free(error);
    }
    EQUAL(test_read(consumer, 1), 1);
    styx_consumer_free(consumer);
    styx_options_free(options);
    styx_client_free(client);
}

static void names_of_any_length_are_handled(void)
{
    enum { LONG = 1 << 16 };
    static char name[LONG + 1];
    styx_client *client = test_client();
    memset(name, 'x', 255);
    styx_log_info info;
    OK(styx_create_log(client, name, NULL, 0, false, &info, sizeof info));
    SAME_TEXT(info.name, name);
    styx_log_list *list;
    OK(styx_list_logs(client, &list));
    EQUAL(styx_log_list_len(list), 1);
    memset(&info, 1, sizeof info);
    CHECK(styx_log_list_get(list, 0, &info, sizeof info));
    SAME_TEXT(info.name, name);
    styx_log_list_free(list);

    styx_cursor_info cursor;
    styx_error *error = styx_set_cursor(client, name, name, 0, &cursor, sizeof cursor);
    if (error == NULL) {
        SAME_TEXT(cursor.cursor, name);
    }
    styx_error_free(error);

    memset(name, 'y', 256);
    FAILS(STYX_E_LOG_INVALID_NAME, styx_create_log(client, name, NULL, 0, false, NULL, 0));
    memset(name, 'z', LONG);
    FAILS(STYX_E_LOG_INVALID_NAME, styx_create_log(client, name, NULL, 0, false, NULL, 0));
    FAILS(STYX_E_LOG_INVALID_NAME, styx_create_log(client, "", NULL, 0, false, NULL, 0));
    FAILS(STYX_E_LOG_INVALID_NAME, styx_create_log(client, "a/b", NULL, 0, false, NULL, 0));
    styx_producer *producer;
    FAILS(STYX_E_LOG_NOT_FOUND, styx_producer_open(client, name, NULL, &producer));
    styx_consumer *consumer;
    FAILS(STYX_E_LOG_NOT_FOUND, styx_consumer_open(client, name, NULL, &consumer));
    styx_options *options = styx_options_new();
    INVALID(styx_options_set(options, name, "1"));
    OK(styx_options_set(options, "user_agent", name));
    styx_client *other;
    styx_error *refused = styx_client_connect(test_address(), options, &other);
    if (refused == NULL) {
        styx_client_free(other);
    }
    styx_error_free(refused);
    memcpy(name, "127.0.0.1:1/", 12);
    refused = styx_client_connect(name, NULL, &other);
    CHECK(refused != NULL);
    styx_error_free(refused);
    styx_options_free(options);
    styx_client_free(client);
}

/* Calls the function with the first half of a struct, and with one that is larger. */
#define CHECK_SIZES(type, call)                                                \
    do {                                                                       \
        union { type value; unsigned char bytes[2 * sizeof(type)]; } small, whole, large; \
        type *out = &whole.value;                                              \
        size_t size = sizeof(type);                                            \
        OK(call);                                                              \
        memset(&small, 0xee, sizeof small);                                    \
        out = &small.value;                                                    \
        size = 8;                                                              \
        OK(call);                                                              \
        for (size_t at = size; at < sizeof small; at++) {                      \
            EQUAL(small.bytes[at], 0xee);                                      \
        }                                                                      \
        memset(&large, 0xee, sizeof large);                                    \
        out = &large.value;                                                    \
        size = sizeof large;                                                   \
        OK(call);                                                              \
        for (size_t at = sizeof(type); at < sizeof large; at++) {              \
            EQUAL(large.bytes[at], 0);                                         \
        }                                                                      \
        memset(&small, 0xee, sizeof small);                                    \
        out = &small.value;                                                    \
        size = 0;                                                              \
        OK(call);                                                              \
        for (size_t at = 0; at < sizeof small; at++) {                         \
            EQUAL(small.bytes[at], 0xee);                                      \
        }                                                                      \
    } while (0)

static styx_error *of_log_list(const styx_log_list *list, styx_log_info *info, size_t size)
{
    CHECK(styx_log_list_get(list, 0, info, size));
    return NULL;
}

static styx_error *default_config(styx_log_config *config, size_t size)
{
    styx_log_config_default(config, size);
    return NULL;
}

static styx_error *of_batch(const styx_batch *batch, styx_record *record, size_t size)
{
    CHECK(styx_batch_get(batch, 0, record, size));
    EQUAL(styx_batch_views(batch, 0, record, 1, size), size == 0 ? 0 : 1);
    return NULL;
}

static styx_error *of_cursor_list(
    const styx_cursor_list *list, styx_cursor_info *info, size_t size)
{
    CHECK(styx_cursor_list_get(list, 0, info, size));
    return NULL;
}

/* An old program knows fewer fields than the library, and a new one more. */
static void structs_of_other_sizes_are_filled(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 5);
    styx_producer *producer = test_producer(client, "log", NULL);
    styx_consumer *consumer = test_consumer(client, "log", NULL);
    CHECK_SIZES(styx_log_info, styx_get_log(client, "log", out, size));
    CHECK_SIZES(styx_log_info, styx_create_log(client, "log", NULL, 0, true, out, size));
    CHECK_SIZES(styx_log_info, styx_trim_log(client, "log", 0, out, size));
    CHECK_SIZES(styx_log_info,
        styx_get_log_details(client, "log", out, size, NULL, 0, NULL, 0));
    CHECK_SIZES(styx_log_config,
        styx_get_log_details(client, "log", NULL, 0, out, size, NULL, 0));
    CHECK_SIZES(styx_log_details,
        styx_get_log_details(client, "log", NULL, 0, NULL, 0, out, size));
    CHECK_SIZES(styx_log_config, default_config(out, size));
    CHECK_SIZES(styx_server_info, styx_client_check(client, out, size));
    CHECK_SIZES(styx_client_stats_t, styx_client_stats(client, out, size));
    CHECK_SIZES(styx_producer_stats_t, styx_producer_stats(producer, out, size));
    CHECK_SIZES(styx_consumer_stats_t, styx_consumer_stats(consumer, out, size));
    CHECK_SIZES(styx_cursor_info, styx_set_cursor(client, "log", "c", 2, out, size));
    CHECK_SIZES(styx_cursor_info, styx_get_cursor(client, "log", "c", out, size));
    const styx_bytes payload = {(const uint8_t *)"a", 1};
    styx_batch *batch;
    OK(styx_batch_of(7, 8, &payload, 1, &batch));
    CHECK_SIZES(styx_record, of_batch(batch, out, size));
    styx_batch_free(batch);
    styx_log_list *logs;
    styx_cursor_list *cursors;
    OK(styx_list_logs(client, &logs));
    OK(styx_list_cursors(client, "log", &cursors));
    CHECK_SIZES(styx_log_info, of_log_list(logs, out, size));
    CHECK_SIZES(styx_cursor_info, of_cursor_list(cursors, out, size));
    CHECK(styx_log_list_get(logs, 0, NULL, 0) && !styx_log_list_get(logs, 1, NULL, 0));
    CHECK(!styx_log_list_get(logs, SIZE_MAX, NULL, 0));
    CHECK(styx_cursor_list_get(cursors, 0, NULL, 0));
    CHECK(!styx_cursor_list_get(cursors, SIZE_MAX, NULL, 0));
    styx_log_list_free(logs);
    styx_cursor_list_free(cursors);
    styx_consumer_free(consumer);
    styx_producer_free(producer);
    styx_client_free(client);
}

/* The records of a program with another version of styx_record: its array has other steps. */
static void arrays_of_other_sizes_are_filled(void)
{
    enum { COUNT = 10, LARGE = sizeof(styx_record) + 8 };
    styx_bytes payloads[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        payloads[i] = (styx_bytes){(const uint8_t *)"0123456789" + i, 1};
    }
    styx_batch *batch;
    OK(styx_batch_of(100, 5, payloads, COUNT, &batch));

    struct { const uint8_t *data; size_t size; } small[COUNT + 1];
    small[COUNT - 2].data = NULL;
    EQUAL(styx_batch_views(batch, 2, (styx_record *)(void *)small, COUNT, sizeof *small), COUNT - 2);
    for (size_t i = 0; i < COUNT - 2; i++) {
        EQUAL(small[i].size, 1);
        EQUAL(small[i].data[0], '2' + i);
    }
    CHECK(small[COUNT - 2].data == NULL);

    struct { styx_record known; uint64_t newer; } large[COUNT];
    memset(large, 0xee, sizeof large);
    EQUAL(styx_batch_views(batch, 0, &large->known, 3, sizeof *large), 3);
    for (size_t i = 0; i < 3; i++) {
        EQUAL(large[i].known.position, 100 + i);
        EQUAL(large[i].known.data[0], '0' + i);
        EQUAL(large[i].newer, 0);
    }
    EQUAL(large[3].newer, 0xeeeeeeeeeeeeeeee);
    styx_record record;
    EQUAL(styx_batch_views(batch, 0, &record, 1, 0), 0);
    EQUAL(styx_batch_views(batch, 0, &record, SIZE_MAX, LARGE), 0);
    styx_batch_free(batch);

    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_producer *producer =
        test_producer(client, "log", test_options("track_settled", "true", NULL));
    OK(styx_producer_append(producer, BYTES("a"), NULL));
    OK(styx_producer_flush(producer, -1));
    OK(styx_producer_append(producer, BYTES("b"), NULL));
    OK(styx_producer_close(producer, -1));
    struct { styx_ack known; uint64_t newer; } acks[3];
    size_t count = 0;
    memset(acks, 0xee, sizeof acks);
    /* Its pointer to an error would not fit. */
    FAILS_WITH(STYX_E_INVALID_ARGUMENT, "pass sizeof",
        styx_producer_acks(producer, &acks->known, 3, sizeof(styx_ack) - 8, &count));
    OK(styx_producer_acks(producer, &acks->known, 3, sizeof *acks, &count));
    EQUAL(count, 2);
    for (size_t i = 0; i < 2; i++) {
        EQUAL(acks[i].known.first_sequence, i);
        EQUAL(acks[i].known.position, i);
        EQUAL(acks[i].newer, 0);
    }
    EQUAL(acks[2].newer, 0xeeeeeeeeeeeeeeee);
    styx_producer_free(producer);
    styx_client_free(client);
}

/* A program that knows fewer limits than the library gets defaults; one that knows more must not
   set them, because the library would ignore them. */
static void limits_of_other_sizes_are_read(void)
{
    styx_client *client = test_client();
    styx_log_config defaults, stored;
    styx_log_config_default(&defaults, sizeof defaults);
    struct { styx_log_config known; uint64_t newer[2]; } config;
    styx_log_config_default(&config.known, sizeof config);
    EQUAL(config.newer[0], 0);
    config.known.max_record_size = 4096;
    config.known.log_max_age = 7;

    const size_t small = offsetof(styx_log_config, segment_max_count);
    OK(styx_create_log(client, "small", &config.known, small, false, NULL, 0));
    OK(styx_get_log_details(client, "small", NULL, 0, &stored, sizeof stored, NULL, 0));
    EQUAL(stored.max_record_size, 4096);
    EQUAL(stored.log_max_age, defaults.log_max_age);

    OK(styx_create_log(client, "large", &config.known, sizeof config, false, NULL, 0));
    OK(styx_get_log_details(client, "large", NULL, 0, &stored, sizeof stored, NULL, 0));
    CHECK(memcmp(&stored, &config.known, sizeof stored) == 0);

    config.newer[1] = 1;
    FAILS_WITH(STYX_E_INVALID_ARGUMENT, "a field at byte 72",
        styx_create_log(client, "refused", &config.known, sizeof config, false, NULL, 0));
    FAILS_WITH(STYX_E_INVALID_ARGUMENT, "pass sizeof",
        styx_create_log(client, "refused", &config.known, 0, false, NULL, 0));
    FAILS_WITH(STYX_E_INVALID_ARGUMENT, "12 bytes",
        styx_create_log(client, "refused", &config.known, 12, false, NULL, 0));
    FAILS(STYX_E_LOG_NOT_FOUND, styx_get_log(client, "refused", NULL, 0));
    styx_client_free(client);
}

static void numbers_beyond_every_limit_are_refused(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_producer *producer = test_producer(client, "log", NULL);
    const uint8_t byte = 0;
    const uint32_t ends[] = {1, 1};
    size_t accepted = 1;
    INVALID(styx_producer_append(producer, &byte, SIZE_MAX, NULL));
    INVALID(styx_producer_append_packed(producer, &byte, SIZE_MAX, ends, 1, &accepted));
    INVALID(styx_producer_append_packed(producer, &byte, 1, ends, SIZE_MAX / 2, &accepted));
    /* Not aligned for its type. */
    const unsigned char *odd = (const unsigned char *)ends + 1;
    INVALID(styx_producer_append_packed(
        producer, &byte, 1, (const uint32_t *)(uintptr_t)odd, 1, &accepted));
    EQUAL(accepted, 0);
    styx_producer_free(producer);

    styx_batch *batch;
    styx_bytes payload = {&byte, 1};
    INVALID(styx_batch_of(UINT64_MAX, 0, &payload, 1, &batch));
    payload.size = SIZE_MAX;
    INVALID(styx_batch_of(0, 0, &payload, 1, &batch));
    INVALID(styx_batch_of(0, 0, &payload, SIZE_MAX, &batch));
    payload.data = NULL;
    payload.size = 1;
    INVALID(styx_batch_of(0, 0, &payload, 1, &batch));
    styx_client_free(client);
}

static void versions_are_those_of_the_header(void)
{
    EQUAL(styx_abi_version(), STYX_ABI_VERSION);
    CHECK(strlen(styx_version()) >= 5 && styx_version()[0] >= '1');
    styx_client *client = test_client();
    SAME_TEXT(styx_client_address(client), test_address());
    styx_server_info info;
    OK(styx_client_check(client, &info, sizeof info));
    SAME_TEXT(info.version, styx_version());
    CHECK(info.max_record_size > 0 && info.max_block_size > 0);
    styx_client_free(client);
}

TEST_MAIN(TEST(null_handles_are_refused), TEST(null_texts_and_results_are_refused),
    TEST(null_and_zero_are_empty), TEST(texts_that_are_not_utf8_are_refused),
    TEST(names_of_any_length_are_handled), TEST(structs_of_other_sizes_are_filled),
    TEST(arrays_of_other_sizes_are_filled), TEST(limits_of_other_sizes_are_read),
    TEST(numbers_beyond_every_limit_are_refused), TEST(versions_are_those_of_the_header))
