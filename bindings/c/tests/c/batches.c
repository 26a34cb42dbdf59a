/* Batches. */
#include "test.h"

static styx_batch *batch_of(uint64_t first_position, size_t count)
{
    styx_bytes payloads[100];
    static char texts[100][8];
    for (size_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "%zu", i);
        payloads[i].data = (const uint8_t *)texts[i];
        payloads[i].size = strlen(texts[i]);
    }
    styx_batch *batch;
    OK(styx_batch_of(first_position, 1234, payloads, count, &batch));
    return batch;
}

static void check_record(const styx_record *record, uint64_t first_position, size_t index)
{
    char text[8];
    snprintf(text, sizeof text, "%zu", index);
    EQUAL(record->position, first_position + index);
    EQUAL(record->size, strlen(text));
    CHECK(memcmp(record->data, text, record->size) == 0);
}

static void records_are_found_by_index(void)
{
    styx_batch *batch = batch_of(50, 100);
    EQUAL(styx_batch_len(batch), 100);
    EQUAL(styx_batch_first_position(batch), 50);
    EQUAL(styx_batch_next_position(batch), 150);
    for (size_t i = 0; i < 100; i++) {
        styx_record record;
        CHECK(styx_batch_get(batch, i, &record, sizeof record));
        check_record(&record, 50, i);
        EQUAL(record.timestamp, 1234);
    }
    styx_record record = {.position = 7};
    CHECK(!styx_batch_get(batch, 100, &record, sizeof record));
    CHECK(!styx_batch_get(batch, SIZE_MAX, &record, sizeof record));
    EQUAL(record.position, 7);
    CHECK(styx_batch_get(batch, 99, NULL, 0));
    styx_batch_free(batch);
}

static void views_begin_anywhere_and_fill_what_there_is(void)
{
    styx_batch *batch = batch_of(50, 100);
    static const size_t firsts[] = {0, 1, 50, 99, 100, 101, SIZE_MAX};
    static const size_t capacities[] = {0, 1, 49, 50, 99, 100, 120};
    for (size_t f = 0; f < sizeof firsts / sizeof *firsts; f++) {
        for (size_t c = 0; c < sizeof capacities / sizeof *capacities; c++) {
            const size_t first = firsts[f], capacity = capacities[c];
            const size_t left = first < 100 ? 100 - first : 0;
            styx_record records[121];
            memset(records, 0xee, sizeof records);
            const size_t count = styx_batch_views(batch, first, records, capacity, sizeof *records);
            EQUAL(count, left < capacity ? left : capacity);
            for (size_t i = 0; i < count; i++) {
                check_record(&records[i], 50, first + i);
            }
            EQUAL(records[count].position, 0xeeeeeeeeeeeeeeeeU);
        }
    }
    EQUAL(styx_batch_views(batch, 0, NULL, 100, sizeof(styx_record)), 0);
    EQUAL(styx_batch_views(batch, 0, NULL, SIZE_MAX, sizeof(styx_record)), 0);
    styx_batch_free(batch);
}

static void memory_has_the_payloads(void)
{
    styx_batch *batch = batch_of(0, 100);
    const uint8_t *data;
    const uint32_t *index;
    size_t size;
    OK(styx_batch_memory(batch, &data, &size, &index));
    for (size_t i = 0; i < styx_batch_len(batch); i++) {
        styx_record record;
        CHECK(styx_batch_get(batch, i, &record, sizeof record));
        CHECK(index[2 * i] <= index[2 * i + 1] && index[2 * i + 1] <= size);
        CHECK(record.data == data + index[2 * i]);
        EQUAL(record.size, index[2 * i + 1] - index[2 * i]);
    }
    OK(styx_batch_memory(batch, NULL, NULL, NULL));
    styx_batch_free(batch);
}

static void clones_share_the_records(void)
{
    styx_batch *batch = batch_of(3, 10);
    styx_batch *clone = styx_batch_clone(batch);
    styx_record one, other;
    CHECK(styx_batch_get(batch, 4, &one, sizeof one));
    CHECK(styx_batch_get(clone, 4, &other, sizeof other));
    CHECK(one.data == other.data);
    styx_batch_free(batch);
    check_record(&other, 3, 4);
    EQUAL(styx_batch_len(clone), 10);
    styx_batch_free(clone);
}

static void empty_batches_have_no_records(void)
{
    styx_batch *batch;
    OK(styx_batch_of(9, 0, NULL, 0, &batch));
    styx_record record;
    EQUAL(styx_batch_len(batch), 0);
    CHECK(!styx_batch_get(batch, 0, &record, sizeof record));
    EQUAL(styx_batch_views(batch, 0, &record, 1, sizeof record), 0);
    EQUAL(styx_batch_first_position(batch), 9);
    EQUAL(styx_batch_next_position(batch), 9);
    const uint8_t *data;
    const uint32_t *index;
    size_t size;
    OK(styx_batch_memory(batch, &data, &size, &index));
    styx_batch_free(batch);
    OK(styx_batch_of(UINT64_MAX, 0, NULL, 0, &batch));
    EQUAL(styx_batch_next_position(batch), UINT64_MAX);
    styx_batch_free(batch);
    const styx_bytes nothing = {NULL, 0};
    OK(styx_batch_of(UINT64_MAX - 1, UINT64_MAX, &nothing, 1, &batch));
    CHECK(styx_batch_get(batch, 0, &record, sizeof record));
    EQUAL(record.position, UINT64_MAX - 1);
    EQUAL(record.timestamp, UINT64_MAX);
    styx_batch_free(batch);
}

static void batches_outlive_consumer_and_client(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 100);
    styx_consumer *consumer = test_consumer(client, "log", NULL);
    styx_batch *batches[100];
    char consumer_id[40], batch_id[40];
    size_t count = 0, records = 0;
    OK(styx_consumer_log_id(consumer, &consumer_id));
    while (records < 100) {
        styx_batch *batch;
        OK(styx_consumer_poll(consumer, 7, 10000, &batch));
        CHECK(batch != NULL && styx_batch_len(batch) <= 7);
        records += styx_batch_len(batch);
        batches[count++] = batch;
    }
    styx_consumer_free(consumer);
    styx_client_free(client);
    test_server_kill();
    uint64_t position = 0;
    for (size_t b = 0; b < count; b++) {
        EQUAL(styx_batch_first_position(batches[b]), position);
        for (size_t i = 0; i < styx_batch_len(batches[b]); i++) {
            styx_record record;
            CHECK(styx_batch_get(batches[b], i, &record, sizeof record));
            check_record(&record, 0, (size_t)position++);
            CHECK(record.timestamp > 1600000000000000U);
        }
        styx_checkpoint checkpoint;
        OK(styx_batch_checkpoint(batches[b], &checkpoint));
        OK(styx_batch_log_id(batches[b], &batch_id));
        SAME_TEXT(batch_id, consumer_id);
        CHECK(strstr(checkpoint.text, consumer_id) != NULL);
        OK(styx_batch_checkpoint(batches[b], NULL));
        OK(styx_batch_log_id(batches[b], NULL));
    }
    EQUAL(position, 100);
    /* In any order. */
    for (size_t b = count; b-- > 0;) {
        styx_batch_free(batches[b]);
    }
}

/* A batch of several blocks has several timestamps. */
static void timestamps_are_those_of_the_blocks(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    for (size_t block = 0; block < 20; block++) {
        test_append(client, "log", 5);
    }
    styx_consumer *consumer = test_consumer(client, "log", NULL);
    size_t read = 0;
    uint64_t last = 0;
    while (read < 100) {
        styx_batch *batch;
        OK(styx_consumer_poll(consumer, 0, 10000, &batch));
        styx_record views[100];
        const size_t count = styx_batch_views(batch, 0, views, 100, sizeof *views);
        for (size_t i = 0; i < count; i++) {
            styx_record record, random;
            CHECK(styx_batch_get(batch, (i * 37) % count, &random, sizeof random));
            EQUAL(random.timestamp, views[(i * 37) % count].timestamp);
            CHECK(styx_batch_get(batch, i, &record, sizeof record));
            EQUAL(record.timestamp, views[i].timestamp);
            CHECK(record.timestamp >= last);
            last = record.timestamp;
        }
        read += count;
        styx_batch_free(batch);
    }
    styx_consumer_free(consumer);
    styx_client_free(client);
}

TEST_MAIN(TEST(records_are_found_by_index), TEST(views_begin_anywhere_and_fill_what_there_is),
    TEST(memory_has_the_payloads), TEST(clones_share_the_records),
    TEST(empty_batches_have_no_records), TEST(batches_outlive_consumer_and_client),
    TEST(timestamps_are_those_of_the_blocks))
