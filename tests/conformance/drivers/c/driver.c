/*
 * The driver of libstyx for the conformance suite: it does what each line of standard input asks,
 * and answers with a line. tests/conformance/README.md has the operations.
 *
 *     cc driver.c $(pkg-config --cflags --libs libcjson) -lstyx
 *
 * Every operation is one call of the library, except for acks: C takes them in bulk, so each
 * producer has a table of outcomes here. cJSON is the parser, because it is small, and part of
 * every distribution. It keeps numbers as doubles, so the driver writes integers by itself.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <styx.h>

/* The largest integer that every JSON parser reads exactly. A larger one is text. */
#define NUMBER_MAX ((UINT64_C(1) << 53) - 1)

/* The outcome of consecutive records. */
typedef struct {
    uint64_t first, count, position;
    /* The error for the runner; NULL if the records are durable. */
    cJSON *error;
} outcome;

/* A producer, which its acks keep. */
typedef struct {
    styx_producer *producer;
    outcome *outcomes;
    size_t count;
    size_t users;
} writer;

typedef enum { CLIENT, PRODUCER, CONSUMER, ACK } kind;

typedef struct object {
    struct object *next;
    char *name;
    kind kind;
    styx_client *client;
    writer *writer;
    styx_consumer *consumer;
    /* Of an ack: its first record. */
    uint64_t sequence;
} object;

static object *objects;

/* Why an operation has no result: an error of the library, or of the request. */
typedef struct {
    cJSON *error;
    const char *driver_error;
} failure;

static void *checked(void *memory)
{
    if (memory == NULL) {
        fputs("there is no memory left\n", stderr);
        exit(1);
    }
    return memory;
}

/* Values. */

static void add_number(cJSON *to, const char *name, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, value > NUMBER_MAX ? "\"%" PRIu64 "\"" : "%" PRIu64, value);
    cJSON_AddRawToObject(to, name, text);
}

static void add_signed(cJSON *to, const char *name, int64_t value)
{
    if (value >= 0) {
        add_number(to, name, (uint64_t)value);
    } else {
        cJSON_AddNumberToObject(to, name, (double)value);
    }
}

static void add_bytes(cJSON *to, const char *name, const uint8_t *data, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    char *text = checked(malloc(2 * size + 1));
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[data[i] >> 4];
        text[2 * i + 1] = digits[data[i] & 15];
    }
    text[2 * size] = '\0';
    cJSON_AddStringToObject(to, name, text);
    free(text);
}

static const char *text_of(const cJSON *request, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(request, name));
}

static uint64_t number_of(const cJSON *value)
{
    if (cJSON_IsString(value)) {
        return strtoull(value->valuestring, NULL, 10);
    }
    return cJSON_IsNumber(value) ? (uint64_t)value->valuedouble : 0;
}

static uint64_t number_at(const cJSON *request, const char *name)
{
    return number_of(cJSON_GetObjectItemCaseSensitive(request, name));
}

/* Milliseconds of a number of seconds; -1 if there is none. */
static int64_t milliseconds(const cJSON *request, const char *name)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(request, name);
    return cJSON_IsNumber(value) ? (int64_t)(value->valuedouble * 1000 + 0.5) : -1;
}

static unsigned digit(char text)
{
    return (unsigned)(text >= 'a' ? text - 'a' + 10 : text - '0') & 15;
}

/* Appends the bytes of a text to `data`, which has `size` of them. */
static uint8_t *append_bytes(uint8_t *data, size_t *size, const char *text)
{
    const size_t count = strlen(text) / 2;
    data = checked(realloc(data, *size + count + 1));
    for (size_t i = 0; i < count; i++) {
        data[(*size)++] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
    }
    return data;
}

static cJSON *described(const styx_error *error)
{
    static const char *const facts[] = {"start_position", "end_position", "fork_position",
        "position", "next_intact_position", "expected_sequence"};
    cJSON *shown = cJSON_CreateObject();
    cJSON_AddStringToObject(shown, "code", styx_error_name(error));
    cJSON_AddBoolToObject(shown, "retriable", styx_error_retriable(error));
    cJSON_AddBoolToObject(shown, "maybe_appended", styx_error_maybe_appended(error));
    cJSON_AddStringToObject(shown, "message", styx_error_message(error));
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        uint64_t value;
        if (styx_error_fact(error, facts[i], &value)) {
            add_number(shown, facts[i], value);
        }
    }
    if (styx_error_status(error)[0] != '\0') {
        cJSON_AddStringToObject(shown, "status", styx_error_status(error));
    }
    return shown;
}

/* Whether a call has failed. Then its error is what the runner is told. */
static int has_failed(styx_error *error, failure *failed)
{
    if (error == NULL) {
        return 0;
    }
    failed->error = described(error);
    styx_error_free(error);
    return 1;
}

/* Objects. */

static object *named(const char *name)
{
    object *found = objects;
    while (found != NULL && (name == NULL || strcmp(found->name, name) != 0)) {
        found = found->next;
    }
    return found;
}

static void release(writer *one)
{
    if (one == NULL || --one->users > 0) {
        return;
    }
    styx_producer_free(one->producer);
    for (size_t i = 0; i < one->count; i++) {
        cJSON_Delete(one->outcomes[i].error);
    }
    free(one->outcomes);
    free(one);
}

/* Makes an object, and drops the old one of this name. */
static object *add_object(const char *name, kind of)
{
    for (object **at = &objects; *at != NULL; at = &(*at)->next) {
        object *old = *at;
        if (strcmp(old->name, name) == 0) {
            *at = old->next;
            styx_client_free(old->client);
            styx_consumer_free(old->consumer);
            release(old->writer);
            free(old->name);
            free(old);
            break;
        }
    }
    object *added = checked(calloc(1, sizeof *added));
    added->name = checked(strdup(name));
    added->kind = of;
    added->next = objects;
    objects = added;
    return added;
}

/* Options. */

static int is_duration(const char *name)
{
    static const char *const names[] = {
        "connect_timeout", "timeout", "silence_timeout", "linger", "deadline", "close_timeout"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* An option or a start as the library takes it. */
static void option_text(const char *name, const cJSON *value, char *text, size_t size)
{
    const char *checkpoint = text_of(value, "checkpoint");
    if (cJSON_IsNull(value)) {
        snprintf(text, size, "none");
    } else if (cJSON_IsString(value)) {
        snprintf(text, size, "%s", value->valuestring);
    } else if (cJSON_IsBool(value)) {
        snprintf(text, size, "%s", cJSON_IsTrue(value) ? "true" : "false");
    } else if (checkpoint != NULL) {
        snprintf(text, size, "%s", checkpoint);
    } else if (cJSON_IsNumber(value) && is_duration(name)) {
        snprintf(text, size, "%.9f s", value->valuedouble);
    } else {
        snprintf(text, size, "%.0f", cJSON_GetNumberValue(value));
    }
}

static int options_of(const cJSON *request, styx_options *options, failure *failed)
{
    const cJSON *value;
    cJSON_ArrayForEach(value, cJSON_GetObjectItemCaseSensitive(request, "options"))
    {
        char text[4096];
        option_text(value->string, value, text, sizeof text);
        if (has_failed(styx_options_set(options, value->string, text), failed)) {
            return 0;
        }
    }
    return 1;
}

/* Clients. */

static void connect_client(const cJSON *request, failure *failed)
{
    styx_options *options = styx_options_new();
    styx_client *client;
    if (options_of(request, options, failed)
        && !has_failed(
            styx_client_connect(text_of(request, "address"), options, &client), failed)) {
        add_object(text_of(request, "as"), CLIENT)->client = client;
    }
    styx_options_free(options);
}

static void open_producer(const styx_client *client, const cJSON *request, failure *failed)
{
    styx_options *options = styx_options_new();
    styx_producer *producer;
    if (options_of(request, options, failed)
        && !has_failed(styx_options_set(options, "track_settled", "true"), failed)
        && !has_failed(
            styx_producer_open(client, text_of(request, "log"), options, &producer), failed)) {
        writer *added = checked(calloc(1, sizeof *added));
        added->producer = producer;
        added->users = 1;
        add_object(text_of(request, "as"), PRODUCER)->writer = added;
    }
    styx_options_free(options);
}

static void open_consumer(const styx_client *client, const cJSON *request, failure *failed)
{
    styx_options *options = styx_options_new();
    styx_consumer *consumer;
    if (options_of(request, options, failed)
        && !has_failed(
            styx_consumer_open(client, text_of(request, "log"), options, &consumer), failed)) {
        add_object(text_of(request, "as"), CONSUMER)->consumer = consumer;
    }
    styx_options_free(options);
}

static const struct {
    const char *name;
    size_t offset;
} LIMITS[] = {
#define LIMIT(name) { #name, offsetof(styx_log_config, name) }
    LIMIT(max_record_size), LIMIT(index_after_size), LIMIT(segment_max_count),
    LIMIT(segment_max_size), LIMIT(segment_max_age), LIMIT(log_max_count), LIMIT(log_max_size),
    LIMIT(log_max_age)};
enum { LIMITS_COUNT = sizeof LIMITS / sizeof *LIMITS };

static int64_t *limit(styx_log_config *config, size_t index)
{
    return (int64_t *)(void *)((char *)config + LIMITS[index].offset);
}

static void create_log(
    const styx_client *client, const cJSON *request, styx_log_info *info, failure *failed)
{
    const cJSON *value;
    const int exist_ok = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request, "exist_ok"));
    styx_log_config config;
    styx_log_config_default(&config, sizeof config);
    cJSON_ArrayForEach(value, cJSON_GetObjectItemCaseSensitive(request, "config"))
    {
        size_t at = 0;
        while (at < LIMITS_COUNT && strcmp(LIMITS[at].name, value->string) != 0) {
            at++;
        }
        if (at == LIMITS_COUNT) {
            failed->driver_error = "there is no such limit";
            return;
        }
        *limit(&config, at) = (int64_t)cJSON_GetNumberValue(value);
    }
    has_failed(styx_create_log(client, text_of(request, "name"), &config, sizeof config,
                   exist_ok != 0, info, sizeof *info),
        failed);
}

static void add_info(cJSON *to, const styx_log_info *info)
{
    cJSON_AddStringToObject(to, "name", info->name);
    cJSON_AddStringToObject(to, "status", info->status);
    add_number(to, "record_count", info->record_count);
    add_number(to, "file_size", info->file_size);
    add_number(to, "start_position", info->start_position);
    add_number(to, "end_position", info->end_position);
}

static void list_logs(const styx_client *client, cJSON *result, failure *failed)
{
    styx_log_list *list;
    if (has_failed(styx_list_logs(client, &list), failed)) {
        return;
    }
    cJSON *logs = cJSON_AddArrayToObject(result, "logs");
    styx_log_info info;
    for (size_t i = 0; styx_log_list_get(list, i, &info, sizeof info); i++) {
        cJSON *log = cJSON_CreateObject();
        add_info(log, &info);
        cJSON_AddItemToArray(logs, log);
    }
    styx_log_list_free(list);
}

static void get_log_details(
    const styx_client *client, const char *name, cJSON *to, failure *failed)
{
    styx_log_info info;
    styx_log_config limits;
    styx_log_details details;
    if (has_failed(styx_get_log_details(client, name, &info, sizeof info, &limits, sizeof limits,
                       &details, sizeof details),
            failed)) {
        return;
    }
    add_info(to, &info);
    cJSON_AddStringToObject(to, "id", details.log_id);
    if (details.timestamp_first > 0) {
        add_number(to, "timestamp_first", details.timestamp_first);
        add_number(to, "timestamp_last", details.timestamp_last);
    }
    cJSON *config = cJSON_AddObjectToObject(to, "config");
    for (size_t i = 0; i < LIMITS_COUNT; i++) {
        add_signed(config, LIMITS[i].name, *limit(&limits, i));
    }
}

static void add_cursor(cJSON *to, const styx_cursor_info *info)
{
    cJSON_AddStringToObject(to, "cursor", info->cursor);
    cJSON_AddStringToObject(to, "log_id", info->log_id);
    add_number(to, "position", info->position);
    add_number(to, "updated", info->updated);
}

static void list_cursors(
    const styx_client *client, const char *log, cJSON *result, failure *failed)
{
    styx_cursor_list *list;
    if (has_failed(styx_list_cursors(client, log, &list), failed)) {
        return;
    }
    cJSON *cursors = cJSON_AddArrayToObject(result, "cursors");
    styx_cursor_info info;
    for (size_t i = 0; styx_cursor_list_get(list, i, &info, sizeof info); i++) {
        cJSON *cursor = cJSON_CreateObject();
        add_cursor(cursor, &info);
        cJSON_AddItemToArray(cursors, cursor);
    }
    styx_cursor_list_free(list);
}

static void backup_log(
    const styx_client *client, const char *name, const char *path, failure *failed)
{
    styx_backup *backup;
    if (has_failed(styx_backup_open(client, name, &backup), failed)) {
        return;
    }
    FILE *file = fopen(path, "wb");
    const uint8_t *data;
    size_t size = 1;
    while (file != NULL && size > 0) {
        if (has_failed(styx_backup_next(backup, &data, &size), failed)) {
            break;
        }
        fwrite(data, 1, size, file);
    }
    if (file == NULL || fclose(file) != 0) {
        failed->driver_error = "the file cannot be written";
    }
    styx_backup_free(backup);
}

static void restore_log(
    const styx_client *client, const char *name, const char *path, failure *failed)
{
    styx_restore *restore;
    uint8_t part[1 << 16];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        failed->driver_error = "the file cannot be read";
        return;
    }
    if (!has_failed(styx_restore_open(client, name, &restore), failed)) {
        int ended = 0;
        while (!ended) {
            const size_t size = fread(part, 1, sizeof part, file);
            ended = has_failed(size == 0 ? styx_restore_finish(restore)
                                         : styx_restore_write(restore, part, size),
                        failed)
                || size == 0;
        }
        styx_restore_free(restore);
    }
    fclose(file);
}

static void on_client(const styx_client *client, const char *op, const cJSON *request,
    cJSON *result, failure *failed)
{
    const char *name = text_of(request, "name");
    const char *log = text_of(request, "log"), *cursor = text_of(request, "cursor");
    styx_log_info info;
    styx_cursor_info cursor_info;
    if (strcmp(op, "producer") == 0) {
        open_producer(client, request, failed);
    } else if (strcmp(op, "consumer") == 0) {
        open_consumer(client, request, failed);
    } else if (strcmp(op, "create_log") == 0) {
        create_log(client, request, &info, failed);
        if (failed->error == NULL && failed->driver_error == NULL) {
            add_info(result, &info);
        }
    } else if (strcmp(op, "list_logs") == 0) {
        list_logs(client, result, failed);
    } else if (strcmp(op, "get_log") == 0) {
        if (!has_failed(styx_get_log(client, name, &info, sizeof info), failed)) {
            add_info(result, &info);
        }
    } else if (strcmp(op, "get_log_details") == 0) {
        get_log_details(client, name, result, failed);
    } else if (strcmp(op, "delete_log") == 0) {
        has_failed(styx_delete_log(client, name), failed);
    } else if (strcmp(op, "truncate_log") == 0) {
        has_failed(styx_truncate_log(client, name), failed);
    } else if (strcmp(op, "trim_log") == 0) {
        const uint64_t position = number_at(request, "position");
        if (!has_failed(styx_trim_log(client, name, position, &info, sizeof info), failed)) {
            add_info(result, &info);
        }
    } else if (strcmp(op, "backup_log") == 0) {
        backup_log(client, name, text_of(request, "file"), failed);
    } else if (strcmp(op, "restore_log") == 0) {
        restore_log(client, name, text_of(request, "file"), failed);
    } else if (strcmp(op, "list_cursors") == 0) {
        list_cursors(client, log, result, failed);
    } else if (strcmp(op, "get_cursor") == 0) {
        if (!has_failed(
                styx_get_cursor(client, log, cursor, &cursor_info, sizeof cursor_info), failed)) {
            add_cursor(result, &cursor_info);
        }
    } else if (strcmp(op, "set_cursor") == 0) {
        if (!has_failed(styx_set_cursor(client, log, cursor, number_at(request, "position"),
                            &cursor_info, sizeof cursor_info),
                failed)) {
            add_cursor(result, &cursor_info);
        }
    } else if (strcmp(op, "delete_cursor") == 0) {
        has_failed(styx_delete_cursor(client, log, cursor), failed);
    } else {
        failed->driver_error = "a client has no such operation";
    }
}

/* Producers and acks. */

/* The outcome of a record, as far as it was taken. */
static outcome *known(const writer *from, uint64_t sequence)
{
    for (size_t i = 0; i < from->count; i++) {
        outcome *one = &from->outcomes[i];
        if (one->first <= sequence && sequence - one->first < one->count) {
            return one;
        }
    }
    return NULL;
}

/*
 * Takes outcomes until there is that of the record. Takes one at a time, because a failure that
 * was taken is no longer reported by flush and close. NULL if there is none yet.
 */
static outcome *take_until(writer *from, uint64_t sequence, failure *failed)
{
    for (;;) {
        outcome *found = known(from, sequence);
        styx_ack ack;
        size_t count = 0;
        if (found != NULL
            || has_failed(styx_producer_acks(from->producer, &ack, 1, sizeof ack, &count), failed)
            || count == 0) {
            return found;
        }
        from->outcomes =
            checked(realloc(from->outcomes, (from->count + 1) * sizeof *from->outcomes));
        outcome *added = &from->outcomes[from->count++];
        added->first = ack.first_sequence;
        added->count = ack.count;
        added->position = ack.position;
        added->error = ack.error == NULL ? NULL : described(ack.error);
        styx_error_free(ack.error);
    }
}

static void on_ack(
    const object *ack, const char *op, cJSON *result, failure *failed)
{
    outcome *found = take_until(ack->writer, ack->sequence, failed);
    if (failed->error != NULL) {
        return;
    }
    if (strcmp(op, "done") == 0) {
        cJSON_AddBoolToObject(result, "done", found != NULL);
    } else if (strcmp(op, "result") == 0) {
        while (found == NULL && failed->error == NULL) {
            struct pollfd one = {.fd = styx_producer_fd(ack->writer->producer), .events = POLLIN};
            poll(&one, 1, -1);
            found = take_until(ack->writer, ack->sequence, failed);
        }
        if (found != NULL && found->error != NULL) {
            failed->error = cJSON_Duplicate(found->error, 1);
        } else if (found != NULL) {
            add_number(result, "position", found->position + (ack->sequence - found->first));
        }
    } else {
        failed->driver_error = "an ack has no such operation";
    }
}

/* Appends, and waits as long as there is no room. */
static int append_all(const styx_producer *producer, const uint8_t *data, size_t size,
    const uint32_t *ends, size_t count, failure *failed)
{
    size_t done = 0;
    uint32_t *rest = checked(malloc((count + 1) * sizeof *rest));
    for (;;) {
        const uint32_t begin = done == 0 ? 0 : ends[done - 1];
        size_t accepted;
        for (size_t i = done; i < count; i++) {
            rest[i - done] = ends[i] - begin;
        }
        styx_error *error = styx_producer_append_packed(
            producer, data + begin, size - begin, rest, count - done, &accepted);
        done += accepted;
        if (error == NULL || styx_error_code(error) != STYX_E_WOULD_BLOCK) {
            free(rest);
            return !has_failed(error, failed);
        }
        styx_error_free(error);
        styx_producer_wait_room(producer, -1);
    }
}

static void append(object *of, const char *op, const cJSON *request, failure *failed)
{
    const int is_many = strcmp(op, "append_many") == 0;
    const cJSON *payloads = cJSON_GetObjectItemCaseSensitive(request, "payloads"), *payload;
    const size_t count = is_many ? (size_t)cJSON_GetArraySize(payloads) : 1;
    uint32_t *ends = checked(malloc((count + 1) * sizeof *ends));
    uint8_t *data = NULL;
    size_t size = 0, at = 0;
    if (is_many) {
        cJSON_ArrayForEach(payload, payloads)
        {
            data = append_bytes(data, &size, payload->valuestring);
            ends[at++] = (uint32_t)size;
        }
    } else {
        data = append_bytes(data, &size, text_of(request, "payload"));
        ends[0] = (uint32_t)size;
    }
    const uint64_t sequence = styx_producer_next_sequence(of->writer->producer);
    if (append_all(of->writer->producer, data, size, ends, count, failed)) {
        writer *from = of->writer;
        from->users++;
        object *ack = add_object(text_of(request, "as"), ACK);
        ack->writer = from;
        ack->sequence = sequence;
    }
    free(ends);
    free(data);
}

static void on_producer(
    object *of, const char *op, const cJSON *request, cJSON *result, failure *failed)
{
    const styx_producer *producer = of->writer->producer;
    const int64_t timeout = milliseconds(request, "timeout");
    if (strcmp(op, "append") == 0 || strcmp(op, "append_many") == 0) {
        append(of, op, request, failed);
    } else if (strcmp(op, "send") == 0) {
        size_t size = 0;
        uint64_t position;
        uint8_t *data = append_bytes(NULL, &size, text_of(request, "payload"));
        if (!has_failed(styx_producer_send(producer, data, size, -1, &position), failed)) {
            add_number(result, "position", position);
        }
        free(data);
    } else if (strcmp(op, "flush") == 0) {
        has_failed(styx_producer_flush(producer, timeout), failed);
    } else if (strcmp(op, "close") == 0) {
        has_failed(styx_producer_close(producer, timeout), failed);
    } else if (strcmp(op, "next_sequence") == 0) {
        add_number(result, "next_sequence", styx_producer_next_sequence(producer));
    } else {
        failed->driver_error = "a producer has no such operation";
    }
}

/* Consumers. */

static void add_records(cJSON *to, const styx_batch *batch)
{
    styx_record record;
    for (size_t i = 0; styx_batch_get(batch, i, &record, sizeof record); i++) {
        cJSON *shown = cJSON_CreateObject();
        add_number(shown, "position", record.position);
        add_number(shown, "timestamp", record.timestamp);
        add_bytes(shown, "payload", record.data, record.size);
        cJSON_AddItemToArray(to, shown);
    }
}

/* Reads until there are enough records. Those before an error are kept. */
static void read_records(
    styx_consumer *consumer, const cJSON *request, cJSON *result, failure *failed)
{
    const cJSON *count = cJSON_GetObjectItemCaseSensitive(request, "count");
    const int is_limited = count != NULL && !cJSON_IsNull(count);
    size_t left = is_limited ? (size_t)number_of(count) : 0;
    cJSON *records = cJSON_AddArrayToObject(result, "records");
    while (!(is_limited && left == 0) && !styx_consumer_ended(consumer)) {
        styx_batch *batch;
        if (has_failed(styx_consumer_poll(consumer, left, -1, &batch), failed)) {
            return;
        }
        add_records(records, batch);
        left -= is_limited ? styx_batch_len(batch) : 0;
        styx_batch_free(batch);
    }
    const int has_enough = is_limited && left == 0;
    cJSON_AddBoolToObject(result, "ended", !has_enough && styx_consumer_ended(consumer));
}

static void poll_batch(
    styx_consumer *consumer, const cJSON *request, cJSON *result, failure *failed)
{
    styx_batch *batch;
    const int64_t timeout = milliseconds(request, "timeout");
    if (has_failed(styx_consumer_poll(consumer, 0, timeout, &batch), failed)) {
        return;
    }
    add_records(cJSON_AddArrayToObject(result, "records"), batch);
    cJSON_AddBoolToObject(result, "ended", batch == NULL && styx_consumer_ended(consumer));
    styx_checkpoint checkpoint;
    if (batch != NULL && !has_failed(styx_batch_checkpoint(batch, &checkpoint), failed)) {
        add_number(result, "first_position", styx_batch_first_position(batch));
        add_number(result, "next_position", styx_batch_next_position(batch));
        cJSON_AddStringToObject(result, "checkpoint", checkpoint.text);
    }
    styx_batch_free(batch);
}

static void on_consumer(styx_consumer *consumer, const char *op, const cJSON *request,
    cJSON *result, failure *failed)
{
    if (strcmp(op, "read") == 0) {
        read_records(consumer, request, result, failed);
    } else if (strcmp(op, "poll") == 0) {
        poll_batch(consumer, request, result, failed);
    } else if (strcmp(op, "seek") == 0) {
        char start[4096];
        option_text(
            "start", cJSON_GetObjectItemCaseSensitive(request, "start"), start, sizeof start);
        has_failed(styx_consumer_seek(consumer, start), failed);
    } else if (strcmp(op, "commit") == 0) {
        uint64_t position;
        if (!has_failed(styx_consumer_commit(consumer, -1, &position), failed)) {
            add_number(result, "position", position);
        }
    } else if (strcmp(op, "state") == 0) {
        styx_checkpoint checkpoint;
        if (!has_failed(styx_consumer_checkpoint(consumer, &checkpoint), failed)) {
            add_number(result, "position", styx_consumer_position(consumer));
            cJSON_AddStringToObject(result, "checkpoint", checkpoint.text);
            add_number(result, "lag", styx_consumer_lag(consumer));
            cJSON_AddBoolToObject(result, "caught_up", styx_consumer_caught_up(consumer));
        }
    } else if (strcmp(op, "close") == 0) {
        styx_consumer_close(consumer);
    } else {
        failed->driver_error = "a consumer has no such operation";
    }
}

/* The protocol. */

static void run(const cJSON *request, cJSON *result, failure *failed)
{
    const char *op = text_of(request, "op");
    object *on = named(text_of(request, "on"));
    if (op == NULL) {
        failed->driver_error = "there is no op";
    } else if (strcmp(op, "hello") == 0) {
        cJSON_AddStringToObject(result, "driver", "c");
    } else if (strcmp(op, "connect") == 0) {
        connect_client(request, failed);
    } else if (on == NULL) {
        failed->driver_error = "there is no object of this name";
    } else if (on->kind == CLIENT) {
        on_client(on->client, op, request, result, failed);
    } else if (on->kind == PRODUCER) {
        on_producer(on, op, request, result, failed);
    } else if (on->kind == CONSUMER) {
        on_consumer(on->consumer, op, request, result, failed);
    } else {
        on_ack(on, op, result, failed);
    }
}

static void answer(const char *line)
{
    failure failed = {NULL, NULL};
    cJSON *request = cJSON_Parse(line), *result = cJSON_CreateObject();
    cJSON *answered = cJSON_CreateObject();
    if (request == NULL) {
        failed.driver_error = "no JSON";
    } else {
        run(request, result, &failed);
    }
    if (failed.driver_error != NULL) {
        cJSON_AddStringToObject(answered, "driver_error", failed.driver_error);
        cJSON_Delete(failed.error);
    } else if (failed.error != NULL) {
        cJSON *records = cJSON_DetachItemFromObjectCaseSensitive(result, "records");
        cJSON_AddItemToObject(answered, "error", failed.error);
        cJSON_AddItemToObject(
            answered, "records", records != NULL ? records : cJSON_CreateArray());
    } else {
        cJSON_AddItemToObject(answered, "ok", result);
        result = NULL;
    }
    char *text = checked(cJSON_PrintUnformatted(answered));
    puts(text);
    fflush(stdout);
    cJSON_free(text);
    cJSON_Delete(answered);
    cJSON_Delete(result);
    cJSON_Delete(request);
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    while ((length = getline(&line, &capacity, stdin)) > 0) {
        answer(line);
    }
    free(line);
    return 0;
}
