/* Cursors, and consumers that commit. */
#include "test.h"

static void cursors_are_set_listed_and_deleted(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 10);
    styx_cursor_info info;
    OK(styx_set_cursor(client, "log", "b", 4, &info, sizeof info));
    SAME_TEXT(info.cursor, "b");
    EQUAL(info.position, 4);
    EQUAL(strlen(info.log_id), 32);
    CHECK(info.updated > 1600000000000000U);
    const uint64_t version = info.version;
    OK(styx_set_cursor(client, "log", "b", 5, NULL, 0));
    OK(styx_get_cursor(client, "log", "b", &info, sizeof info));
    EQUAL(info.position, 5);
    CHECK(info.version > version);
    OK(styx_set_cursor(client, "log", "a", 0, NULL, 0));
    styx_cursor_list *list;
    OK(styx_list_cursors(client, "log", &list));
    EQUAL(styx_cursor_list_len(list), 2);
    CHECK(styx_cursor_list_get(list, 0, &info, sizeof info));
    SAME_TEXT(info.cursor, "a");
    CHECK(!styx_cursor_list_get(list, 2, &info, sizeof info));
    OK(styx_delete_cursor(client, "log", "a"));
    FAILS(STYX_E_CURSOR_NOT_FOUND, styx_delete_cursor(client, "log", "a"));
    FAILS(STYX_E_CURSOR_NOT_FOUND, styx_get_cursor(client, "log", "a", NULL, 0));
    FAILS(STYX_E_INVALID_PARAMS, styx_set_cursor(client, "log", "c", 11, NULL, 0));
    FAILS(STYX_E_LOG_NOT_FOUND, styx_get_cursor(client, "missing", "a", NULL, 0));
    FAILS(STYX_E_LOG_NOT_FOUND, styx_list_cursors(client, "missing", &list));
    styx_client_free(client);
    EQUAL(styx_cursor_list_len(list), 2);
    styx_cursor_list_free(list);
}

static void consumer_continues_at_its_cursor(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 10);
    styx_consumer *consumer = test_consumer(client, "log", test_options("cursor", "work", NULL));
    uint64_t position = 99;
    EQUAL(test_read(consumer, 4), 4);
    OK(styx_consumer_commit(consumer, -1, &position));
    EQUAL(position, 4);
    EQUAL(test_read(consumer, 2), 2);
    OK(styx_consumer_commit(consumer, 10000, NULL));
    EQUAL(test_read(consumer, 2), 2);
    styx_consumer_close(consumer);
    FAILS(STYX_E_CLOSED, styx_consumer_commit(consumer, -1, &position));
    styx_consumer_free(consumer);
    consumer = test_consumer(client, "log", test_options("cursor", "work", NULL));
    EQUAL(styx_consumer_position(consumer), 6);
    EQUAL(test_read(consumer, 10), 4);
    CHECK(styx_consumer_ended(consumer));
    styx_consumer_free(consumer);
    consumer = test_consumer(client, "log", NULL);
    INVALID(styx_consumer_commit(consumer, -1, NULL));
    styx_consumer_free(consumer);
    styx_client_free(client);
}

static void cursor_that_was_taken_over_is_reported(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 10);
    styx_consumer *one = test_consumer(client, "log", test_options("cursor", "work", NULL));
    EQUAL(test_read(one, 4), 4);
    OK(styx_consumer_commit(one, -1, NULL));
    OK(styx_set_cursor(client, "log", "work", 1, NULL, 0));
    EQUAL(test_read(one, 1), 1);
    styx_error *error = styx_consumer_commit(one, -1, NULL);
    EQUAL(styx_error_code(error), STYX_E_CURSOR_TAKEN);
    SAME_TEXT(styx_error_name(error), "cursor_taken");
    CHECK(!styx_error_retriable(error));
    styx_error_free(error);
    FAILS(STYX_E_CURSOR_TAKEN, styx_consumer_commit(one, -1, NULL));
    styx_consumer_free(one);
    styx_cursor_info info;
    OK(styx_get_cursor(client, "log", "work", &info, sizeof info));
    EQUAL(info.position, 1);
    styx_client_free(client);
}

static void commit_ends_at_its_timeout(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 10);
    styx_consumer *consumer = test_consumer(client, "log", test_options("cursor", "work", NULL));
    EQUAL(test_read(consumer, 4), 4);
    test_server_pause();
    const double begin = test_seconds();
    FAILS(STYX_E_TIMED_OUT, styx_consumer_commit(consumer, 0, NULL));
    FAILS(STYX_E_TIMED_OUT, styx_consumer_commit(consumer, 100, NULL));
    CHECK(test_seconds() - begin < TEST_STALL);
    test_server_resume();
    uint64_t position;
    OK(styx_consumer_commit(consumer, INT64_MAX, &position));
    EQUAL(position, 4);
    styx_consumer_free(consumer);
    styx_client_free(client);
}

TEST_MAIN(TEST(cursors_are_set_listed_and_deleted), TEST(consumer_continues_at_its_cursor),
    TEST(cursor_that_was_taken_over_is_reported), TEST(commit_ends_at_its_timeout))
