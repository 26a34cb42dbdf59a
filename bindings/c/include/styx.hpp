/*
 * styx.hpp: the client of Styx, an event streaming database, for C++17 and later.
 *
 * Errors. A function that can fail throws styx::Error. Its twin, whose name begins with try_, takes
 * the same arguments and returns a styx::Result instead. Both can throw std::bad_alloc.
 *
 * Owners. A Client, Producer, Consumer, Batch, Backup or Restore owns its object, and can be moved
 * but not copied. Its destructor releases the object. They may be destroyed in any order: a
 * consumer outlives its client, and a batch its consumer. A moved-from object can only be assigned
 * or destroyed; other calls fail with Code::invalid_argument. No function keeps a pointer or view
 * of the caller.
 *
 * Views. A Record, and every std::string_view or span of a batch, is valid until the batch is
 * destroyed. Other views say how long they are valid.
 *
 * Threads. Several threads may call const functions of the same object at the same time. Other
 * functions need the object for one thread. Destroying or moving it needs it too.
 *
 * Waiting. A function says if it waits, and for how long. A timeout is any std::chrono duration, or
 * styx::forever. Durations are rounded up to milliseconds; a negative one stands for 0. No function
 * may be called by a signal handler, except Consumer::wakeup(). After fork(), the child may only
 * destroy what it has inherited; every other call fails with Code::forked.
 *
 * This file needs only styx.h and the standard library, and defines no macros except STYX_HPP. The
 * guide is docs/cpp.md.
 */

#ifndef STYX_HPP
#define STYX_HPP

#include "styx.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <exception>
#include <istream>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>
#if __cplusplus >= 202002L && __has_include(<span>)
#include <span>
#endif

namespace styx {

// ---------------------------------------------------------------------------------------------
// Errors
// ---------------------------------------------------------------------------------------------

/// The kind of an error. styx.h says what each of them means.
enum class Code : std::uint32_t {
    not_found = STYX_E_NOT_FOUND,
    method_not_allowed = STYX_E_METHOD_NOT_ALLOWED,
    invalid_params = STYX_E_INVALID_PARAMS,
    log_invalid_name = STYX_E_LOG_INVALID_NAME,
    log_exist = STYX_E_LOG_EXIST,
    log_not_found = STYX_E_LOG_NOT_FOUND,
    log_not_available = STYX_E_LOG_NOT_AVAILABLE,
    missing_content_length = STYX_E_MISSING_CONTENT_LENGTH,
    out_of_range = STYX_E_OUT_OF_RANGE,
    record_too_large = STYX_E_RECORD_TOO_LARGE,
    malformed_records = STYX_E_MALFORMED_RECORDS,
    position_mismatch = STYX_E_POSITION_MISMATCH,
    sequence_gap = STYX_E_SEQUENCE_GAP,
    sequence_reused = STYX_E_SEQUENCE_REUSED,
    producer_fenced = STYX_E_PRODUCER_FENCED,
    log_changed = STYX_E_LOG_CHANGED,
    log_end_regressed = STYX_E_LOG_END_REGRESSED,
    outcome_unknown = STYX_E_OUTCOME_UNKNOWN,
    overloaded = STYX_E_OVERLOADED,
    shutting_down = STYX_E_SHUTTING_DOWN,
    corrupt_record = STYX_E_CORRUPT_RECORD,
    storage_full = STYX_E_STORAGE_FULL,
    unauthorized = STYX_E_UNAUTHORIZED,
    forbidden = STYX_E_FORBIDDEN,
    too_many_requests = STYX_E_TOO_MANY_REQUESTS,
    producer_unknown = STYX_E_PRODUCER_UNKNOWN,
    request_timeout = STYX_E_REQUEST_TIMEOUT,
    cursor_not_found = STYX_E_CURSOR_NOT_FOUND,
    cursor_taken = STYX_E_CURSOR_TAKEN,
    too_many_cursors = STYX_E_TOO_MANY_CURSORS,
    quota_exceeded = STYX_E_QUOTA_EXCEEDED,
    store_unavailable = STYX_E_STORE_UNAVAILABLE,
    read_only = STYX_E_READ_ONLY,
    unknown_error = STYX_E_UNKNOWN_ERROR,
    connection_failed = STYX_E_CONNECTION_FAILED,
    timed_out = STYX_E_TIMED_OUT,
    closed = STYX_E_CLOSED,
    forked = STYX_E_FORKED,
    invalid_argument = STYX_E_INVALID_ARGUMENT,
    would_block = STYX_E_WOULD_BLOCK,
    bad_answer = STYX_E_BAD_ANSWER,
    unknown_host = STYX_E_UNKNOWN_HOST,
    untrusted_server = STYX_E_UNTRUSTED_SERVER,
    panicked = STYX_E_PANICKED,
};

/// Why a call failed. It is a copy: it depends on no other object. what() is for people.
class Error : public std::runtime_error {
public:
    /// Copies an error of C, which stays the caller's.
    explicit Error(const styx_error *error)
        : std::runtime_error(styx_error_message(error)), state_(std::make_shared<State>(error)) {}

    /// Makes an error, for a test.
    Error(Code code, std::string name, const std::string &message)
        : std::runtime_error(message), state_(std::make_shared<State>(code, std::move(name))) {}

    // Moving is copying, so that a moved-from error still has a code.
    Error(const Error &) noexcept = default;
    Error &operator=(const Error &) noexcept = default;
    ~Error() override = default;

    [[nodiscard]] Code code() const noexcept { return state_->code; }

    /// Such as "log_not_found": the same in every language and in the HTTP API. Valid until the
    /// last copy of the error is destroyed.
    [[nodiscard]] std::string_view name() const noexcept { return state_->name; }

    /// Whether the same call may succeed later.
    [[nodiscard]] bool retriable() const noexcept { return state_->retriable; }

    /// Whether the records of the call may be in the log although it failed; for other calls,
    /// whether the call may have been carried out.
    [[nodiscard]] bool maybe_appended() const noexcept { return state_->maybe_appended; }

    /// The status of the log, such as "corrupt", if it is the reason; otherwise empty. Valid until
    /// the last copy of the error is destroyed.
    [[nodiscard]] std::string_view status() const noexcept { return state_->status; }

    /// A number that belongs to the error, or nothing: "start_position", "end_position",
    /// "fork_position" (with log_changed: the log was restored from the one that you know, and both
    /// are the same up to this position), "position", "next_intact_position", "expected_sequence",
    /// "version", "replaced_version", "count", "refused_upgrade" (the HTTP status of the answer) or
    /// "retry_after_ms".
    [[nodiscard]] std::optional<std::uint64_t> fact(std::string_view name) const noexcept {
        for (const Fact &fact : state_->facts) {
            if (name == fact.name) {
                return fact.value;
            }
        }
        return std::nullopt;
    }

private:
    struct Fact {
        const char *name;
        std::uint64_t value;
    };

    struct State {
        Code code;
        bool retriable = false;
        bool maybe_appended = false;
        std::string name;
        std::string status;
        std::vector<Fact> facts;

        State(Code of, std::string named) : code(of), name(std::move(named)) {}

        explicit State(const styx_error *error)
            : code(static_cast<Code>(styx_error_code(error))),
              retriable(styx_error_retriable(error)),
              maybe_appended(styx_error_maybe_appended(error)),
              name(styx_error_name(error)),
              status(styx_error_status(error)) {
            for (const char *fact :
                 {"start_position", "end_position", "fork_position", "position",
                  "next_intact_position", "expected_sequence", "version", "replaced_version",
                  "count", "refused_upgrade", "retry_after_ms"}) {
                std::uint64_t value = 0;
                if (styx_error_fact(error, fact, &value)) {
                    facts.push_back({fact, value});
                }
            }
        }
    };

    // Shared, because copying an exception must not throw.
    std::shared_ptr<const State> state_;
};

/// A value, or the error why there is none.
template <class T>
class [[nodiscard]] Result {
public:
    using value_type = T;

    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

    [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    /// The value. Throws the error if there is none.
    [[nodiscard]] T &value() & { return check(), *std::get_if<0>(&state_); }
    [[nodiscard]] const T &value() const & { return check(), *std::get_if<0>(&state_); }
    [[nodiscard]] T &&value() && { return check(), std::move(*std::get_if<0>(&state_)); }

    template <class U>
    [[nodiscard]] T value_or(U &&other) const & {
        return has_value() ? **this : static_cast<T>(std::forward<U>(other));
    }
    template <class U>
    [[nodiscard]] T value_or(U &&other) && {
        return has_value() ? std::move(**this) : static_cast<T>(std::forward<U>(other));
    }

    /// The value. Only if there is one: otherwise the behaviour is undefined.
    [[nodiscard]] T &operator*() & noexcept { return *std::get_if<0>(&state_); }
    [[nodiscard]] const T &operator*() const & noexcept { return *std::get_if<0>(&state_); }
    [[nodiscard]] T &&operator*() && noexcept { return std::move(*std::get_if<0>(&state_)); }
    [[nodiscard]] T *operator->() noexcept { return std::get_if<0>(&state_); }
    [[nodiscard]] const T *operator->() const noexcept { return std::get_if<0>(&state_); }

    /// The error. Only if there is no value: otherwise it throws std::bad_variant_access.
    [[nodiscard]] const Error &error() const { return std::get<1>(state_); }

private:
    void check() const {
        if (const Error *error = std::get_if<1>(&state_)) {
            throw *error;
        }
    }

    std::variant<T, Error> state_;
};

/// Success, or an error.
template <>
class [[nodiscard]] Result<void> {
public:
    using value_type = void;

    Result() noexcept = default;
    Result(Error error) : error_(std::move(error)) {}

    [[nodiscard]] bool has_value() const noexcept { return !error_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }

    /// Throws the error if there is one.
    void value() const {
        if (error_) {
            throw *error_;
        }
    }

    /// The error. Only if there is one: otherwise it throws std::bad_optional_access.
    [[nodiscard]] const Error &error() const { return error_.value(); }

private:
    std::optional<Error> error_;
};

// ---------------------------------------------------------------------------------------------
// Arguments
// ---------------------------------------------------------------------------------------------

/// How long a call may wait: any std::chrono duration, rounded up to milliseconds, or forever.
class Timeout {
public:
    template <class Rep, class Period>
    constexpr Timeout(std::chrono::duration<Rep, Period> duration) noexcept
        : milliseconds_(whole(duration)) {}

    /// As a function of C expects it: -1 for no limit.
    [[nodiscard]] constexpr std::int64_t milliseconds() const noexcept { return milliseconds_; }
    [[nodiscard]] constexpr bool is_forever() const noexcept { return milliseconds_ < 0; }

    [[nodiscard]] static constexpr Timeout without_limit() noexcept { return Timeout(Forever{}); }

private:
    struct Forever {};
    constexpr explicit Timeout(Forever) noexcept : milliseconds_(-1) {}

    template <class Rep, class Period>
    static constexpr std::int64_t whole(std::chrono::duration<Rep, Period> duration) noexcept {
        using std::chrono::duration_cast;
        using Milliseconds = std::chrono::duration<std::int64_t, std::milli>;
        // Larger ones would overflow: 100 million years are as good as no limit.
        if (std::chrono::duration<double>(duration).count() > 3e15) {
            return -1;
        }
        const Milliseconds down = duration_cast<Milliseconds>(duration);
        const std::int64_t up = down < duration ? down.count() + 1 : down.count();
        return up < 0 ? 0 : up;
    }

    std::int64_t milliseconds_;
};

/// No limit for waiting.
inline constexpr Timeout forever = Timeout::without_limit();

/// Bytes of the caller: a text, a container of bytes, or a pointer and a size. They must stay valid
/// during the call to which they are passed, and no longer.
class Bytes {
public:
    constexpr Bytes() noexcept = default;
    Bytes(const void *data, std::size_t size) noexcept
        : data_(static_cast<const std::uint8_t *>(data)), size_(size) {}
    Bytes(std::string_view text) noexcept : Bytes(text.data(), text.size()) {}
    Bytes(const std::string &text) noexcept : Bytes(text.data(), text.size()) {}
    /// A text that ends with NUL.
    Bytes(const char *text) noexcept : Bytes(text, std::strlen(text)) {}
    /// A container of characters or bytes, which lie one after the other in memory.
    template <class Container,
              class Data = decltype(std::data(std::declval<const Container &>())),
              class Element = std::remove_cv_t<std::remove_pointer_t<Data>>,
              class = std::enable_if_t<(std::is_same_v<Element, std::byte> ||
                                        std::is_same_v<Element, unsigned char> ||
                                        (std::is_same_v<Element, char> &&
                                         !std::is_array_v<Container>))>>
    Bytes(const Container &container) noexcept(noexcept(std::data(container)))
        : Bytes(std::data(container), std::size(container)) {}

    [[nodiscard]] const std::uint8_t *data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    const std::uint8_t *data_ = nullptr;
    std::size_t size_ = 0;
};

/// Where to continue after a record, as a text. Store it together with the program's output, and
/// pass it to Options::start().
class Checkpoint {
public:
    /// The text of a checkpoint, as text() has returned it. It is checked when it is used.
    explicit Checkpoint(std::string_view text) : text_(text) {}

    [[nodiscard]] const std::string &text() const noexcept { return text_; }

    friend bool operator==(const Checkpoint &a, const Checkpoint &b) noexcept {
        return a.text_ == b.text_;
    }
    friend bool operator!=(const Checkpoint &a, const Checkpoint &b) noexcept { return !(a == b); }
    friend std::ostream &operator<<(std::ostream &out, const Checkpoint &checkpoint) {
        return out << checkpoint.text_;
    }

private:
    std::string text_;
};

/// A time of a record: microseconds since 1970-01-01 UTC.
using Time = std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds>;

namespace detail {

template <auto Function>
struct Free {
    template <class T>
    void operator()(T *object) const noexcept {
        Function(object);
    }
};

template <class T, auto Function>
using Handle = std::unique_ptr<T, Free<Function>>;

using ErrorHandle = Handle<styx_error, styx_error_free>;

/// The result of a function of C; the error is freed.
inline Result<void> result(styx_error *error) {
    if (error == nullptr) {
        return {};
    }
    const ErrorHandle owned(error);
    return Error(error);
}

/// `make()`, unless the function of C has failed.
template <class Make>
auto result(styx_error *error, Make make) -> Result<decltype(make())> {
    if (error == nullptr) {
        return make();
    }
    const ErrorHandle owned(error);
    return Error(error);
}

/// A text for C, which ends with NUL.
class Text {
public:
    explicit Text(std::string_view text) : text_(text) {
        // C would end the text here, and use another one than the caller's.
        if (text_.find('\0') != std::string::npos) {
            // Not UTF-8: every function rejects it.
            text_ = "\xff";
        }
    }
    operator const char *() const noexcept { return text_.c_str(); }

private:
    std::string text_;
};

/// "time:2026-11-28T16:00:00.000000Z"
inline std::string start_of(Time time) {
    const auto since = time.time_since_epoch();
    auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
    if (seconds > since) {
        seconds -= std::chrono::seconds(1);
    }
    const auto fraction = static_cast<int>((since - seconds).count());
    const auto whole = static_cast<std::time_t>(seconds.count());
    std::tm parts{};
    if (::gmtime_r(&whole, &parts) == nullptr) {
        return "time:out of range";
    }
    char day[64] = {};
    char text[96] = {};
    std::strftime(day, sizeof day, "time:%Y-%m-%dT%H:%M:%S", &parts);
    std::snprintf(text, sizeof text, "%s.%06dZ", day, fraction);
    return text;
}

}  // namespace detail

/// Options of a client, producer or consumer. docs/c.md lists all keys, their units and defaults.
///
///     client.consumer("orders", styx::Options().start(42).follow());
///
/// A value, which can be copied. set() throws Code::invalid_argument if there is no such option;
/// the value is checked when the options are used.
class Options {
public:
    Options() noexcept = default;
    Options(Options &&) noexcept = default;
    Options &operator=(Options &&) noexcept = default;
    Options(const Options &other) {
        for (const auto &[key, value] : other.pairs_) {
            set(key, value);
        }
    }
    Options &operator=(const Options &other) {
        return *this = Options(other);
    }

    /// Sets an option, such as "linger" to "5 ms". Setting it again replaces the value.
    Options &set(std::string_view key, std::string_view value) {
        try_set(key, value).value();
        return *this;
    }
    Result<void> try_set(std::string_view key, std::string_view value) {
        if (handle_ == nullptr) {
            handle_.reset(styx_options_new());
        }
        auto result = detail::result(
            styx_options_set(handle_.get(), detail::Text(key), detail::Text(value)));
        if (result) {
            pairs_.emplace_back(key, value);
        }
        return result;
    }

    // Clients
    Options &token(std::string_view token) { return set("token", token); }
    Options &ca_file(std::string_view path) { return set("ca_file", path); }
    Options &ca_pem(std::string_view pem) { return set("ca_pem", pem); }
    Options &server_name(std::string_view name) { return set("server_name", name); }
    Options &connect_timeout(std::chrono::microseconds time) {
        return set_time("connect_timeout", time);
    }
    Options &timeout(std::chrono::microseconds time) { return set_time("timeout", time); }
    Options &silence_timeout(std::chrono::microseconds time) {
        return set_time("silence_timeout", time);
    }
    Options &retry(bool on) { return set_flag("retry", on); }
    Options &threads(std::uint64_t number) { return set_number("threads", number); }
    Options &user_agent(std::string_view name) { return set("user_agent", name); }
    Options &traceparent(std::string_view value) { return set("traceparent", value); }

    // Producers
    /// "none", "lz4" or "zstd".
    Options &compression(std::string_view codec) { return set("compression", codec); }
    Options &linger(std::chrono::microseconds time) { return set_time("linger", time); }
    Options &block_bytes(std::uint64_t bytes) { return set_number("block_bytes", bytes); }
    Options &in_flight_bytes(std::uint64_t bytes) { return set_number("in_flight_bytes", bytes); }
    Options &close_timeout(std::chrono::microseconds time) {
        return set_time("close_timeout", time);
    }
    Options &idempotent(bool on) { return set_flag("idempotent", on); }
    Options &producer_id(std::uint64_t id) { return set_number("producer_id", id); }
    Options &epoch(std::uint32_t epoch) { return set_number("epoch", epoch); }
    Options &expected_position(std::uint64_t position) {
        return set_number("expected_position", position);
    }
    Options &track_settled(bool on = true) { return set_flag("track_settled", on); }

    // Producers and consumers
    Options &deadline(std::chrono::microseconds time) { return set_time("deadline", time); }

    // Consumers
    /// "start", "end", "end-100", a position, "time:2026-11-28T16:00:00Z" or a checkpoint.
    Options &start(std::string_view place) { return set("start", place); }
    Options &start(std::uint64_t position) { return set_number("start", position); }
    Options &start(const Checkpoint &checkpoint) { return set("start", checkpoint.text()); }
    Options &start(std::chrono::system_clock::time_point time) {
        return set("start",
                   detail::start_of(std::chrono::time_point_cast<std::chrono::microseconds>(time)));
    }
    Options &cursor(std::string_view name) { return set("cursor", name); }
    Options &count(std::uint64_t records) { return set_number("count", records); }
    Options &follow(bool on = true) { return set_flag("follow", on); }
    Options &buffer_bytes(std::uint64_t bytes) { return set_number("buffer_bytes", bytes); }
    Options &codecs(std::string_view names) { return set("codecs", names); }

    /// For a function of C. Valid until the options are changed or destroyed; NULL if none is set.
    [[nodiscard]] const styx_options *handle() const noexcept { return handle_.get(); }

private:
    Options &set_time(std::string_view key, std::chrono::microseconds time) {
        return set(key, std::to_string(time.count()) + " us");
    }
    Options &set_number(std::string_view key, std::uint64_t number) {
        return set(key, std::to_string(number));
    }
    Options &set_flag(std::string_view key, bool on) {
        return set(key, on ? "true" : "false");
    }

    detail::Handle<styx_options, styx_options_free> handle_;
    std::vector<std::pair<std::string, std::string>> pairs_;
};

// ---------------------------------------------------------------------------------------------
// Records
// ---------------------------------------------------------------------------------------------

/// A record of a batch, and valid until the batch is destroyed. Copying it copies no payload.
class Record {
public:
    Record() noexcept = default;
    explicit Record(const styx_record &record) noexcept : record_(record) {}

    /// The payload as a text, which need not be UTF-8 and does not end with NUL.
    [[nodiscard]] std::string_view payload() const noexcept {
        return {reinterpret_cast<const char *>(record_.data), record_.size};
    }
#ifdef __cpp_lib_span
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return {reinterpret_cast<const std::byte *>(record_.data), record_.size};
    }
#endif
    [[nodiscard]] const std::byte *data() const noexcept {
        return reinterpret_cast<const std::byte *>(record_.data);
    }
    [[nodiscard]] std::size_t size() const noexcept { return record_.size; }
    /// The position in the log.
    [[nodiscard]] std::uint64_t position() const noexcept { return record_.position; }
    /// When the record was appended, in µs since 1970-01-01 UTC.
    [[nodiscard]] std::uint64_t timestamp() const noexcept { return record_.timestamp; }
    /// The same.
    [[nodiscard]] Time time() const noexcept {
        return Time(std::chrono::microseconds(static_cast<std::int64_t>(record_.timestamp)));
    }

private:
    styx_record record_{};
};

/// Consecutive records of one log: a random-access range of Record. It does not change, so any
/// number of threads may use it.
class Batch {
public:
    /// Stays valid while the batch is not destroyed or moved.
    class Iterator {
    public:
        using iterator_concept = std::random_access_iterator_tag;
        // In C++17, an iterator that makes its values may not have more than this one.
        using iterator_category = std::input_iterator_tag;
        using value_type = Record;
        using difference_type = std::ptrdiff_t;
        using reference = Record;
        struct pointer {
            Record record;
            const Record *operator->() const noexcept { return &record; }
        };

        Iterator() noexcept = default;
        Iterator(const styx_batch *batch, std::size_t index) noexcept
            : batch_(batch), index_(index) {}

        Record operator*() const noexcept {
            styx_record record{};
            styx_batch_get(batch_, index_, &record, sizeof record);
            return Record(record);
        }
        pointer operator->() const noexcept { return {**this}; }
        Record operator[](difference_type n) const noexcept { return *(*this + n); }

        Iterator &operator++() noexcept { return *this += 1; }
        Iterator operator++(int) noexcept { return std::exchange(*this, *this + 1); }
        Iterator &operator--() noexcept { return *this -= 1; }
        Iterator operator--(int) noexcept { return std::exchange(*this, *this - 1); }
        Iterator &operator+=(difference_type n) noexcept {
            index_ += static_cast<std::size_t>(n);
            return *this;
        }
        Iterator &operator-=(difference_type n) noexcept {
            index_ -= static_cast<std::size_t>(n);
            return *this;
        }
        friend Iterator operator+(Iterator i, difference_type n) noexcept { return i += n; }
        friend Iterator operator+(difference_type n, Iterator i) noexcept { return i += n; }
        friend Iterator operator-(Iterator i, difference_type n) noexcept { return i -= n; }
        friend difference_type operator-(Iterator a, Iterator b) noexcept {
            return static_cast<difference_type>(a.index_ - b.index_);
        }
        friend bool operator==(Iterator a, Iterator b) noexcept { return a.index_ == b.index_; }
        friend bool operator!=(Iterator a, Iterator b) noexcept { return a.index_ != b.index_; }
        friend bool operator<(Iterator a, Iterator b) noexcept { return a.index_ < b.index_; }
        friend bool operator>(Iterator a, Iterator b) noexcept { return a.index_ > b.index_; }
        friend bool operator<=(Iterator a, Iterator b) noexcept { return a.index_ <= b.index_; }
        friend bool operator>=(Iterator a, Iterator b) noexcept { return a.index_ >= b.index_; }

    private:
        const styx_batch *batch_ = nullptr;
        std::size_t index_ = 0;
    };
    using iterator = Iterator;
    using const_iterator = Iterator;
    using value_type = Record;

    /// Takes over a batch of C.
    explicit Batch(styx_batch *batch) noexcept : handle_(batch) {}

    /// Makes a batch, for a test. Copies the payloads.
    [[nodiscard]] static Batch of(std::uint64_t first_position, std::uint64_t timestamp,
                                  const std::vector<Bytes> &payloads) {
        return try_of(first_position, timestamp, payloads).value();
    }
    static Result<Batch> try_of(std::uint64_t first_position, std::uint64_t timestamp,
                                const std::vector<Bytes> &payloads) {
        std::vector<styx_bytes> bytes;
        bytes.reserve(payloads.size());
        for (const Bytes &payload : payloads) {
            bytes.push_back({payload.data(), payload.size()});
        }
        styx_batch *batch = nullptr;
        return detail::result(
            styx_batch_of(first_position, timestamp, bytes.data(), bytes.size(), &batch),
            [&] { return Batch(batch); });
    }

    [[nodiscard]] std::size_t size() const noexcept { return styx_batch_len(handle_.get()); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    [[nodiscard]] Iterator begin() const noexcept { return {handle_.get(), 0}; }
    [[nodiscard]] Iterator end() const noexcept { return {handle_.get(), size()}; }

    /// The record at an index below size(); an empty record otherwise.
    [[nodiscard]] Record operator[](std::size_t index) const noexcept {
        return *Iterator(handle_.get(), index);
    }
    /// The record at an index. Throws std::out_of_range if it is not below size().
    [[nodiscard]] Record at(std::size_t index) const {
        styx_record record{};
        if (!styx_batch_get(handle_.get(), index, &record, sizeof record)) {
            throw std::out_of_range("a batch has no record at this index");
        }
        return Record(record);
    }
    [[nodiscard]] Record front() const noexcept { return (*this)[0]; }
    [[nodiscard]] Record back() const noexcept { return (*this)[size() - 1]; }

    /// Calls `use(Record)` for each record, in order: the fastest way through a batch.
    template <class Use>
    void for_each(Use &&use) const {
        constexpr std::size_t at_once = 256;
        styx_record records[at_once];
        std::size_t done = 0;
        while (const std::size_t count = styx_batch_views(handle_.get(), done, records, at_once,
                                                          sizeof *records)) {
            for (std::size_t i = 0; i < count; ++i) {
                use(Record(records[i]));
            }
            done += count;
        }
    }

    /// The position of the first record.
    [[nodiscard]] std::uint64_t first_position() const noexcept {
        return styx_batch_first_position(handle_.get());
    }
    /// The position behind the last record.
    [[nodiscard]] std::uint64_t next_position() const noexcept {
        return styx_batch_next_position(handle_.get());
    }

    /// Where to continue after this batch.
    [[nodiscard]] Checkpoint checkpoint() const { return try_checkpoint().value(); }
    Result<Checkpoint> try_checkpoint() const {
        styx_checkpoint checkpoint{};
        return detail::result(styx_batch_checkpoint(handle_.get(), &checkpoint),
                              [&] { return Checkpoint(checkpoint.text); });
    }

    /// The id of the log: 32 hexadecimal digits.
    [[nodiscard]] std::string log_id() const { return try_log_id().value(); }
    Result<std::string> try_log_id() const {
        char id[40] = {};
        return detail::result(styx_batch_log_id(handle_.get(), &id),
                              [&] { return std::string(id); });
    }

    /// Another owner of the same records. Copies no payload.
    [[nodiscard]] Batch clone() const { return Batch(styx_batch_clone(handle_.get())); }

    /// For a function of C. Valid until the batch is destroyed.
    [[nodiscard]] const styx_batch *handle() const noexcept { return handle_.get(); }

private:
    detail::Handle<styx_batch, styx_batch_free> handle_;
};

// ---------------------------------------------------------------------------------------------
// Consumers
// ---------------------------------------------------------------------------------------------

/// The numbers of a client, producer or consumer: styx.h describes the fields.
using ClientStats = styx_client_stats_t;
using ProducerStats = styx_producer_stats_t;
using ConsumerStats = styx_consumer_stats_t;

/// Reads the records of one log, in order. It reconnects by itself and continues at its position:
/// no record is returned twice or skipped.
///
/// Functions that are not const are for one thread at a time; otherwise they fail with
/// Code::invalid_argument. Any thread may call the others.
///
/// To process each record exactly once, store the checkpoint with the output, in one transaction,
/// and pass it to Options::start(). If processing a record twice is harmless, use the option
/// "cursor" and commit().
class Consumer {
public:
    class Batches;
    class Records;

    /// Takes over a consumer of C. Client::consumer() opens one.
    explicit Consumer(styx_consumer *consumer) noexcept : handle_(consumer) {}

    /// Waits for records. Nothing if there is no batch: the time has passed, wakeup() was called,
    /// or the read has ended, which ended() tells. max_records 0 stands for no limit.
    ///
    /// An error is returned again by every later call, until seek(). Code::closed after close().
    [[nodiscard]] std::optional<Batch> poll(Timeout timeout = forever,
                                            std::size_t max_records = 0) {
        return try_poll(timeout, max_records).value();
    }
    Result<std::optional<Batch>> try_poll(Timeout timeout = forever, std::size_t max_records = 0) {
        styx_batch *batch = nullptr;
        return detail::result(
            styx_consumer_poll(handle_.get(), max_records, timeout.milliseconds(), &batch),
            [&] { return batch == nullptr ? std::nullopt : std::optional<Batch>(batch); });
    }

    /// A range over the batches. Waits for each of them, without a limit. It ends with the read,
    /// and when another thread calls wakeup() or close(). It uses the consumer: the consumer must
    /// not be moved or destroyed meanwhile.
    ///
    ///     for (styx::Batch &batch : consumer.batches())
    [[nodiscard]] Batches batches() noexcept;

    /// The same over the records. A record is valid until the next one.
    ///
    ///     for (styx::Record record : consumer.records())
    [[nodiscard]] Records records() noexcept;

    /// Whether the read has ended: there will be no more records.
    [[nodiscard]] bool ended() const noexcept { return styx_consumer_ended(handle_.get()); }

    /// A descriptor that is readable exactly while poll() would not wait. It is for level-triggered
    /// watching, with poll() or epoll. Never read from it or close it. Valid until the consumer is
    /// destroyed.
    [[nodiscard]] int fd() { return try_fd().value(); }
    Result<int> try_fd() {
        std::int32_t fd = -1;
        return detail::result(styx_consumer_fd(handle_.get(), &fd), [&] { return int{fd}; });
    }

    /// Makes a waiting poll() return nothing; if none is waiting, the next one that would wait.
    /// Several wake-ups before that count as one. A signal handler may call it.
    void wakeup() const noexcept { styx_consumer_wakeup(handle_.get()); }

    /// Continues at another place: what Options::start() allows. Waits until that has happened.
    /// Batches that were received are dropped.
    void seek(std::string_view place) { try_seek(place).value(); }
    void seek(std::uint64_t position) { try_seek(position).value(); }
    void seek(const Checkpoint &checkpoint) { try_seek(checkpoint).value(); }
    Result<void> try_seek(std::string_view place) {
        return detail::result(styx_consumer_seek(handle_.get(), detail::Text(place)));
    }
    Result<void> try_seek(std::uint64_t position) { return try_seek(std::to_string(position)); }
    Result<void> try_seek(const Checkpoint &checkpoint) { return try_seek(checkpoint.text()); }

    /// The position of the next record.
    [[nodiscard]] std::uint64_t position() const noexcept {
        return styx_consumer_position(handle_.get());
    }
    /// The number of records between the position and the end of the log, as far as known.
    [[nodiscard]] std::uint64_t lag() const noexcept { return styx_consumer_lag(handle_.get()); }
    /// Whether poll() has returned everything that the log had when the server last said so.
    [[nodiscard]] bool caught_up() const noexcept {
        return styx_consumer_caught_up(handle_.get());
    }

    /// Where to continue after the last record that was returned.
    [[nodiscard]] Checkpoint checkpoint() { return try_checkpoint().value(); }
    Result<Checkpoint> try_checkpoint() {
        styx_checkpoint checkpoint{};
        return detail::result(styx_consumer_checkpoint(handle_.get(), &checkpoint),
                              [&] { return Checkpoint(checkpoint.text); });
    }

    /// Stores the position behind the last record that was returned in the cursor, and waits until
    /// it is durable. Returns it. Needs the option "cursor".
    std::uint64_t commit(Timeout timeout = forever) { return try_commit(timeout).value(); }
    Result<std::uint64_t> try_commit(Timeout timeout = forever) {
        std::uint64_t position = 0;
        return detail::result(
            styx_consumer_commit(handle_.get(), timeout.milliseconds(), &position),
            [&] { return position; });
    }

    /// The id of the log: 32 hexadecimal digits.
    [[nodiscard]] std::string log_id() { return try_log_id().value(); }
    Result<std::string> try_log_id() {
        char id[40] = {};
        return detail::result(styx_consumer_log_id(handle_.get(), &id),
                              [&] { return std::string(id); });
    }

    [[nodiscard]] ConsumerStats stats() { return try_stats().value(); }
    Result<ConsumerStats> try_stats() {
        ConsumerStats stats{};
        return detail::result(styx_consumer_stats(handle_.get(), &stats, sizeof stats),
                              [&] { return stats; });
    }

    /// Closes the consumer, from any thread: a waiting poll() fails with Code::closed, and so does
    /// every later call. Waits for a commit that is under way. Closing again has no effect.
    void close() const noexcept { styx_consumer_close(handle_.get()); }

    /// For a function of C. Valid until the consumer is destroyed.
    [[nodiscard]] styx_consumer *handle() noexcept { return handle_.get(); }
    [[nodiscard]] const styx_consumer *handle() const noexcept { return handle_.get(); }

private:
    detail::Handle<styx_consumer, styx_consumer_free> handle_;
};

/// An input range of batches. See Consumer::batches().
class Consumer::Batches {
public:
    struct Sentinel {};

    class Iterator {
    public:
        using iterator_concept = std::input_iterator_tag;
        using iterator_category = std::input_iterator_tag;
        using value_type = Batch;
        using difference_type = std::ptrdiff_t;
        using reference = Batch &;
        using pointer = Batch *;

        Iterator() noexcept = default;
        explicit Iterator(Batches *batches) noexcept : batches_(batches) {}

        /// Valid until the next step. It may be moved away.
        Batch &operator*() const noexcept { return *batches_->batch_; }
        Batch *operator->() const noexcept { return &*batches_->batch_; }
        Iterator &operator++() {
            batches_->next();
            return *this;
        }
        void operator++(int) { batches_->next(); }

        friend bool operator==(const Iterator &i, Sentinel) noexcept { return i.at_end(); }
        friend bool operator!=(const Iterator &i, Sentinel) noexcept { return !i.at_end(); }
        friend bool operator==(Sentinel, const Iterator &i) noexcept { return i.at_end(); }
        friend bool operator!=(Sentinel, const Iterator &i) noexcept { return !i.at_end(); }

    private:
        [[nodiscard]] bool at_end() const noexcept { return !batches_->batch_.has_value(); }

        Batches *batches_ = nullptr;
    };
    using iterator = Iterator;

    explicit Batches(Consumer *consumer) noexcept : consumer_(consumer) {}

    /// Waits for the first batch. Iterators are valid until the range is moved.
    [[nodiscard]] Iterator begin() {
        next();
        return Iterator(this);
    }
    [[nodiscard]] Sentinel end() const noexcept { return {}; }

private:
    friend class Consumer::Records;

    void next() {
        batch_.reset();
        auto polled = consumer_->try_poll();
        if (polled) {
            batch_ = std::move(*polled);
        } else if (polled.error().code() != Code::closed) {
            throw polled.error();
        }
    }

    Consumer *consumer_;
    std::optional<Batch> batch_;
};

/// An input range of records. See Consumer::records().
class Consumer::Records {
public:
    using Sentinel = Batches::Sentinel;

    class Iterator {
    public:
        using iterator_concept = std::input_iterator_tag;
        using iterator_category = std::input_iterator_tag;
        using value_type = Record;
        using difference_type = std::ptrdiff_t;
        using reference = Record;
        using pointer = const Record *;

        Iterator() noexcept = default;
        explicit Iterator(Records *records) noexcept : records_(records) {}

        Record operator*() const noexcept { return records_->record_; }
        const Record *operator->() const noexcept { return &records_->record_; }
        Iterator &operator++() {
            records_->next();
            return *this;
        }
        void operator++(int) { records_->next(); }

        friend bool operator==(const Iterator &i, Sentinel) noexcept { return i.at_end(); }
        friend bool operator!=(const Iterator &i, Sentinel) noexcept { return !i.at_end(); }
        friend bool operator==(Sentinel, const Iterator &i) noexcept { return i.at_end(); }
        friend bool operator!=(Sentinel, const Iterator &i) noexcept { return !i.at_end(); }

    private:
        [[nodiscard]] bool at_end() const noexcept { return !records_->batches_.batch_; }

        Records *records_ = nullptr;
    };
    using iterator = Iterator;

    explicit Records(Consumer *consumer) noexcept : batches_(consumer) {}

    /// Waits for the first record. Iterators are valid until the range is moved.
    [[nodiscard]] Iterator begin() {
        next();
        return Iterator(this);
    }
    [[nodiscard]] Sentinel end() const noexcept { return {}; }

private:
    void next() {
        while (!batches_.batch_ || index_ >= size_) {
            batches_.next();
            if (!batches_.batch_) {
                return;
            }
            index_ = 0;
            size_ = batches_.batch_->size();
        }
        record_ = (*batches_.batch_)[index_];
        ++index_;
    }

    Batches batches_;
    Record record_;
    std::size_t index_ = 0;
    std::size_t size_ = 0;
};

inline Consumer::Batches Consumer::batches() noexcept { return Batches(this); }
inline Consumer::Records Consumer::records() noexcept { return Records(this); }

// ---------------------------------------------------------------------------------------------
// Producers
// ---------------------------------------------------------------------------------------------

/// The outcome of consecutive records.
struct Ack {
    /// The sequence of the first record, and the number of records.
    std::uint64_t first_sequence = 0;
    std::uint64_t count = 0;
    /// The position of the first record, if they are durable.
    std::uint64_t position = 0;
    /// Why they are not durable, if they are not.
    std::optional<Error> error;
};

/// Appends records to one log, in order and each exactly once. Any number of threads may use it at
/// the same time; the records of one thread keep their order.
///
/// It reconnects by itself: until then records wait, up to the option "deadline". An error that
/// cannot be retried ends it. Then every record that was not acknowledged fails with that error,
/// and so does every later call.
///
/// A record is durable when send(), flush(), close() or acks() says so. The destructor does not
/// wait: records that are not durable by then are lost. Call close() before.
class Producer {
public:
    /// The id and epoch of an idempotent producer.
    struct Identity {
        std::uint64_t id = 0;
        std::uint32_t epoch = 0;
    };

    /// Takes over a producer of C. Client::producer() opens one.
    explicit Producer(styx_producer *producer) noexcept : handle_(producer) {}

    /// Appends a record: copies it, and returns before it is durable. Waits for room while
    /// in_flight_bytes are waiting or unacknowledged; after the timeout, it fails with
    /// Code::would_block and the record was not appended. With a timeout of 0 it never waits.
    /// Returns the number of the record in this producer, from 0.
    ///
    /// With the option "track_settled", another thread must take the acks, or use a timeout of 0.
    std::uint64_t append(Bytes payload, Timeout timeout = forever) const {
        return try_append(payload, timeout).value();
    }
    Result<std::uint64_t> try_append(Bytes payload, Timeout timeout = forever) const {
        std::uint64_t sequence = 0;
        auto result = when_room(timeout, [&] {
            return styx_producer_append(handle_.get(), payload.data(), payload.size(), &sequence);
        });
        return result ? Result<std::uint64_t>(sequence) : Result<std::uint64_t>(result.error());
    }

    /// Appends many records, which lie one after the other in memory: the fastest way. `ends` says
    /// where each record ends in `data`, ascending. Waits for room as append() does.
    ///
    /// Up to 1 MiB of records are atomic: all of them are appended, or none. More are split into
    /// parts of at most 1 MiB, each of them atomic. If it fails, `accepted` says how many were
    /// appended; it may be NULL.
    void append_packed(Bytes data, const std::uint32_t *ends, std::size_t count,
                       Timeout timeout = forever, std::size_t *accepted = nullptr) const {
        try_append_packed(data, ends, count, timeout, accepted).value();
    }
    Result<void> try_append_packed(Bytes data, const std::uint32_t *ends, std::size_t count,
                                   Timeout timeout = forever,
                                   std::size_t *accepted = nullptr) const {
        std::size_t done = 0;
        std::vector<std::uint32_t> rest;
        const std::uint32_t *next = ends;
        std::uint32_t begin = 0;
        auto result = when_room(timeout, [&] {
            std::size_t now = 0;
            styx_error *error =
                styx_producer_append_packed(handle_.get(), data.data() + begin,
                                            data.size() - begin, next, count - done, &now);
            if (now > 0 && error != nullptr) {
                // The records that were not appended become a batch, whose first record begins at 0.
                done += now;
                begin = ends[done - 1];
                rest.assign(ends + done, ends + count);
                for (std::uint32_t &end : rest) {
                    end -= begin;
                }
                next = rest.data();
            } else {
                done += now;
            }
            return error;
        });
        if (accepted != nullptr) {
            *accepted = done;
        }
        return result;
    }
#ifdef __cpp_lib_span
    void append_packed(Bytes data, std::span<const std::uint32_t> ends,
                       Timeout timeout = forever) const {
        append_packed(data, ends.data(), ends.size(), timeout);
    }
    Result<void> try_append_packed(Bytes data, std::span<const std::uint32_t> ends,
                                   Timeout timeout = forever) const {
        return try_append_packed(data, ends.data(), ends.size(), timeout);
    }
#endif

    /// Appends each element of a range of texts or containers of bytes, as append_packed() does.
    /// Copies them once more than append_packed().
    template <class Range>
    void append_many(const Range &payloads, Timeout timeout = forever) const {
        try_append_many(payloads, timeout).value();
    }
    template <class Range>
    Result<void> try_append_many(const Range &payloads, Timeout timeout = forever) const {
        // More than 1 MiB is not atomic anyway, and ends must fit into 32 bits.
        constexpr std::size_t most = std::size_t{16} << 20;
        std::string data;
        std::vector<std::uint32_t> ends;
        for (const auto &payload : payloads) {
            const Bytes bytes(payload);
            if (!ends.empty() && data.size() + bytes.size() > most) {
                if (auto result = try_append_packed(data, ends.data(), ends.size(), timeout);
                    !result) {
                    return result;
                }
                data.clear();
                ends.clear();
            }
            if (bytes.size() > std::numeric_limits<std::uint32_t>::max()) {
                // Too large for every server: this reports it.
                auto result = try_append(bytes, timeout);
                return result ? Result<void>() : Result<void>(result.error());
            }
            if (bytes.size() > 0) {
                data.append(reinterpret_cast<const char *>(bytes.data()), bytes.size());
            }
            ends.push_back(static_cast<std::uint32_t>(data.size()));
        }
        return try_append_packed(data, ends.data(), ends.size(), timeout);
    }

    /// Waits until an append would not fail with Code::would_block. Returns whether that is the
    /// case. Also true if the producer has ended, because the append fails at once then.
    bool wait_room(Timeout timeout = forever) const noexcept {
        return styx_producer_wait_room(handle_.get(), timeout.milliseconds());
    }

    /// Appends a record, waits until it is durable, and returns its position in the log.
    /// Code::timed_out after the timeout. The record may become durable later.
    std::uint64_t send(Bytes payload, Timeout timeout = forever) const {
        return try_send(payload, timeout).value();
    }
    Result<std::uint64_t> try_send(Bytes payload, Timeout timeout = forever) const {
        std::uint64_t position = 0;
        return detail::result(styx_producer_send(handle_.get(), payload.data(), payload.size(),
                                                 timeout.milliseconds(), &position),
                              [&] { return position; });
    }

    /// Waits until everything that was appended before is durable. Fails with the first failure
    /// that send() has not returned.
    void flush(Timeout timeout = forever) const { try_flush(timeout).value(); }
    Result<void> try_flush(Timeout timeout = forever) const {
        return detail::result(styx_producer_flush(handle_.get(), timeout.milliseconds()));
    }

    /// Waits until everything is durable, and closes the producer. Records that are not durable
    /// after the timeout are lost; `forever` stands for the option "close_timeout". Fails as
    /// flush(). Closing again has no effect.
    void close(Timeout timeout = forever) const { try_close(timeout).value(); }
    Result<void> try_close(Timeout timeout = forever) const {
        return detail::result(styx_producer_close(handle_.get(), timeout.milliseconds()));
    }

    /// Takes outcomes of records, in the order of their sequences: up to `most` of them. Never
    /// waits. Needs the option "track_settled". With it, take them regularly: while 65,536 were not
    /// taken, appends would block.
    [[nodiscard]] std::vector<Ack> acks(std::size_t most = 256) const {
        return try_acks(most).value();
    }
    Result<std::vector<Ack>> try_acks(std::size_t most = 256) const {
        std::vector<styx_ack> taken(most);
        std::vector<Ack> acks;
        acks.reserve(most);
        std::size_t count = 0;
        auto result = detail::result(
            styx_producer_acks(handle_.get(), taken.data(), most, sizeof(styx_ack), &count));
        if (!result) {
            return result.error();
        }
        for (std::size_t i = 0; i < count; ++i) {
            const styx_ack &ack = taken[i];
            auto &given = acks.emplace_back(
                Ack{ack.first_sequence, ack.count, ack.position, std::nullopt});
            if (ack.error != nullptr) {
                const detail::ErrorHandle owned(ack.error);
                given.error = Error(ack.error);
            }
        }
        return acks;
    }

    /// A descriptor that is readable while acks() has outcomes, and when there is room again. It is
    /// for level-triggered watching, with poll() or epoll. Never read from it or close it. Valid
    /// until the producer is destroyed. Call acks() to make it unreadable; without the option
    /// "track_settled" call seen().
    [[nodiscard]] int fd() const noexcept { return styx_producer_fd(handle_.get()); }
    /// Makes the descriptor unreadable until something new happens.
    void seen() const noexcept { styx_producer_seen(handle_.get()); }

    /// The number of the next record in this producer. Right after opening with a "producer_id", it
    /// says with which record an import continues.
    [[nodiscard]] std::uint64_t next_sequence() const noexcept {
        return styx_producer_next_sequence(handle_.get());
    }
    /// The number before which every record is durable.
    [[nodiscard]] std::uint64_t durable_sequence() const noexcept {
        return styx_producer_durable_sequence(handle_.get());
    }
    /// Nothing if the producer is not idempotent.
    [[nodiscard]] std::optional<Identity> identity() const noexcept {
        Identity identity;
        if (styx_producer_identity(handle_.get(), &identity.id, &identity.epoch)) {
            return identity;
        }
        return std::nullopt;
    }

    /// The id of the log: 32 hexadecimal digits.
    [[nodiscard]] std::string log_id() const { return try_log_id().value(); }
    Result<std::string> try_log_id() const {
        char id[40] = {};
        return detail::result(styx_producer_log_id(handle_.get(), &id),
                              [&] { return std::string(id); });
    }

    [[nodiscard]] ProducerStats stats() const { return try_stats().value(); }
    Result<ProducerStats> try_stats() const {
        ProducerStats stats{};
        return detail::result(styx_producer_stats(handle_.get(), &stats, sizeof stats),
                              [&] { return stats; });
    }

    /// For a function of C. Valid until the producer is destroyed.
    [[nodiscard]] const styx_producer *handle() const noexcept { return handle_.get(); }

private:
    /// Calls `append` again whenever there is room, until it says something else.
    template <class Append>
    Result<void> when_room(Timeout timeout, Append append) const {
        using Clock = std::chrono::steady_clock;
        std::optional<Clock::time_point> began;
        for (;;) {
            styx_error *failed = append();
            if (failed == nullptr) {
                return {};
            }
            detail::ErrorHandle error(failed);
            if (styx_error_code(failed) != STYX_E_WOULD_BLOCK || timeout.milliseconds() == 0) {
                return Error(failed);
            }
            Timeout left = timeout;
            if (!timeout.is_forever()) {
                if (!began) {
                    began = Clock::now();
                }
                left = std::chrono::milliseconds(timeout.milliseconds()) - (Clock::now() - *began);
            }
            if (left.milliseconds() == 0 || !wait_room(left)) {
                return Error(failed);
            }
        }
    }

    detail::Handle<styx_producer, styx_producer_free> handle_;
};

// ---------------------------------------------------------------------------------------------
// Logs and cursors
// ---------------------------------------------------------------------------------------------

/// The limits of a log. A new one has the defaults; no_limit, or an age of -1 s, stands for none.
struct LogConfig {
    static constexpr std::int64_t no_limit = -1;

    /// The largest record: payload plus 8.
    std::int64_t max_record_size = 0;
    /// Bytes of a segment between two entries of its index.
    std::int64_t index_after_size = 0;
    /// Records, bytes and time after which a segment ends.
    std::int64_t segment_max_count = 0;
    std::int64_t segment_max_size = 0;
    std::chrono::seconds segment_max_age{};
    /// Records, bytes and time to keep.
    std::int64_t log_max_count = 0;
    std::int64_t log_max_size = 0;
    std::chrono::seconds log_max_age{};

    LogConfig() noexcept {
        styx_log_config config{};
        styx_log_config_default(&config, sizeof config);
        *this = LogConfig(config);
    }
    explicit LogConfig(const styx_log_config &config) noexcept
        : max_record_size(config.max_record_size),
          index_after_size(config.index_after_size),
          segment_max_count(config.segment_max_count),
          segment_max_size(config.segment_max_size),
          segment_max_age(config.segment_max_age),
          log_max_count(config.log_max_count),
          log_max_size(config.log_max_size),
          log_max_age(config.log_max_age) {}

    [[nodiscard]] styx_log_config to_c() const noexcept {
        styx_log_config config{};
        config.max_record_size = max_record_size;
        config.index_after_size = index_after_size;
        config.segment_max_count = segment_max_count;
        config.segment_max_size = segment_max_size;
        config.segment_max_age = segment_max_age.count();
        config.log_max_count = log_max_count;
        config.log_max_size = log_max_size;
        config.log_max_age = log_max_age.count();
        return config;
    }
};

/// Information about a log.
struct LogInfo {
    std::string name;
    /// Whether the log can be used: "ok", "corrupt" and so on.
    std::string status;
    std::uint64_t record_count = 0;
    /// Bytes of these records: payloads plus 8 bytes each.
    std::uint64_t file_size = 0;
    /// The position of the first record that the log still has.
    std::uint64_t start_position = 0;
    /// The position of the next record to be appended.
    std::uint64_t end_position = 0;

    LogInfo() = default;
    explicit LogInfo(const styx_log_info &info)
        : name(info.name),
          status(info.status),
          record_count(info.record_count),
          file_size(info.file_size),
          start_position(info.start_position),
          end_position(info.end_position) {}
};

/// Information about a log, its id and its limits.
struct LogDetails {
    LogInfo info;
    LogConfig config;
    /// When the first record that the log still has was appended, and the last one, in µs since
    /// 1970-01-01 UTC. 0 if the log has no record.
    std::uint64_t timestamp_first = 0;
    std::uint64_t timestamp_last = 0;
    /// 32 hexadecimal digits. It changes when the log is created, restored or truncated.
    std::string log_id;
    /// Records before this position are also in the archive of the server; std::nullopt if it has
    /// no archive.
    std::optional<std::uint64_t> archived_position;

    LogDetails() = default;
    LogDetails(const styx_log_info &of, const styx_log_config &limits,
               const styx_log_details &details)
        : info(of),
          config(limits),
          timestamp_first(details.timestamp_first),
          timestamp_last(details.timestamp_last),
          log_id(details.log_id) {
        if (details.archived_position != UINT64_MAX) {
            archived_position = details.archived_position;
        }
    }
};

/// A cursor: a position that the server keeps under a name.
struct CursorInfo {
    std::string cursor;
    /// The id of the log that the position belongs to, as 32 hexadecimal digits.
    std::string log_id;
    /// The position of the next record to read.
    std::uint64_t position = 0;
    /// When the cursor was last changed, in µs since 1970-01-01 UTC.
    std::uint64_t updated = 0;
    /// The number of the last change.
    std::uint64_t version = 0;

    CursorInfo() = default;
    explicit CursorInfo(const styx_cursor_info &info)
        : cursor(info.cursor),
          log_id(info.log_id),
          position(info.position),
          updated(info.updated),
          version(info.version) {}
};

/// The version and the limits of a server.
struct ServerInfo {
    std::string version;
    /// The largest record and block of records that it accepts, in bytes; 0 if it does not say.
    std::uint64_t max_record_size = 0;
    std::uint64_t max_block_size = 0;
};

/// Whether create_log() accepts a log that exists.
enum class Exist {
    /// It fails with Code::log_exist.
    fail,
    /// It succeeds, whatever the limits of the log are.
    ok,
};
inline constexpr Exist exist_ok = Exist::ok;

/// A backup that is being received. One thread at a time may use it. It may be destroyed in the
/// middle.
class Backup {
public:
    /// Takes over a backup of C. Client::backup_log() opens one.
    explicit Backup(styx_backup *backup) noexcept : handle_(backup) {}

    /// Waits for the next bytes of the archive; nothing at its end. They are valid until the next
    /// call.
    [[nodiscard]] std::optional<std::string_view> next() { return try_next().value(); }
    Result<std::optional<std::string_view>> try_next() {
        const std::uint8_t *data = nullptr;
        std::size_t size = 0;
        return detail::result(
            styx_backup_next(handle_.get(), &data, &size),
            [&]() -> std::optional<std::string_view> {
                if (size == 0) {
                    return std::nullopt;
                }
                return std::string_view(reinterpret_cast<const char *>(data), size);
            });
    }

    /// Writes the rest of the archive. Check the stream afterwards.
    void write_to(std::ostream &out) {
        while (const auto bytes = next()) {
            out.write(bytes->data(), static_cast<std::streamsize>(bytes->size()));
        }
    }

private:
    detail::Handle<styx_backup, styx_backup_free> handle_;
};

/// A restore that is being sent. One thread at a time may use it. Without finish(), there is no new
/// log.
class Restore {
public:
    /// Takes over a restore of C. Client::restore_log() opens one.
    explicit Restore(styx_restore *restore) noexcept : handle_(restore) {}

    /// Sends the next bytes of the archive. Copies them. Waits while the connection is full.
    void write(Bytes bytes) { try_write(bytes).value(); }
    Result<void> try_write(Bytes bytes) {
        return detail::result(styx_restore_write(handle_.get(), bytes.data(), bytes.size()));
    }

    /// Sends everything up to the end of a stream.
    void read_from(std::istream &in) {
        std::vector<char> buffer(std::size_t{64} << 10);
        while (in) {
            in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
            write(Bytes(buffer.data(), static_cast<std::size_t>(in.gcount())));
        }
    }

    /// The archive is complete: creates the log.
    void finish() { try_finish().value(); }
    Result<void> try_finish() { return detail::result(styx_restore_finish(handle_.get())); }

private:
    detail::Handle<styx_restore, styx_restore_free> handle_;
};

// ---------------------------------------------------------------------------------------------
// Clients
// ---------------------------------------------------------------------------------------------

/// The kind of an event of a connection. styx.h says when each happens.
enum class EventKind {
    connected = STYX_EVENT_CONNECTED,
    lost = STYX_EVENT_LOST,
    again = STYX_EVENT_AGAIN,
    damaged = STYX_EVENT_DAMAGED,
    closed = STYX_EVENT_CLOSED,
    other = STYX_EVENT_OTHER,
};

/// The kind of object that an event is about.
enum class EventSubject {
    client = STYX_OF_CLIENT,
    producer = STYX_OF_PRODUCER,
    consumer = STYX_OF_CONSUMER,
};

/// An event: a value.
struct Event {
    EventKind kind = EventKind::other;
    EventSubject subject = EventSubject::client;
    /// The name of the log; empty if the event is about no log.
    std::string log;
    /// Why a connection broke.
    std::optional<Error> error;
    /// Time until the next attempt.
    std::chrono::milliseconds wait{};
    /// The position of a damaged record.
    std::uint64_t position = 0;
};

/// A client of one server. Any number of threads may use it at the same time.
///
/// Every function here waits up to the option "timeout", unless it says otherwise. Calls that
/// change nothing are retried until then.
class Client {
public:
    /// Connects to a server, once: Code::connection_failed if nobody listens. Waits up to the
    /// option "connect_timeout".
    ///
    /// address: "styx://host:7123", "styxs://" with TLS, "http://" or "https://", or "host:port".
    ///   "unix:///path" is a Unix socket. An empty one stands for the environment variable STYX_HOST, or localhost:7123.
    explicit Client(std::string_view address = {}, const Options &options = {})
        : Client(try_connect(address, options).value()) {}
    static Result<Client> try_connect(std::string_view address = {},
                                      const Options &options = {}) {
        const detail::Text text(address);
        styx_client *client = nullptr;
        return detail::result(
            styx_client_connect(address.empty() ? nullptr : static_cast<const char *>(text),
                                options.handle(), &client),
            [&] { return Client(client); });
    }

    /// Takes over a client of C.
    explicit Client(styx_client *client) noexcept : handle_(client) {}

    /// The address of the server. Valid until the client is destroyed.
    [[nodiscard]] std::string_view address() const noexcept {
        const char *address = styx_client_address(handle_.get());
        return address == nullptr ? std::string_view() : std::string_view(address);
    }

    /// Asks the server what it is.
    [[nodiscard]] ServerInfo check() const { return try_check().value(); }
    Result<ServerInfo> try_check() const {
        styx_server_info info{};
        return detail::result(styx_client_check(handle_.get(), &info, sizeof info), [&] {
            return ServerInfo{info.version, info.max_record_size, info.max_block_size};
        });
    }

    /// Waits for nothing.
    [[nodiscard]] ClientStats stats() const { return try_stats().value(); }
    Result<ClientStats> try_stats() const {
        ClientStats stats{};
        return detail::result(styx_client_stats(handle_.get(), &stats, sizeof stats),
                              [&] { return stats; });
    }

    /// Opens a producer.
    [[nodiscard]] Producer producer(std::string_view log, const Options &options = {}) const {
        return try_producer(log, options).value();
    }
    Result<Producer> try_producer(std::string_view log, const Options &options = {}) const {
        styx_producer *producer = nullptr;
        return detail::result(styx_producer_open(handle_.get(), detail::Text(log),
                                                 options.handle(), &producer),
                              [&] { return Producer(producer); });
    }

    /// Opens a consumer.
    [[nodiscard]] Consumer consumer(std::string_view log, const Options &options = {}) const {
        return try_consumer(log, options).value();
    }
    Result<Consumer> try_consumer(std::string_view log, const Options &options = {}) const {
        styx_consumer *consumer = nullptr;
        return detail::result(styx_consumer_open(handle_.get(), detail::Text(log),
                                                 options.handle(), &consumer),
                              [&] { return Consumer(consumer); });
    }

    /// Creates a log. A name has 1 to 255 of A-Z a-z 0-9 _ -.
    LogInfo create_log(std::string_view name, const LogConfig &config = {},
                       Exist exist = Exist::fail) const {
        return try_create_log(name, config, exist).value();
    }
    LogInfo create_log(std::string_view name, Exist exist) const {
        return try_create_log(name, exist).value();
    }
    Result<LogInfo> try_create_log(std::string_view name, const LogConfig &config = {},
                                   Exist exist = Exist::fail) const {
        const styx_log_config limits = config.to_c();
        return log_info([&](styx_log_info *info) {
            return styx_create_log(handle_.get(), detail::Text(name), &limits, sizeof limits,
                                   exist == Exist::ok, info, sizeof *info);
        });
    }
    Result<LogInfo> try_create_log(std::string_view name, Exist exist) const {
        return try_create_log(name, LogConfig(), exist);
    }

    /// All logs, ordered by name.
    [[nodiscard]] std::vector<LogInfo> list_logs() const { return try_list_logs().value(); }
    Result<std::vector<LogInfo>> try_list_logs() const {
        styx_log_list *list = nullptr;
        return detail::result(styx_list_logs(handle_.get(), &list), [&] {
            const detail::Handle<styx_log_list, styx_log_list_free> owned(list);
            std::vector<LogInfo> logs;
            styx_log_info info{};
            while (styx_log_list_get(list, logs.size(), &info, sizeof info)) {
                logs.emplace_back(info);
            }
            return logs;
        });
    }

    /// Information about a log, or Code::log_not_found.
    [[nodiscard]] LogInfo get_log(std::string_view name) const { return try_get_log(name).value(); }
    Result<LogInfo> try_get_log(std::string_view name) const {
        return log_info([&](styx_log_info *info) {
            return styx_get_log(handle_.get(), detail::Text(name), info, sizeof *info);
        });
    }

    /// The same, with its id and limits.
    [[nodiscard]] LogDetails get_log_details(std::string_view name) const {
        return try_get_log_details(name).value();
    }
    Result<LogDetails> try_get_log_details(std::string_view name) const {
        styx_log_info info{};
        styx_log_config config{};
        styx_log_details details{};
        return detail::result(
            styx_get_log_details(handle_.get(), detail::Text(name), &info, sizeof info, &config,
                                 sizeof config, &details, sizeof details),
            [&] { return LogDetails(info, config, details); });
    }

    /// Deletes a log with all its records.
    void delete_log(std::string_view name) const { try_delete_log(name).value(); }
    Result<void> try_delete_log(std::string_view name) const {
        return detail::result(styx_delete_log(handle_.get(), detail::Text(name)));
    }

    /// Removes all records of a log, which gets a new id.
    void truncate_log(std::string_view name) const { try_truncate_log(name).value(); }
    Result<void> try_truncate_log(std::string_view name) const {
        return detail::result(styx_truncate_log(handle_.get(), detail::Text(name)));
    }

    /// Removes the records before a position, as far as whole segments allow.
    LogInfo trim_log(std::string_view name, std::uint64_t position) const {
        return try_trim_log(name, position).value();
    }
    Result<LogInfo> try_trim_log(std::string_view name, std::uint64_t position) const {
        return log_info([&](styx_log_info *info) {
            return styx_trim_log(handle_.get(), detail::Text(name), position, info, sizeof *info);
        });
    }

    /// Makes a log usable that has lost records: see docs/operating.md.
    LogInfo adopt_log(std::string_view name) const { return try_adopt_log(name).value(); }
    Result<LogInfo> try_adopt_log(std::string_view name) const {
        return log_info([&](styx_log_info *info) {
            return styx_adopt_log(handle_.get(), detail::Text(name), info, sizeof *info);
        });
    }

    /// Begins a backup of a log.
    [[nodiscard]] Backup backup_log(std::string_view name) const {
        return try_backup_log(name).value();
    }
    Result<Backup> try_backup_log(std::string_view name) const {
        styx_backup *backup = nullptr;
        return detail::result(styx_backup_open(handle_.get(), detail::Text(name), &backup),
                              [&] { return Backup(backup); });
    }

    /// Begins to create a log from an archive.
    [[nodiscard]] Restore restore_log(std::string_view name) const {
        return try_restore_log(name).value();
    }
    Result<Restore> try_restore_log(std::string_view name) const {
        styx_restore *restore = nullptr;
        return detail::result(styx_restore_open(handle_.get(), detail::Text(name), &restore),
                              [&] { return Restore(restore); });
    }

    /// All cursors of a log, ordered by name.
    [[nodiscard]] std::vector<CursorInfo> list_cursors(std::string_view log) const {
        return try_list_cursors(log).value();
    }
    Result<std::vector<CursorInfo>> try_list_cursors(std::string_view log) const {
        styx_cursor_list *list = nullptr;
        return detail::result(styx_list_cursors(handle_.get(), detail::Text(log), &list), [&] {
            const detail::Handle<styx_cursor_list, styx_cursor_list_free> owned(list);
            std::vector<CursorInfo> cursors;
            styx_cursor_info info{};
            while (styx_cursor_list_get(list, cursors.size(), &info, sizeof info)) {
                cursors.emplace_back(info);
            }
            return cursors;
        });
    }

    /// A cursor, or Code::cursor_not_found.
    [[nodiscard]] CursorInfo get_cursor(std::string_view log, std::string_view cursor) const {
        return try_get_cursor(log, cursor).value();
    }
    Result<CursorInfo> try_get_cursor(std::string_view log, std::string_view cursor) const {
        styx_cursor_info info{};
        return detail::result(styx_get_cursor(handle_.get(), detail::Text(log),
                                              detail::Text(cursor), &info, sizeof info),
                              [&] { return CursorInfo(info); });
    }

    /// Creates a cursor, or moves it. A consumer that uses it then fails with Code::cursor_taken at
    /// its next commit.
    CursorInfo set_cursor(std::string_view log, std::string_view cursor,
                          std::uint64_t position) const {
        return try_set_cursor(log, cursor, position).value();
    }
    Result<CursorInfo> try_set_cursor(std::string_view log, std::string_view cursor,
                                      std::uint64_t position) const {
        styx_cursor_info info{};
        return detail::result(styx_set_cursor(handle_.get(), detail::Text(log),
                                              detail::Text(cursor), position, &info, sizeof info),
                              [&] { return CursorInfo(info); });
    }

    /// Deletes a cursor.
    void delete_cursor(std::string_view log, std::string_view cursor) const {
        try_delete_cursor(log, cursor).value();
    }
    Result<void> try_delete_cursor(std::string_view log, std::string_view cursor) const {
        return detail::result(
            styx_delete_cursor(handle_.get(), detail::Text(log), detail::Text(cursor)));
    }

    /// Calls `use(const Event &)` for each event that has happened since the last call, in order,
    /// on this thread. Never waits. Call it now and then: the library keeps a limited number of
    /// events. Returns how many were lost. If `use` throws, the exception leaves this function, and
    /// the remaining events are dropped. `use` must not call take_events().
    template <class Use>
    std::uint64_t take_events(Use &&use) const {
        return try_take_events(std::forward<Use>(use)).value();
    }
    template <class Use>
    Result<std::uint64_t> try_take_events(Use &&use) const {
        struct Context {
            std::remove_reference_t<Use> *use;
            std::exception_ptr thrown;
        } context{&use, nullptr};
        const auto callback = [](const styx_event *event, void *user_data) {
            auto &called = *static_cast<Context *>(user_data);
            if (called.thrown) {
                return;
            }
            // An exception must not cross C.
            try {
                (*called.use)(copy(*event));
            } catch (...) {
                called.thrown = std::current_exception();
            }
        };
        std::uint64_t lost = 0;
        styx_error *error = styx_client_take_events(handle_.get(), callback, &context, &lost);
        if (context.thrown) {
            styx_error_free(error);
            std::rethrow_exception(context.thrown);
        }
        return detail::result(error, [&] { return lost; });
    }

    /// For a function of C. Valid until the client is destroyed.
    [[nodiscard]] const styx_client *handle() const noexcept { return handle_.get(); }

private:
    template <class Call>
    static Result<LogInfo> log_info(Call call) {
        styx_log_info info{};
        return detail::result(call(&info), [&] { return LogInfo(info); });
    }

    static Event copy(const styx_event &event) {
        Event copied;
        copied.kind = static_cast<EventKind>(event.kind);
        copied.subject = static_cast<EventSubject>(event.subject);
        copied.log = event.log;
        if (event.error != nullptr) {
            copied.error = Error(event.error);
        }
        copied.wait = std::chrono::milliseconds(static_cast<std::int64_t>(event.wait_ms));
        copied.position = event.position;
        return copied;
    }

    detail::Handle<styx_client, styx_client_free> handle_;
};

/// The version of the library that the program runs with, such as "1.0.0".
[[nodiscard]] inline std::string_view version() noexcept { return styx_version(); }

}  // namespace styx

#endif  // STYX_HPP
