/* Log management, backups and restores. */
#include "test.h"

static void logs_are_created_listed_and_deleted(void)
{
    styx_client *client = test_client();
    styx_log_info info;
    OK(styx_create_log(client, "b", NULL, 0, false, &info, sizeof info));
    SAME_TEXT(info.name, "b");
    SAME_TEXT(info.status, "ok");
    EQUAL(info.record_count, 0);
    EQUAL(info.end_position, 0);
    FAILS(STYX_E_LOG_EXIST, styx_create_log(client, "b", NULL, 0, false, NULL, 0));
    OK(styx_create_log(client, "b", NULL, 0, true, NULL, 0));
    OK(styx_create_log(client, "a", NULL, 0, false, NULL, 0));
    styx_log_list *list;
    OK(styx_list_logs(client, &list));
    EQUAL(styx_log_list_len(list), 2);
    CHECK(styx_log_list_get(list, 0, &info, sizeof info));
    SAME_TEXT(info.name, "a");
    CHECK(styx_log_list_get(list, 1, &info, sizeof info));
    SAME_TEXT(info.name, "b");
    CHECK(!styx_log_list_get(list, 2, &info, sizeof info));
    OK(styx_delete_log(client, "b"));
    FAILS(STYX_E_LOG_NOT_FOUND, styx_delete_log(client, "b"));
    FAILS(STYX_E_LOG_NOT_FOUND, styx_get_log(client, "b", &info, sizeof info));
    FAILS(STYX_E_LOG_NOT_FOUND, styx_get_log_details(client, "b", NULL, 0, NULL, 0, NULL, 0));
    FAILS(STYX_E_LOG_NOT_FOUND, styx_truncate_log(client, "b"));
    FAILS(STYX_E_LOG_NOT_FOUND, styx_trim_log(client, "b", 1, NULL, 0));
    FAILS(STYX_E_LOG_NOT_FOUND, styx_adopt_log(client, "b", NULL, 0));
    /* A list does not change, and outlives its client. */
    styx_client_free(client);
    EQUAL(styx_log_list_len(list), 2);
    styx_log_list_free(list);
}

static void limits_are_stored(void)
{
    styx_client *client = test_client();
    styx_log_config defaults, config;
    styx_log_config_default(&defaults, sizeof defaults);
    config = defaults;
    config.max_record_size = 4096;
    config.segment_max_count = 10;
    config.segment_max_age = -1;
    config.log_max_age = 3600;
    OK(styx_create_log(client, "log", &config, sizeof config, false, NULL, 0));
    styx_log_config stored;
    styx_log_details details;
    OK(styx_get_log_details(
        client, "log", NULL, 0, &stored, sizeof stored, &details, sizeof details));
    CHECK(memcmp(&stored, &config, sizeof config) == 0);
    EQUAL(details.timestamp_first, 0);
    EQUAL(details.archived_position, UINT64_MAX);
    EQUAL(strlen(details.log_id), 32);
    OK(styx_create_log(client, "default", NULL, 0, false, NULL, 0));
    OK(styx_get_log_details(client, "default", NULL, 0, &stored, sizeof stored, NULL, 0));
    CHECK(memcmp(&stored, &defaults, sizeof defaults) == 0);
    config.max_record_size = -7;
    styx_error *error = styx_create_log(client, "wrong", &config, sizeof config, false, NULL, 0);
    CHECK(error != NULL && !styx_error_retriable(error));
    CHECK(strlen(styx_error_name(error)) > 0 && strlen(styx_error_message(error)) > 0);
    styx_error_free(error);
    styx_client_free(client);
}

static void records_are_counted_trimmed_and_truncated(void)
{
    styx_client *client = test_client();
    styx_log_config config;
    styx_log_config_default(&config, sizeof config);
    config.segment_max_count = 10;
    OK(styx_create_log(client, "log", &config, sizeof config, false, NULL, 0));
    for (int i = 0; i < 4; i++) {
        test_append(client, "log", 10);
    }
    styx_log_info info;
    styx_log_details before, after;
    OK(styx_get_log_details(
        client, "log", &info, sizeof info, NULL, 0, &before, sizeof before));
    EQUAL(info.record_count, 40);
    EQUAL(info.file_size, 40 * 9);
    CHECK(before.timestamp_first > 0 && before.timestamp_first <= before.timestamp_last);
    OK(styx_trim_log(client, "log", 25, &info, sizeof info));
    EQUAL(info.start_position, 20);
    EQUAL(info.end_position, 40);
    FAILS(STYX_E_OUT_OF_RANGE, styx_trim_log(client, "log", 41, NULL, 0));
    OK(styx_truncate_log(client, "log"));
    OK(styx_get_log_details(client, "log", &info, sizeof info, NULL, 0, &after, sizeof after));
    EQUAL(info.record_count, 0);
    CHECK(strcmp(before.log_id, after.log_id) != 0);
    styx_client_free(client);
}

/* There is nothing to adopt in a log that has all its records. */
static void intact_log_stays_as_it_is(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 5);
    styx_log_info info;
    styx_error *error = styx_adopt_log(client, "log", &info, sizeof info);
    styx_error_free(error);
    OK(styx_get_log(client, "log", &info, sizeof info));
    EQUAL(info.record_count, 5);
    SAME_TEXT(info.status, "ok");
    styx_client_free(client);
}

static size_t backed_up(const styx_client *client, const char *log, uint8_t **archive)
{
    styx_backup *backup;
    size_t size = 0, part;
    const uint8_t *data;
    *archive = NULL;
    OK(styx_backup_open(client, log, &backup));
    for (;;) {
        OK(styx_backup_next(backup, &data, &part));
        if (part == 0) {
            break;
        }
        *archive = realloc(*archive, size + part);
        memcpy(*archive + size, data, part);
        size += part;
    }
    styx_backup_free(backup);
    return size;
}

static void backup_is_restored_in_parts_of_any_size(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 1000);
    uint8_t *archive;
    const size_t size = backed_up(client, "log", &archive);
    CHECK(size > 1000);
    static const size_t parts[] = {1 << 20, 1000, 17};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char name[16];
        snprintf(name, sizeof name, "copy-%zu", i);
        styx_restore *restore;
        OK(styx_restore_open(client, name, &restore));
        for (size_t at = 0; at < size; at += parts[i]) {
            const size_t part = size - at < parts[i] ? size - at : parts[i];
            OK(styx_restore_write(restore, archive + at, part));
        }
        OK(styx_restore_finish(restore));
        FAILS(STYX_E_CLOSED, styx_restore_finish(restore));
        FAILS(STYX_E_CLOSED, styx_restore_write(restore, archive, size));
        styx_restore_free(restore);
        styx_consumer *consumer = test_consumer(client, name, NULL);
        EQUAL(test_read(consumer, 1000), 1000);
        styx_consumer_free(consumer);
    }
    free(archive);
    styx_client_free(client);
}

static void backup_and_restore_report_errors(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 1000);
    styx_backup *backup;
    styx_restore *restore;
    FAILS(STYX_E_LOG_NOT_FOUND, styx_backup_open(client, "missing", &backup));
    uint8_t *archive;
    const size_t size = backed_up(client, "log", &archive);

    /* An archive that was not finished makes no log. */
    OK(styx_restore_open(client, "half", &restore));
    OK(styx_restore_write(restore, archive, size));
    styx_restore_free(restore);
    FAILS(STYX_E_LOG_NOT_FOUND, styx_get_log(client, "half", NULL, 0));

    /* A log of that name exists. */
    OK(styx_restore_open(client, "log", &restore));
    styx_error *error = styx_restore_write(restore, archive, size);
    if (error == NULL) {
        error = styx_restore_finish(restore);
    }
    EQUAL(styx_error_code(error), STYX_E_LOG_EXIST);
    styx_error_free(error);
    FAILS(STYX_E_CLOSED, styx_restore_finish(restore));
    styx_restore_free(restore);

    /* These are no archives. The restore ends with its first error. */
    for (int attempt = 0; attempt < 2; attempt++) {
        static uint8_t garbage[1 << 16];
        memset(garbage, 0x5a, sizeof garbage);
        OK(styx_restore_open(client, "garbage", &restore));
        error = NULL;
        for (int i = 0; i < 1000 && error == NULL; i++) {
            error = styx_restore_write(restore, garbage, sizeof garbage);
        }
        if (error == NULL) {
            error = styx_restore_finish(restore);
        }
        EQUAL(styx_error_code(error), STYX_E_INVALID_PARAMS);
        styx_error_free(error);
        if (attempt == 0) {
            FAILS(STYX_E_CLOSED, styx_restore_write(restore, garbage, sizeof garbage));
        }
        FAILS(STYX_E_CLOSED, styx_restore_finish(restore));
        styx_restore_free(restore);
    }

    /* Nothing is left after the end, and a backup may be given up in the middle. */
    OK(styx_backup_open(client, "log", &backup));
    const uint8_t *data;
    size_t part = 1;
    while (part > 0) {
        OK(styx_backup_next(backup, &data, &part));
    }
    FAILS(STYX_E_CLOSED, styx_backup_next(backup, &data, &part));
    INVALID(styx_backup_next(backup, NULL, &part));
    INVALID(styx_backup_next(backup, &data, NULL));
    styx_backup_free(backup);
    OK(styx_backup_open(client, "log", &backup));
    styx_client_free(client);
    styx_backup_free(backup);
    free(archive);
}

static void missing_server_is_reported(void)
{
    styx_client *client = test_client();
    styx_options *options = test_options("timeout", "200 ms", NULL);
    styx_client *impatient;
    OK(styx_client_connect(test_address(), options, &impatient));
    styx_options_free(options);
    test_server_kill();
    styx_error *error = styx_create_log(impatient, "log", NULL, 0, false, NULL, 0);
    CHECK(styx_error_code(error) == STYX_E_CONNECTION_FAILED
        || styx_error_code(error) == STYX_E_TIMED_OUT);
    CHECK(styx_error_retriable(error));
    styx_error_free(error);
    styx_client *other;
    FAILS(STYX_E_CONNECTION_FAILED, styx_client_connect("styx://127.0.0.1:1", NULL, &other));
    FAILS(STYX_E_UNKNOWN_HOST, styx_client_connect("styx://no.such.host.invalid:1", NULL, &other));
    INVALID(styx_client_connect("ftp://127.0.0.1:1", NULL, &other));
    test_server_start();
    OK(styx_create_log(client, "log", NULL, 0, false, NULL, 0));
    styx_client_free(impatient);
    styx_client_free(client);
}

static void server_is_used_through_its_unix_socket(void)
{
    char address[128];
    styx_client *over_tcp = test_client();
    test_log(over_tcp, "log", 3);
    styx_client_free(over_tcp);
    snprintf(address, sizeof address, "unix://%s/styx.sock", test_folder());
    styx_client *client;
    OK(styx_client_connect(address, NULL, &client));
    SAME_TEXT(styx_client_address(client), address);
    styx_consumer *consumer = test_consumer(client, "log", NULL);
    EQUAL(test_read(consumer, 3), 3);
    styx_consumer_free(consumer);
    test_append(client, "log", 2);
    styx_log_info info;
    OK(styx_get_log(client, "log", &info, sizeof info));
    EQUAL(info.record_count, 5);
    styx_client_free(client);
    FAILS_WITH(STYX_E_CONNECTION_FAILED, "there is no such socket",
        styx_client_connect("unix:///nonexistent/styx.sock", NULL, &client));
    INVALID(styx_client_connect("unix://styx.sock", NULL, &client));
}

TEST_MAIN(TEST(logs_are_created_listed_and_deleted), TEST(limits_are_stored),
    TEST(records_are_counted_trimmed_and_truncated), TEST(intact_log_stays_as_it_is),
    TEST(backup_is_restored_in_parts_of_any_size), TEST(backup_and_restore_report_errors),
    TEST(missing_server_is_reported), TEST(server_is_used_through_its_unix_socket))
