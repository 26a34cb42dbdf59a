/*
 * styx.h: the client of Styx, an event streaming database, for C.
 *
 * Errors. A function that can fail returns an error, or NULL for success. The caller frees it with
 * styx_error_free(). If a function fails, it stores no result, unless it says so.
 *
 * Owners. A function stores a new object through its last parameter. The caller owns it and frees
 * it with the function whose name ends in _free; NULL is allowed there. Objects may be freed in
 * any order: a consumer outlives its client, and a batch its consumer. Nothing else is to be
 * freed. No function keeps a pointer of the caller.
 *
 * Texts end with NUL and are UTF-8. Bytes are a pointer and a size; {NULL, 0} is empty.
 *
 * Threads. A function with a pointer to a const object may be called by several threads at the
 * same time. Otherwise one thread at a time uses the object. Freeing needs the object for itself.
 *
 * Waiting. A function says if it waits, and for how long. timeout_ms is in milliseconds; a negative
 * one stands for no limit. No function may be called by a signal handler, except
 * styx_consumer_wakeup(). After fork(), the child may free what it has inherited, and use batches,
 * lists and errors. Every call with a client, producer, consumer, backup or restore fails with
 * STYX_E_FORKED, or does nothing if it returns no error.
 *
 * Structs. You allocate them, and a later version may add fields at their end. So a function takes
 * the size right behind the struct, or behind the number of structs in an array: pass sizeof. The
 * library then stores only the fields that your header has, and 0 in those that the library does
 * not have. In a struct that the library reads, fields that your header does not have get their
 * default. Fields that the library does not have must be 0, otherwise the call fails with
 * STYX_E_INVALID_ARGUMENT. Only styx_bytes and styx_checkpoint never change, so they have no size.
 * The library allocates styx_event itself.
 *
 * This file is generated. The guide is docs/c.md.
 */

#ifndef STYX_H
#define STYX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 No such path.
 */
#define STYX_E_NOT_FOUND 1

/*
 The path does not support this method.
 */
#define STYX_E_METHOD_NOT_ALLOWED 2

/*
 A query, form or header value cannot be parsed.
 */
#define STYX_E_INVALID_PARAMS 3

/*
 The name is not a valid log name.
 */
#define STYX_E_LOG_INVALID_NAME 4

/*
 A log with that name already exists.
 */
#define STYX_E_LOG_EXIST 5

/*
 No log has that name.
 */
#define STYX_E_LOG_NOT_FOUND 6

/*
 The log is being opened, or is damaged.
 */
#define STYX_E_LOG_NOT_AVAILABLE 7

/*
 The request needs a Content-Length.
 */
#define STYX_E_MISSING_CONTENT_LENGTH 8

/*
 The position is before the first kept record or after the end.
 */
#define STYX_E_OUT_OF_RANGE 9

/*
 A record is larger than the log's max_record_size, or than the memory that the server may use
 for it.
 */
#define STYX_E_RECORD_TOO_LARGE 10

/*
 The body cannot be decoded as its media type.
 */
#define STYX_E_MALFORMED_RECORDS 11

/*
 The log does not end at the expected position.
 */
#define STYX_E_POSITION_MISMATCH 12

/*
 Earlier records of this producer are missing.
 */
#define STYX_E_SEQUENCE_GAP 13

/*
 This sequence was already used for other records.
 */
#define STYX_E_SEQUENCE_REUSED 14

/*
 A producer with a higher epoch took over.
 */
#define STYX_E_PRODUCER_FENCED 15

/*
 The caller's log was recreated, restored or truncated.
 */
#define STYX_E_LOG_CHANGED 16

/*
 The log ends before a position that the caller knows to be durable.
 */
#define STYX_E_LOG_END_REGRESSED 17

/*
 A write or fsync failed; the records may be in the log after a restart.
 */
#define STYX_E_OUTCOME_UNKNOWN 18

/*
 The server has more work than it accepts.
 */
#define STYX_E_OVERLOADED 19

/*
 The server is stopping.
 */
#define STYX_E_SHUTTING_DOWN 20

/*
 A stored record fails its checksum.
 */
#define STYX_E_CORRUPT_RECORD 21

/*
 No space left on the storage.
 */
#define STYX_E_STORAGE_FULL 22

/*
 No valid token.
 */
#define STYX_E_UNAUTHORIZED 23

/*
 The token does not allow this.
 */
#define STYX_E_FORBIDDEN 24

/*
 This client sends too much.
 */
#define STYX_E_TOO_MANY_REQUESTS 25

/*
 The log no longer knows this producer (only clients report this).
 */
#define STYX_E_PRODUCER_UNKNOWN 26

/*
 The body stopped arriving, or arrived too slowly; `count` says what was appended.
 */
#define STYX_E_REQUEST_TIMEOUT 27

/*
 The log has no cursor with that name.
 */
#define STYX_E_CURSOR_NOT_FOUND 28

/*
 The cursor does not have the expected version: another consumer has taken it over, or it was changed or deleted.
 */
#define STYX_E_CURSOR_TAKEN 29

/*
 The log has as many cursors as a log can have.
 */
#define STYX_E_TOO_MANY_CURSORS 30

/*
 The limit of stored bytes, or of the number of logs, is reached.
 */
#define STYX_E_QUOTA_EXCEEDED 31

/*
 The records are in the archive, and its object store does not answer.
 */
#define STYX_E_STORE_UNAVAILABLE 32

/*
 Another server owns the log, and this one only reads it.
 */
#define STYX_E_READ_ONLY 33

/*
 A bug or an I/O error; the server's log has the cause.
 */
#define STYX_E_UNKNOWN_ERROR 1000

/*
 No connection could be opened, or the connection broke.
 */
#define STYX_E_CONNECTION_FAILED 1001

/*
 A deadline or timeout passed.
 */
#define STYX_E_TIMED_OUT 1002

/*
 The object was closed, or the call cancelled.
 */
#define STYX_E_CLOSED 1003

/*
 The process was forked: create a new client in the child.
 */
#define STYX_E_FORKED 1004

/*
 An argument or option is invalid.
 */
#define STYX_E_INVALID_ARGUMENT 1005

/*
 The call would have to wait, but never waits.
 */
#define STYX_E_WOULD_BLOCK 1006

/*
 The peer is not a Styx server, or one that is too old, or it violates the protocol.
 */
#define STYX_E_BAD_ANSWER 1007

/*
 The server's host name cannot be resolved.
 */
#define STYX_E_UNKNOWN_HOST 1008

/*
 The server's certificate is not trusted.
 */
#define STYX_E_UNTRUSTED_SERVER 1009

/*
 A bug: a background task of the client panicked.
 */
#define STYX_E_PANICKED 1010

/*
 "Never", in fields that count milliseconds since something has happened.
 */
#define STYX_NEVER UINT64_MAX

/*
 The version of the interface in this header. It changes when a program that was compiled with
 an older header no longer runs with a newer library. Compare it with styx_abi_version().
 */
#define STYX_ABI_VERSION 1

/*
 The kind of an event of a connection.
 */
typedef enum {
    /*
     A connection was opened.
     */
    STYX_EVENT_CONNECTED = 1,
    /*
     A connection broke: `error` says why.
     */
    STYX_EVENT_LOST = 2,
    /*
     The next attempt follows after `wait_ms`.
     */
    STYX_EVENT_AGAIN = 3,
    /*
     The record at `position` is damaged.
     */
    STYX_EVENT_DAMAGED = 4,
    /*
     It ended: a producer was closed or freed, a consumer has read everything, or the error before
     this event cannot be retried. A consumer that the program closes has no such event.
     */
    STYX_EVENT_CLOSED = 5,
    /*
     Something that this version of the library does not name.
     */
    STYX_EVENT_OTHER = 6,
} styx_event_kind;

/*
 The kind of object that an event is about.
 */
typedef enum {
    STYX_OF_CLIENT = 1,
    STYX_OF_PRODUCER = 2,
    STYX_OF_CONSUMER = 3,
} styx_event_subject;

/*
 A backup that is being received. One thread at a time may use it.
 */
typedef struct styx_backup styx_backup;

/*
 Consecutive records of one log. It does not change, so any number of threads may use it. Its
 memory is freed with the last batch that uses it.
 */
typedef struct styx_batch styx_batch;

/*
 A client of one server. Any number of threads may use it at the same time.

 Calls that change nothing are retried until the option "timeout". After fork(), the child must
 not use it: every call fails with STYX_E_FORKED, and only freeing it is allowed.
 */
typedef struct styx_client styx_client;

/*
 Reads the records of one log, in order. It reconnects by itself and continues at its position:
 no record is returned twice or skipped.

 Functions with a `styx_consumer *` are for one thread at a time; otherwise they fail with
 STYX_E_INVALID_ARGUMENT. Those with a `const styx_consumer *` may be called by any thread.

 To process each record exactly once, store the checkpoint with the output, in one transaction,
 and pass it as option "start". If processing a record twice is harmless, use the option
 "cursor" and styx_consumer_commit().
 */
typedef struct styx_consumer styx_consumer;

/*
 A list of cursors, ordered by name. Any number of threads may use it.
 */
typedef struct styx_cursor_list styx_cursor_list;

/*
 An error. Functions that can fail return one, or NULL for success. Free it with
 styx_error_free(). It belongs to the caller, and may be used by any thread.
 */
typedef struct styx_error styx_error;

/*
 A list of logs, ordered by name. Any number of threads may use it.
 */
typedef struct styx_log_list styx_log_list;

/*
 Options of a client, producer or consumer. One thread at a time may use it.

 docs/c.md lists all keys, with their units and defaults.
 */
typedef struct styx_options styx_options;

/*
 Appends records to one log, in order and each exactly once. Any number of threads may use it at
 the same time; the records of one thread keep their order.

 It reconnects by itself: until then records wait, up to the option "deadline". An error that
 cannot be retried ends it. Then every record that was not acknowledged fails with that error,
 and so does every later call.

 A record is durable when styx_producer_send(), styx_producer_flush(), styx_producer_close() or
 styx_producer_acks() says so.
 */
typedef struct styx_producer styx_producer;

/*
 A restore that is being sent. One thread at a time may use it.
 */
typedef struct styx_restore styx_restore;

/*
 Bytes of the caller.
 */
typedef struct {
    const uint8_t *data;
    size_t size;
} styx_bytes;

/*
 One record. The payload is valid until the batch is freed.
 */
typedef struct {
    const uint8_t *data;
    size_t size;
    /*
     The position in the log.
     */
    uint64_t position;
    /*
     When the record was appended, in µs since 1970-01-01 UTC.
     */
    uint64_t timestamp;
} styx_record;

/*
 Where reading continues, as a text that ends with NUL: the id of a log and a position.
 */
typedef struct {
    char text[64];
} styx_checkpoint;

/*
 The version and the limits of the server.
 */
typedef struct {
    /*
     The largest record that it accepts, in bytes; 0 if it does not say.
     */
    uint64_t max_record_size;
    /*
     The largest block of records that it accepts, in bytes; 0 if it does not say.
     */
    uint64_t max_block_size;
    /*
     Its version.
     */
    char version[64];
} styx_server_info;

/*
 The numbers of a client.
 */
typedef struct {
    /*
     Requests, and those of them that were repeated.
     */
    uint64_t requests;
    uint64_t retries;
    /*
     Connections that were opened, and attempts that failed.
     */
    uint64_t connections;
    uint64_t failed_connections;
    /*
     Connections and streams that are open now.
     */
    uint64_t open_connections;
    uint64_t open_streams;
    /*
     Milliseconds since anything was received; STYX_NEVER before.
     */
    uint64_t since_last_heard_ms;
} styx_client_stats_t;

/*
 The numbers of a consumer.
 */
typedef struct {
    uint64_t received_records;
    uint64_t received_bytes;
    uint64_t received_batches;
    /*
     Bytes that were received and not yet returned.
     */
    uint64_t buffered_bytes;
    /*
     Connections after the first.
     */
    uint64_t reconnects;
    /*
     1 while a connection is open, otherwise 0.
     */
    uint64_t is_connected;
    /*
     Milliseconds since anything was received; STYX_NEVER before.
     */
    uint64_t since_last_heard_ms;
} styx_consumer_stats_t;

/*
 A cursor.
 */
typedef struct {
    /*
     The position of the next record to read.
     */
    uint64_t position;
    /*
     When the cursor was last changed, in µs since 1970-01-01 UTC.
     */
    uint64_t updated;
    /*
     The number of the last change.
     */
    uint64_t version;
    /*
     The name, which ends with NUL.
     */
    char cursor[256];
    /*
     The id of the log that the position belongs to, as 32 hexadecimal digits.
     */
    char log_id[40];
} styx_cursor_info;

/*
 An event. It is valid during the callback.
 */
typedef struct {
    styx_event_kind kind;
    styx_event_subject subject;
    /*
     The name of the log; "" if the event is about no log.
     */
    const char *log;
    /*
     Why a connection broke; otherwise NULL. The callback must not free it.
     */
    const styx_error *error;
    /*
     Milliseconds until the next attempt.
     */
    uint64_t wait_ms;
    /*
     The position of a damaged record.
     */
    uint64_t position;
} styx_event;

/*
 Receives events. It must not throw, longjmp() or call styx_client_take_events().
 */
typedef void (*styx_event_callback)(const styx_event *event, void *user_data);

/*
 The limits of a log: sizes in bytes, ages in seconds, -1 for no limit.
 styx_log_config_default() has the defaults.
 */
typedef struct {
    /*
     The largest record: payload plus 8.
     */
    int64_t max_record_size;
    /*
     Bytes of a segment between two entries of its index.
     */
    int64_t index_after_size;
    /*
     Records, bytes and seconds after which a segment ends.
     */
    int64_t segment_max_count;
    int64_t segment_max_size;
    int64_t segment_max_age;
    /*
     Records, bytes and seconds to keep.
     */
    int64_t log_max_count;
    int64_t log_max_size;
    int64_t log_max_age;
} styx_log_config;

/*
 Information about a log.
 */
typedef struct {
    uint64_t record_count;
    /*
     Bytes of these records: payloads plus 8 bytes each.
     */
    uint64_t file_size;
    /*
     The position of the first record that the log still has.
     */
    uint64_t start_position;
    /*
     The position of the next record to be appended.
     */
    uint64_t end_position;
    /*
     The name, which ends with NUL.
     */
    char name[256];
    /*
     Whether the log can be used: "ok", "corrupt" and so on.
     */
    char status[32];
} styx_log_info;

/*
 More about a log, beside its information and its limits.
 */
typedef struct {
    /*
     When the first record that the log still has was appended, and the last one, in µs since
     1970-01-01 UTC. 0 if the log has no record.
     */
    uint64_t timestamp_first;
    uint64_t timestamp_last;
    /*
     The id of the log, as 32 hexadecimal digits. It changes when the log is created, restored
     or truncated.
     */
    char log_id[40];
    /*
     Records before this position are also in the archive of the server. UINT64_MAX if it has no
     archive.
     */
    uint64_t archived_position;
} styx_log_details;

/*
 The outcome of consecutive records.
 */
typedef struct {
    /*
     The sequence of the first record, and the number of records.
     */
    uint64_t first_sequence;
    uint64_t count;
    /*
     The position of the first record, if they are durable.
     */
    uint64_t position;
    /*
     Why they are not durable; NULL if they are. It belongs to the caller: free it with
     styx_error_free().
     */
    styx_error *error;
} styx_ack;

/*
 The numbers of a producer.
 */
typedef struct {
    /*
     Records that are durable, their bytes, and the blocks in which they were sent.
     */
    uint64_t acked_records;
    uint64_t acked_bytes;
    uint64_t acked_blocks;
    /*
     Records that failed.
     */
    uint64_t failed_records;
    /*
     Records that were appended and are neither durable nor have failed, and their bytes.
     */
    uint64_t in_flight_records;
    uint64_t in_flight_bytes;
    /*
     The part of in_flight_bytes that waits to be sent.
     */
    uint64_t buffered_bytes;
    /*
     Blocks that were sent again after a connection broke.
     */
    uint64_t resent_blocks;
    /*
     Connections after the first.
     */
    uint64_t reconnects;
    /*
     1 while a connection is open, otherwise 0.
     */
    uint64_t is_connected;
    /*
     Milliseconds since the last ack, and since anything was received; STYX_NEVER before.
     */
    uint64_t since_last_ack_ms;
    uint64_t since_last_heard_ms;
} styx_producer_stats_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 Begins a backup of a log. Free it with styx_backup_free(), also in the middle.
 */
styx_error *styx_backup_open(const styx_client *client, const char *name, styx_backup **backup);

/*
 Waits for the next bytes of the archive. At its end, `size` is 0. The bytes are valid until the
 next call with this backup.
 */
styx_error *styx_backup_next(styx_backup *backup, const uint8_t **data, size_t *size);

/*
 Frees a backup. NULL is allowed.
 */
void styx_backup_free(styx_backup *backup);

/*
 Begins to create a log from an archive. Without styx_restore_finish(), there is no new log. Free
 it with styx_restore_free().
 */
styx_error *styx_restore_open(const styx_client *client, const char *name, styx_restore **restore);

/*
 Sends the next bytes of the archive. Copies them. After it has failed, the restore has ended: every
 later call fails with STYX_E_CLOSED.
 */
styx_error *styx_restore_write(styx_restore *restore, const uint8_t *data, size_t size);

/*
 The archive is complete: creates the log. After that, the restore has ended.
 */
styx_error *styx_restore_finish(styx_restore *restore);

/*
 Frees a restore. NULL is allowed.
 */
void styx_restore_free(styx_restore *restore);

/*
 Makes a batch, for a test. Copies the payloads, which have, with 8 bytes for each, at most 4 GiB.

 batch: receives the batch. Free it with styx_batch_free().
 */
styx_error *styx_batch_of(uint64_t first_position,
                          uint64_t timestamp,
                          const styx_bytes *payloads,
                          size_t count,
                          styx_batch **batch);

/*
 The number of records; 0 if the batch is NULL.
 */
size_t styx_batch_len(const styx_batch *batch);

/*
 Stores one record, and returns whether there is one at this index. `size` is
 sizeof(styx_record).
 */
bool styx_batch_get(const styx_batch *batch, size_t index, styx_record *record, size_t size);

/*
 Stores the records from index `first` on, up to `capacity` of them, and returns their number:
 the fastest way to all records of a batch. `size` is sizeof(styx_record).
 */
size_t styx_batch_views(const styx_batch *batch,
                        size_t first,
                        styx_record *records,
                        size_t capacity,
                        size_t size);

/*
 The position of the first record; 0 if the batch is NULL.
 */
uint64_t styx_batch_first_position(const styx_batch *batch);

/*
 The position behind the last record; 0 if the batch is NULL.
 */
uint64_t styx_batch_next_position(const styx_batch *batch);

/*
 Where to continue after this batch.
 */
styx_error *styx_batch_checkpoint(const styx_batch *batch, styx_checkpoint *checkpoint);

/*
 Stores the id of the log: 32 hexadecimal digits and a NUL, in an array of at least 40
 characters.
 */
styx_error *styx_batch_log_id(const styx_batch *batch, char (*log_id)[40]);

/*
 The memory of the batch: the payloads, and possibly bytes between them. `index` receives, for
 each record, where its payload starts and ends in `data`: 2 * styx_batch_len() numbers. All
 pointers are valid until the batch is freed. For programs that work on whole columns.
 */
styx_error *styx_batch_memory(const styx_batch *batch,
                              const uint8_t **data,
                              size_t *size,
                              const uint32_t **index);

/*
 Another handle of the same records, which is freed separately. NULL if the batch is NULL.
 */
styx_batch *styx_batch_clone(const styx_batch *batch);

/*
 Frees a batch. NULL is allowed.
 */
void styx_batch_free(styx_batch *batch);

/*
 Connects to a server, once: STYX_E_CONNECTION_FAILED if nobody listens. Blocks up to the option
 "connect_timeout".

 address: "styx://host:7123", "styxs://" with TLS, "http://" or "https://", or "host:port", or
   "unix:///path" for a Unix socket. NULL for the environment variable STYX_HOST, or
   localhost:7123.
 options: of a client; NULL for none. The function copies them.
 client: receives the client. Free it with styx_client_free().
 */
styx_error *styx_client_connect(const char *address,
                                const styx_options *options,
                                styx_client **client);

/*
 The address of the server. Valid until the client is freed. NULL if the client is NULL.
 */
const char *styx_client_address(const styx_client *client);

/*
 Asks the server what it is. `size` is sizeof(styx_server_info).
 */
styx_error *styx_client_check(const styx_client *client, styx_server_info *info, size_t size);

/*
 The numbers of the client. Waits for nothing. `size` is sizeof(styx_client_stats_t).
 */
styx_error *styx_client_stats(const styx_client *client, styx_client_stats_t *stats, size_t size);

/*
 Frees a client. Its producers and consumers can still be used, and keep its connections. NULL
 is allowed.
 */
void styx_client_free(styx_client *client);

/*
 Opens a consumer. Blocks up to the client's option "timeout".

 options: of a consumer, such as "start" and "follow"; NULL for none. The function copies them.
 consumer: receives the consumer. Free it with styx_consumer_free().
 */
styx_error *styx_consumer_open(const styx_client *client,
                               const char *log,
                               const styx_options *options,
                               styx_consumer **consumer);

/*
 Waits for records, at most timeout_ms; forever if it is negative, not at all if it is 0.

 max_records: the most records that the batch may have; 0 for no limit.
 batch: receives the batch, which belongs to the caller: free it with styx_batch_free(). NULL if
   there is none: the time has passed, styx_consumer_wakeup() was called, or the read has ended,
   which styx_consumer_ended() tells.

 An error is returned again by every later call, until styx_consumer_seek(): STYX_E_LOG_CHANGED
 and STYX_E_LOG_END_REGRESSED if the log was replaced or has lost records, STYX_E_OUT_OF_RANGE if
 retention has removed records that were not read, STYX_E_CORRUPT_RECORD, STYX_E_TIMED_OUT if
 there was no connection for the whole option "deadline", STYX_E_LOG_NOT_FOUND after the log was
 deleted. STYX_E_CLOSED after styx_consumer_close().
 */
styx_error *styx_consumer_poll(styx_consumer *consumer,
                               size_t max_records,
                               int64_t timeout_ms,
                               styx_batch **batch);

/*
 Whether the read has ended: there will be no more records. False if the consumer is NULL.
 */
bool styx_consumer_ended(const styx_consumer *consumer);

/*
 A descriptor that is readable exactly while styx_consumer_poll() would not wait. It is for
 level-triggered watching, with poll() or epoll. Never read from it or close it. It is valid
 until the consumer is freed.
 */
styx_error *styx_consumer_fd(styx_consumer *consumer, int32_t *fd);

/*
 Makes a waiting styx_consumer_poll() return without a batch; if none is waiting, the next one
 that would wait. Several wake-ups before that count as one. A signal handler may call it: it
 takes no lock, allocates nothing and never waits. NULL is allowed.
 */
void styx_consumer_wakeup(const styx_consumer *consumer);

/*
 Continues at another place: what the option "start" allows, such as "end", "42" or a
 checkpoint. Waits until that has happened. Batches that were received are dropped.
 */
styx_error *styx_consumer_seek(styx_consumer *consumer, const char *start);

/*
 The position of the next record. 0 if the consumer is NULL.
 */
uint64_t styx_consumer_position(const styx_consumer *consumer);

/*
 The number of records between the position and the end of the log, as far as known. 0 if the
 consumer is NULL.
 */
uint64_t styx_consumer_lag(const styx_consumer *consumer);

/*
 Whether the consumer has returned everything that the log had when the server last said so.
 False if the consumer is NULL.
 */
bool styx_consumer_caught_up(const styx_consumer *consumer);

/*
 Where to continue after the last record that was returned.
 */
styx_error *styx_consumer_checkpoint(styx_consumer *consumer, styx_checkpoint *checkpoint);

/*
 Stores the position behind the last record that was returned in the cursor, and waits until it
 is durable, at most timeout_ms; forever if it is negative. Needs the option "cursor".

 position: receives the stored position. May be NULL.

 STYX_E_CURSOR_TAKEN if another consumer has taken the cursor over.
 */
styx_error *styx_consumer_commit(styx_consumer *consumer, int64_t timeout_ms, uint64_t *position);

/*
 Stores the id of the log: 32 hexadecimal digits and a NUL, in an array of at least 40
 characters.
 */
styx_error *styx_consumer_log_id(styx_consumer *consumer, char (*log_id)[40]);

/*
 The numbers of the consumer. Waits for nothing. `size` is sizeof(styx_consumer_stats_t).
 */
styx_error *styx_consumer_stats(styx_consumer *consumer, styx_consumer_stats_t *stats, size_t size);

/*
 Closes a consumer, from any thread: a waiting styx_consumer_poll() fails with STYX_E_CLOSED, and
 so does every later call. Waits for a commit that is under way. Closing again has no effect. The
 consumer must still be freed. NULL is allowed.
 */
void styx_consumer_close(const styx_consumer *consumer);

/*
 Frees a consumer. Its batches stay valid. NULL is allowed.
 */
void styx_consumer_free(styx_consumer *consumer);

/*
 Lists the cursors of a log. Free the list with styx_cursor_list_free().
 */
styx_error *styx_list_cursors(const styx_client *client, const char *log, styx_cursor_list **list);

/*
 The number of cursors in a list; 0 if it is NULL.
 */
size_t styx_cursor_list_len(const styx_cursor_list *list);

/*
 Stores one cursor of a list, and returns whether there is one at this index. `size` is
 sizeof(styx_cursor_info).
 */
bool styx_cursor_list_get(const styx_cursor_list *list,
                          size_t index,
                          styx_cursor_info *info,
                          size_t size);

/*
 Frees a list. NULL is allowed.
 */
void styx_cursor_list_free(styx_cursor_list *list);

/*
 A cursor, or STYX_E_CURSOR_NOT_FOUND. `size` is sizeof(styx_cursor_info).
 */
styx_error *styx_get_cursor(const styx_client *client,
                            const char *log,
                            const char *cursor,
                            styx_cursor_info *info,
                            size_t size);

/*
 Creates a cursor, or moves it. A consumer that uses it then fails with STYX_E_CURSOR_TAKEN at
 its next commit. `info` may be NULL; `size` is sizeof(styx_cursor_info).
 */
styx_error *styx_set_cursor(const styx_client *client,
                            const char *log,
                            const char *cursor,
                            uint64_t position,
                            styx_cursor_info *info,
                            size_t size);

/*
 Deletes a cursor.
 */
styx_error *styx_delete_cursor(const styx_client *client, const char *log, const char *cursor);

/*
 The number of the error: one of STYX_E_…, or 0 if the error is NULL. The numbers are the same
 in every version.
 */
uint32_t styx_error_code(const styx_error *error);

/*
 The name of the error, such as "log_not_found", which is the same in every language and in the
 HTTP API. "" if the error is NULL. Valid until the error is freed.
 */
const char *styx_error_name(const styx_error *error);

/*
 The message for people: it says what failed. "" if the error is NULL. Valid until the error is freed.
 */
const char *styx_error_message(const styx_error *error);

/*
 Whether the same call may succeed later. False if the error is NULL.
 */
bool styx_error_retriable(const styx_error *error);

/*
 Whether the records of the call may be in the log although it failed; for other calls, whether
 the call may have been carried out. False if the error is NULL.
 */
bool styx_error_maybe_appended(const styx_error *error);

/*
 A number that belongs to the error: "start_position", "end_position", "fork_position" (with
 `log_changed`: the log was restored from the one that you know, and both are the same up to this
 position), "position", "next_intact_position", "expected_sequence", "version",
 "replaced_version", "count", "refused_upgrade" (the HTTP status of the answer) or
 "retry_after_ms". Returns whether the error has it, and then stores it in `value`.
 */
bool styx_error_fact(const styx_error *error, const char *name, uint64_t *value);

/*
 The status of the log, such as "corrupt", if it is the reason; otherwise, and if the error is
 NULL, "". Valid until the error is freed.
 */
const char *styx_error_status(const styx_error *error);

/*
 Frees an error. NULL is allowed.
 */
void styx_error_free(styx_error *error);

/*
 Calls the callback for each event that has happened since the last call, in order, on this
 thread. Never waits. Call it now and then, for example after styx_consumer_poll(): the library
 keeps a limited number of events. Stores how many were lost in `lost`, which may be NULL.
 */
styx_error *styx_client_take_events(const styx_client *client,
                                    styx_event_callback callback,
                                    void *user_data,
                                    uint64_t *lost);

/*
 Stores the default limits. `size` is sizeof(styx_log_config).
 */
void styx_log_config_default(styx_log_config *config, size_t size);

/*
 Creates a log.

 name: 1 to 255 of A-Z a-z 0-9 _ -.
 config: the limits, config_size bytes of them: sizeof(styx_log_config). NULL for the defaults.
 exist_ok: if the log exists, succeed, whatever its limits are. Otherwise STYX_E_LOG_EXIST.
 info: receives the information, info_size bytes of it: sizeof(styx_log_info). May be NULL.
 */
styx_error *styx_create_log(const styx_client *client,
                            const char *name,
                            const styx_log_config *config,
                            size_t config_size,
                            bool exist_ok,
                            styx_log_info *info,
                            size_t info_size);

/*
 Lists all logs. Free the list with styx_log_list_free().
 */
styx_error *styx_list_logs(const styx_client *client, styx_log_list **list);

/*
 The number of logs in a list; 0 if it is NULL.
 */
size_t styx_log_list_len(const styx_log_list *list);

/*
 Stores one log of a list, and returns whether there is one at this index. `size` is
 sizeof(styx_log_info).
 */
bool styx_log_list_get(const styx_log_list *list, size_t index, styx_log_info *info, size_t size);

/*
 Frees a list. NULL is allowed.
 */
void styx_log_list_free(styx_log_list *list);

/*
 Information about a log, or STYX_E_LOG_NOT_FOUND. `size` is sizeof(styx_log_info).
 */
styx_error *styx_get_log(const styx_client *client,
                         const char *name,
                         styx_log_info *info,
                         size_t size);

/*
 Everything about a log: its information, its limits, and its id and times. Each of the structs
 may be NULL, and is followed by its size.
 */
styx_error *styx_get_log_details(const styx_client *client,
                                 const char *name,
                                 styx_log_info *info,
                                 size_t info_size,
                                 styx_log_config *config,
                                 size_t config_size,
                                 styx_log_details *details,
                                 size_t details_size);

/*
 Deletes a log with all its records.
 */
styx_error *styx_delete_log(const styx_client *client, const char *name);

/*
 Removes all records of a log, which gets a new id.
 */
styx_error *styx_truncate_log(const styx_client *client, const char *name);

/*
 Removes the records before a position, as far as whole segments allow. `info` may be NULL;
 `size` is sizeof(styx_log_info).
 */
styx_error *styx_trim_log(const styx_client *client,
                          const char *name,
                          uint64_t position,
                          styx_log_info *info,
                          size_t size);

/*
 Makes a log usable that has lost records: see docs/operating.md. `info` may be NULL; `size` is
 sizeof(styx_log_info).
 */
styx_error *styx_adopt_log(const styx_client *client,
                           const char *name,
                           styx_log_info *info,
                           size_t size);

/*
 Makes options: none is set. Free them with styx_options_free(), also after they were used.
 */
styx_options *styx_options_new(void);

/*
 Sets an option, such as "linger" to "5 ms", or "start" to "end-100". Setting it again replaces
 the value. Durations have a unit (us, ms, s, min, h), sizes may have one (KiB, MiB, GiB).

 Copies both texts. Fails with STYX_E_INVALID_ARGUMENT if no client, producer or consumer has
 the option. The value is checked when the options are used.
 */
styx_error *styx_options_set(styx_options *options, const char *key, const char *value);

/*
 Frees options. NULL is allowed.
 */
void styx_options_free(styx_options *options);

/*
 Opens a producer. Blocks up to the client's option "timeout".

 options: of a producer; NULL for none. The function copies them.
 producer: receives the producer. Free it with styx_producer_free().
 */
styx_error *styx_producer_open(const styx_client *client,
                               const char *log,
                               const styx_options *options,
                               styx_producer **producer);

/*
 Appends a record: copies it, and returns before it is durable. Never blocks.

 data, size: the payload. {NULL, 0} is an empty record.
 sequence: receives the number of the record in this producer, from 0. May be NULL.

 STYX_E_WOULD_BLOCK if in_flight_bytes are waiting or unacknowledged: the record was not
 appended. Wait with styx_producer_wait_room() or for the descriptor, then append it again.
 */
styx_error *styx_producer_append(const styx_producer *producer,
                                 const uint8_t *data,
                                 size_t size,
                                 uint64_t *sequence);

/*
 Appends many records, which lie one after the other in memory: the fastest way. Never blocks.

 data, size: the payloads.
 ends, count: where each record ends in data, ascending; the first begins at 0. The last end is
   at most size.
 accepted: receives the number of records that were appended, from the first on. May be NULL if
   the records have at most 1 MiB (each counts 8 bytes and its payload); otherwise
   STYX_E_INVALID_ARGUMENT, because the caller could not know what to append again.

 Up to 1 MiB of records are atomic: all of them are appended, or none. More are split into parts
 of at most 1 MiB, each of them atomic. STYX_E_WOULD_BLOCK if there was not enough room for all:
 `accepted` says how many were appended.
 */
styx_error *styx_producer_append_packed(const styx_producer *producer,
                                        const uint8_t *data,
                                        size_t size,
                                        const uint32_t *ends,
                                        size_t count,
                                        size_t *accepted);

/*
 Waits until an append would not fail with STYX_E_WOULD_BLOCK, at most timeout_ms; forever if it
 is negative. Returns whether that is the case. Also true if the producer has ended, because
 the append fails at once then. Another thread may use the room first.
 */
bool styx_producer_wait_room(const styx_producer *producer, int64_t timeout_ms);

/*
 Appends a record and waits until it is durable, at most timeout_ms; forever if it is negative.

 position: receives its position in the log. May be NULL.

 STYX_E_TIMED_OUT after timeout_ms. The record may become durable later.
 */
styx_error *styx_producer_send(const styx_producer *producer,
                               const uint8_t *data,
                               size_t size,
                               int64_t timeout_ms,
                               uint64_t *position);

/*
 Waits until everything that was appended before is durable, at most timeout_ms; forever if it
 is negative. Fails with the first failure that styx_producer_send() has not returned.
 */
styx_error *styx_producer_flush(const styx_producer *producer, int64_t timeout_ms);

/*
 Waits until everything is durable, and closes the producer. Records that are not durable after
 timeout_ms are lost; a negative timeout_ms stands for the option "close_timeout". Fails as
 styx_producer_flush(). Closing again has no effect. The producer must still be freed.
 */
styx_error *styx_producer_close(const styx_producer *producer, int64_t timeout_ms);

/*
 Takes outcomes of records, in the order of their sequences: up to `capacity` of them. Never
 waits. Needs the option "track_settled" = "true"; without it STYX_E_INVALID_ARGUMENT. With it,
 take them regularly: while 65,536 were not taken, appends would block.

 acks, capacity, size: receive the outcomes; size is sizeof(styx_ack). Each error in them belongs
   to the caller.
 count: receives their number; 0 if there are none.
 */
styx_error *styx_producer_acks(const styx_producer *producer,
                               styx_ack *acks,
                               size_t capacity,
                               size_t size,
                               size_t *count);

/*
 A descriptor that is readable while styx_producer_acks() has outcomes, and when there is room
 again. It is for level-triggered watching, with poll() or epoll. Never read from it or close it.
 It is valid until the producer is freed. Call styx_producer_acks(), with any capacity, to make
 it unreadable; without "track_settled" call styx_producer_seen(). -1 if the producer is NULL.
 */
int32_t styx_producer_fd(const styx_producer *producer);

/*
 Makes the descriptor unreadable until something new happens.
 */
void styx_producer_seen(const styx_producer *producer);

/*
 The number of the next record in this producer. Right after opening with a "producer_id", it
 says with which record an import continues. 0 if the producer is NULL.
 */
uint64_t styx_producer_next_sequence(const styx_producer *producer);

/*
 The number before which every record is durable. 0 if the producer is NULL.
 */
uint64_t styx_producer_durable_sequence(const styx_producer *producer);

/*
 Stores the id and epoch of an idempotent producer, and returns whether it is one. Both pointers
 may be NULL.
 */
bool styx_producer_identity(const styx_producer *producer, uint64_t *id, uint32_t *epoch);

/*
 Stores the id of the log: 32 hexadecimal digits and a NUL, in an array of at least 40
 characters.
 */
styx_error *styx_producer_log_id(const styx_producer *producer, char (*log_id)[40]);

/*
 The numbers of the producer. Waits for nothing. `size` is sizeof(styx_producer_stats_t).
 */
styx_error *styx_producer_stats(const styx_producer *producer,
                                styx_producer_stats_t *stats,
                                size_t size);

/*
 Frees a producer. Records that are not durable are lost: close it before. NULL is allowed.
 */
void styx_producer_free(styx_producer *producer);

/*
 The version of the library, such as "1.0.0". Valid forever.
 */
const char *styx_version(void);

/*
 The STYX_ABI_VERSION that the library was built with.
 */
uint32_t styx_abi_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* STYX_H */
