// Tests of styx.hpp against a running server: set STYX_HOST. Prints one line for each test.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <numeric>
#include <sstream>
#include <string>
#include <string_view>
#include <styx.hpp>
#include <thread>
#include <type_traits>
#include <vector>

#include "check.hpp"

#include <poll.h>
#if __cplusplus >= 202002L
#include <ranges>
#include <span>
#endif

using namespace std::chrono_literals;
using namespace std::string_literals;
using namespace std::string_view_literals;

namespace {

std::vector<std::string> read(const styx::Client &client, const std::string &log,
                              const styx::Options &options = {}) {
    std::vector<std::string> payloads;
    auto consumer = client.consumer(log, options);
    for (const styx::Record record : consumer.records()) {
        payloads.emplace_back(record.payload());
    }
    return payloads;
}

// ------------------------------------------------------------------------------------- tests

void handles_are_move_only_and_values_are_copied() {
    static_assert(!std::is_copy_constructible_v<styx::Client>);
    static_assert(!std::is_copy_constructible_v<styx::Producer>);
    static_assert(!std::is_copy_constructible_v<styx::Consumer>);
    static_assert(!std::is_copy_constructible_v<styx::Batch>);
    static_assert(std::is_nothrow_move_constructible_v<styx::Client>);
    static_assert(std::is_nothrow_move_assignable_v<styx::Consumer>);
    static_assert(std::is_nothrow_copy_constructible_v<styx::Error>);
    static_assert(std::is_copy_constructible_v<styx::Options>);
    static_assert(std::is_trivially_copyable_v<styx::Record>);
    static_assert(std::is_base_of_v<std::runtime_error, styx::Error>);
}

void timeouts_are_rounded_up_and_never_negative() {
    EXPECT(styx::Timeout(5s).milliseconds() == 5000);
    EXPECT(styx::Timeout(1us).milliseconds() == 1);
    EXPECT(styx::Timeout(1500us).milliseconds() == 2);
    EXPECT(styx::Timeout(0s).milliseconds() == 0);
    EXPECT(styx::Timeout(-1s).milliseconds() == 0);
    EXPECT(styx::Timeout(std::chrono::duration<double>(0.25)).milliseconds() == 250);
    EXPECT(styx::Timeout(std::chrono::hours::max()).is_forever());
    EXPECT(styx::Timeout(std::chrono::nanoseconds::min()).milliseconds() == 0);
    EXPECT(styx::forever.milliseconds() == -1);
}

void bytes_are_made_of_texts_and_containers() {
    const std::vector<std::uint8_t> numbers{1, 2, 3};
    const std::array<std::byte, 2> bytes{};
    const unsigned char array[] = {1, 2, 3, 4};
    EXPECT(styx::Bytes("abc").size() == 3);
    EXPECT(styx::Bytes("a\0b"s).size() == 3);
    EXPECT(styx::Bytes("abc"sv).size() == 3);
    EXPECT(styx::Bytes(numbers).size() == 3);
    EXPECT(styx::Bytes(bytes).size() == 2);
    EXPECT(styx::Bytes(array).size() == 4);
    EXPECT(styx::Bytes(numbers.data(), 2).size() == 2);
    EXPECT(styx::Bytes().size() == 0);
#if __cplusplus >= 202002L
    EXPECT(styx::Bytes(std::span<const std::byte>(bytes)).size() == 2);
#endif
}

void options_reject_unknown_keys_and_can_be_copied(const styx::Client &client) {
    const auto unknown = [] { styx::Options().set("lingr", "5 ms"); };
    EXPECT(code_of(unknown) == styx::Code::invalid_argument);
    styx::Options options;
    EXPECT(options.handle() == nullptr);
    EXPECT(!options.try_set("no", "1"));
    EXPECT(!options.try_set("linger"sv, "5\0 ms"sv));
    EXPECT(options.try_set("linger", "5 ms").has_value());

    const auto log = fresh(client, "options");
    const auto first = client.producer(log, options.linger(2ms).compression("lz4").deadline(30s));
    for (const char *payload : {"a", "b", "c", "d"}) {
        first.send(payload);
    }
    const auto start = styx::Options().start(1).count(2);
    const styx::Options copy = start;
    EXPECT(read(client, log, copy) == (std::vector{"b"s, "c"s}));
    EXPECT(read(client, log, start) == (std::vector{"b"s, "c"s}));
    EXPECT(read(client, log, styx::Options().start("end-1")) == std::vector{"d"s});
    EXPECT(read(client, log, styx::Options().start(std::chrono::system_clock::now() + 1h)).empty());
    EXPECT(read(client, log, styx::Options().start(std::chrono::system_clock::now() - 1h)).size() ==
           4);
    EXPECT(code_of([&] { (void)client.producer(log, styx::Options().set("linger", "soon")); }) ==
           styx::Code::invalid_argument);
    // Every helper names an option that exists.
    styx::Options()
        .token("t").ca_file("f").ca_pem("p").server_name("n").connect_timeout(1s).timeout(1s)
        .silence_timeout(3s).retry(false).threads(1).user_agent("u").traceparent("t").block_bytes(1024)
        .in_flight_bytes(1024).close_timeout(1s).idempotent(true).producer_id(1).epoch(2)
        .expected_position(3).track_settled().cursor("c").buffer_bytes(1024).codecs("all");
}

void errors_say_what_failed(const styx::Client &client) {
    const auto missing = client.try_get_log("cpp-missing");
    EXPECT(!missing);
    EXPECT(missing.error().code() == styx::Code::log_not_found);
    EXPECT(missing.error().name() == "log_not_found");
    EXPECT(!missing.error().retriable());
    EXPECT(!missing.error().maybe_appended());
    EXPECT(std::strlen(missing.error().what()) > 0);
    EXPECT(!missing.error().fact("position"));
    EXPECT(missing.error().status().empty());
    EXPECT(code_of([&] { (void)client.get_log("cpp-missing"); }) == styx::Code::log_not_found);
    EXPECT(code_of([&] { (void)missing.value(); }) == styx::Code::log_not_found);
    EXPECT(missing.value_or(styx::LogInfo()).name.empty());

    const auto log = fresh(client, "errors");
    client.producer(log).send("one");
    const auto outside = client.try_consumer(log, styx::Options().start(7));
    EXPECT(!outside && outside.error().code() == styx::Code::out_of_range);
    EXPECT(!outside && outside.error().fact("end_position") == 1u);
    EXPECT(code_of([&] { client.create_log(log); }) == styx::Code::log_exist);
    EXPECT(client.create_log(log, styx::exist_ok).name == log);
    const auto refused = styx::Client::try_connect("127.0.0.1:1");
    EXPECT(!refused && refused.error().code() == styx::Code::connection_failed);
    EXPECT(!refused && refused.error().retriable());

    styx::Error copy = missing.error();
    copy = outside.error();
    EXPECT(copy.code() == styx::Code::out_of_range);
    const styx::Error own(styx::Code::closed, "closed", "for a test");
    EXPECT(own.what() == "for a test"sv && own.name() == "closed");
    const styx::Error moved = std::move(copy);
    // NOLINTNEXTLINE(bugprone-use-after-move)
    EXPECT(copy.code() == moved.code());
}

void names_with_nul_are_rejected(const styx::Client &client) {
    EXPECT(code_of([&] { (void)client.get_log("a\0b"sv); }) == styx::Code::invalid_argument);
}

void moved_from_objects_fail(styx::Client client) {
    const styx::Client other = std::move(client);
    EXPECT(other.check().version.size() > 0);
    // NOLINTNEXTLINE(bugprone-use-after-move)
    EXPECT(code_of([&] { (void)client.check(); }) == styx::Code::invalid_argument);
    EXPECT(client.address().empty());
    const styx::Batch batch(nullptr);
    EXPECT(batch.empty() && batch.begin() == batch.end() && batch.clone().empty());
    EXPECT(code_of([&] { (void)batch.checkpoint(); }) == styx::Code::invalid_argument);
}

void batches_are_random_access_ranges() {
    const auto batch = styx::Batch::of(40, 1'700'000'000'000'000, {"a", "bb", "", "dddd"});
    EXPECT(batch.size() == 4 && !batch.empty());
    EXPECT(batch.first_position() == 40 && batch.next_position() == 44);
    EXPECT(batch[1].payload() == "bb" && batch[1].position() == 41);
    EXPECT(batch.front().payload() == "a" && batch.back().payload() == "dddd");
    EXPECT(batch.at(2).size() == 0);
    bool thrown = false;
    try {
        (void)batch.at(4);
    } catch (const std::out_of_range &) {
        thrown = true;
    }
    EXPECT(thrown);
    EXPECT(batch.begin()->timestamp() == 1'700'000'000'000'000);
    EXPECT(batch[0].time() == styx::Time(std::chrono::seconds(1'700'000'000)));
    EXPECT(batch.end() - batch.begin() == 4 && batch.begin()[3].size() == 4);
    EXPECT((batch.begin() + 1 < batch.end()) && *(2 + batch.begin())->payload().data() != 'x');
    auto i = batch.end();
    EXPECT((--i)->payload() == "dddd" && (i--)->payload() == "dddd" && (i++)->payload().empty());
    const auto bytes = std::accumulate(batch.begin(), batch.end(), std::size_t{0},
                                       [](auto sum, styx::Record r) { return sum + r.size(); });
    EXPECT(bytes == 7);
    std::string joined;
    batch.for_each([&](styx::Record record) { joined += record.payload(); });
    EXPECT(joined == "abbdddd");
    const auto clone = batch.clone();
    EXPECT(clone.size() == 4 && clone[0].data() == batch[0].data());
    EXPECT(batch.log_id().size() == 32);
    EXPECT(styx::Checkpoint(batch.checkpoint().text()) == batch.checkpoint());
    EXPECT(styx::Batch::of(0, 0, {}).empty());

    std::vector<std::string> many(1000, "x");
    const std::vector<styx::Bytes> views(many.begin(), many.end());
    std::size_t count = 0;
    styx::Batch::of(0, 0, views).for_each([&](styx::Record r) { count += r.size(); });
    EXPECT(count == 1000);
#if __cplusplus >= 202002L
    static_assert(std::random_access_iterator<styx::Batch::Iterator>);
    static_assert(std::ranges::random_access_range<styx::Batch>);
    static_assert(std::ranges::sized_range<styx::Batch>);
    static_assert(std::ranges::input_range<styx::Consumer::Batches>);
    static_assert(std::ranges::input_range<styx::Consumer::Records>);
    const auto longest = std::ranges::max_element(batch, {}, &styx::Record::size);
    EXPECT((*longest).payload() == "dddd");
    EXPECT(batch[1].bytes().size() == 2 && batch[1].bytes()[0] == std::byte{'b'});
#endif
}

void appended_records_are_read_back(const styx::Client &client) {
    const auto log = fresh(client, "append");
    const auto producer = client.producer(log);
    EXPECT(producer.append("one") == 0);
    EXPECT(producer.append(""sv) == 1);
    EXPECT(producer.try_append("a\0b"s).value() == 2);
    producer.append_many(std::vector{"x"s, "yy"s});
    const std::uint32_t ends[] = {1, 3};
    producer.append_packed("ppq", ends, 2);
    producer.flush(10s);
    EXPECT(producer.durable_sequence() == 7 && producer.next_sequence() == 7);
    EXPECT(producer.send("last", 10s) == 7);
    EXPECT(producer.stats().acked_records == 8 && client.stats().requests > 0);
    EXPECT(producer.identity().has_value() && producer.log_id().size() == 32);
    producer.close();
    producer.close(1s);
    EXPECT(code_of([&] { producer.append("late"); }) == styx::Code::closed);
    EXPECT(read(client, log) == (std::vector{"one"s, ""s, "a\0b"s, "x"s, "yy"s, "p"s, "pq"s, "last"s}));
}

void append_waits_for_room_or_fails(const styx::Client &client) {
    const auto log = fresh(client, "room");
    const auto producer = client.producer(log, styx::Options().in_flight_bytes(64 * 1024));
    const std::string payload(1000, 'x');
    bool refused = false;
    for (int i = 0; i < 100'000 && !refused; ++i) {
        const auto appended = producer.try_append(payload, 0s);
        refused = !appended && appended.error().code() == styx::Code::would_block;
    }
    EXPECT(refused);
    for (int i = 0; i < 1000; ++i) {
        producer.append(payload, 10s);
    }
    // Larger than everything that may be in flight: split, and appended part by part.
    std::vector<std::string> many;
    for (int i = 0; i < 30'000; ++i) {
        many.push_back(std::to_string(i));
    }
    const auto before = producer.next_sequence();
    producer.append_many(many);
    EXPECT(producer.next_sequence() - before == many.size());
    EXPECT(producer.wait_room(10s));
    producer.close();
    auto back = read(client, log, styx::Options().start("end-30000"));
    EXPECT(back == many);
}

void packed_records_continue_after_a_part(const styx::Client &client) {
    const auto log = fresh(client, "packed");
    const auto producer = client.producer(log, styx::Options().in_flight_bytes(1 << 20));
    std::string data;
    std::vector<std::uint32_t> ends;
    for (int i = 0; i < 40'000; ++i) {
        data += std::to_string(i) + std::string(90, '.');
        ends.push_back(static_cast<std::uint32_t>(data.size()));
    }
    std::size_t accepted = 0;
    const auto at_once = producer.try_append_packed(data, ends.data(), ends.size(), 0s, &accepted);
    EXPECT(!at_once && at_once.error().code() == styx::Code::would_block);
    EXPECT(accepted > 0 && accepted < ends.size());
    const auto all = producer.try_append_packed(data, ends.data(), ends.size(), 30s, &accepted);
    EXPECT(all.has_value() && accepted == ends.size());
    producer.close();
    auto consumer = client.consumer(log, styx::Options().start("end-40000"));
    std::size_t next = 0;
    bool same = true;
    for (const auto &batch : consumer.batches()) {
        for (const auto record : batch) {
            same = same && record.payload() == std::to_string(next) + std::string(90, '.');
            ++next;
        }
    }
    EXPECT(same && next == 40'000);
}

void acks_say_what_is_durable(const styx::Client &client) {
    const auto log = fresh(client, "acks");
    const auto producer = client.producer(log, styx::Options().track_settled());
    for (int i = 0; i < 10; ++i) {
        producer.append("x");
    }
    producer.flush();
    std::uint64_t records = 0;
    for (const styx::Ack &ack : producer.acks()) {
        EXPECT(ack.first_sequence == records && ack.position == records && !ack.error);
        records += ack.count;
    }
    EXPECT(records == 10 && producer.acks().empty());
    pollfd watched{producer.fd(), POLLIN, 0};
    EXPECT(::poll(&watched, 1, 0) == 0);
    producer.append("y");
    EXPECT(::poll(&watched, 1, 5000) == 1);
    EXPECT(code_of([&] { (void)client.producer(log).acks(); }) == styx::Code::invalid_argument);
}

void consumers_poll_seek_and_commit(const styx::Client &client) {
    const auto log = fresh(client, "consume");
    client.producer(log).append_many(std::vector{"a", "b", "c", "d"});
    const auto producer = client.producer(log);
    for (const char *payload : {"a", "b", "c", "d"}) {
        producer.send(payload);
    }
    auto consumer = client.consumer(log, styx::Options().follow().cursor("mine").start("end-4"));
    const auto first = consumer.position();
    const auto batch = consumer.poll(5s, 2);
    EXPECT(batch && batch->size() <= 2 && (*batch)[0].payload() == "a");
    EXPECT(consumer.checkpoint() == batch->checkpoint());
    EXPECT(consumer.commit(5s) == batch->next_position());
    EXPECT(client.get_cursor(log, "mine").position == batch->next_position());
    EXPECT(client.list_cursors(log).size() == 1);
    consumer.seek(first + 3);
    EXPECT(consumer.poll(5s)->front().payload() == "d");
    EXPECT(!consumer.poll(1ms) && !consumer.ended());
    pollfd watched{consumer.fd(), POLLIN, 0};
    EXPECT(::poll(&watched, 1, 0) == 0);
    producer.send("e");
    EXPECT(::poll(&watched, 1, 5000) == 1);
    EXPECT(consumer.poll(0s)->front().payload() == "e");
    consumer.seek(batch->checkpoint());
    EXPECT(consumer.poll(5s).has_value());
    consumer.seek("end");
    EXPECT(consumer.stats().received_records > 0 && consumer.log_id() == batch->log_id());
    EXPECT(consumer.lag() == 0 && consumer.position() == first + 5);
    EXPECT(client.set_cursor(log, "mine", 1).position == 1);
    client.delete_cursor(log, "mine");
    EXPECT(code_of([&] { (void)client.get_cursor(log, "mine"); }) ==
           styx::Code::cursor_not_found);
}

void wakeup_and_close_end_an_iteration(const styx::Client &client) {
    const auto log = fresh(client, "wakeup");
    client.producer(log).send("one");
    auto consumer = client.consumer(log, styx::Options().follow());
    std::atomic<int> seen = 0;
    const auto count = [&] {
        for (const styx::Record record : consumer.records()) {
            seen += static_cast<int>(record.size());
        }
    };
    std::thread reader(count);
    while (seen == 0) {
        std::this_thread::yield();
    }
    const styx::Consumer &shared = consumer;
    shared.wakeup();
    reader.join();
    EXPECT(!consumer.ended());
    std::thread again(count);
    client.producer(log).send("more");
    while (seen < 7) {
        std::this_thread::yield();
    }
    shared.close();
    again.join();
    EXPECT(code_of([&] { (void)consumer.poll(1s); }) == styx::Code::closed);
}

void batches_outlive_their_consumer(const styx::Client &) {
    std::optional<styx::Batch> kept;
    {
        const styx::Client client;
        const auto log = fresh(client, "outlive");
        client.producer(log).send("kept");
        auto consumer = client.consumer(log);
        for (styx::Batch &batch : consumer.batches()) {
            kept = std::move(batch);
        }
    }
    EXPECT(kept && kept->front().payload() == "kept");
}

void logs_are_managed(const styx::Client &client) {
    const auto log = fresh(client, "logs");
    styx::LogConfig config;
    EXPECT(config.max_record_size > 0);
    config.log_max_age = 2h;
    config.log_max_count = 10;
    client.delete_log(log);
    EXPECT(client.create_log(log, config).status == "ok");
    const auto details = client.get_log_details(log);
    EXPECT(details.config.log_max_age == 2h && details.config.log_max_count == 10);
    EXPECT(details.log_id.size() == 32 && details.info.name == log);
    client.producer(log).send("one");
    EXPECT(client.get_log(log).record_count == 1);
    EXPECT(client.get_log_details(log).timestamp_first > 0);
    const auto logs = client.list_logs();
    EXPECT(std::any_of(logs.begin(), logs.end(), [&](const auto &l) { return l.name == log; }));
    EXPECT(client.trim_log(log, 0).start_position == 0);

    std::stringstream archive;
    client.backup_log(log).write_to(archive);
    EXPECT(archive.str().size() > 100);
    (void)client.try_delete_log("cpp-restored");
    auto restore = client.restore_log("cpp-restored");
    restore.read_from(archive);
    restore.finish();
    EXPECT(read(client, "cpp-restored") == std::vector{"one"s});
    EXPECT(code_of([&] { restore.write("x"); }) == styx::Code::closed);
    client.truncate_log(log);
    EXPECT(client.get_log(log).record_count == 0);
    EXPECT(client.check().version == styx::version());
    EXPECT(client.address().find("127.0.0.1") != std::string_view::npos);
}

void events_are_taken_and_exceptions_pass(const styx::Client &) {
    const styx::Client client;
    const auto log = fresh(client, "events");
    client.producer(log).send("x");
    std::vector<styx::Event> events;
    const auto lost = client.take_events([&](const styx::Event &event) { events.push_back(event); });
    EXPECT(lost == 0);
    EXPECT(std::any_of(events.begin(), events.end(), [&](const styx::Event &event) {
        return event.kind == styx::EventKind::connected && event.log == log &&
               event.subject == styx::EventSubject::producer;
    }));
    client.producer(log).send("y");
    bool thrown = false;
    try {
        client.take_events([](const styx::Event &) { throw std::logic_error("mine"); });
    } catch (const std::logic_error &) {
        thrown = true;
    }
    EXPECT(thrown);
}

void threads_share_a_producer(const styx::Client &client) {
    const auto log = fresh(client, "threads");
    const auto producer = client.producer(log);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&producer] {
            for (int i = 0; i < 5000; ++i) {
                producer.append("x");
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    producer.close();
    EXPECT(client.get_log(log).record_count == 20'000);
}

}  // namespace

int main() try {
    const styx::Client client;
#define RUN(test) run(#test, [&] { test(client); })
#define RUN_ALONE(test) run(#test, [] { test(); })
    RUN_ALONE(handles_are_move_only_and_values_are_copied);
    RUN_ALONE(timeouts_are_rounded_up_and_never_negative);
    RUN_ALONE(bytes_are_made_of_texts_and_containers);
    RUN_ALONE(batches_are_random_access_ranges);
    RUN(options_reject_unknown_keys_and_can_be_copied);
    RUN(errors_say_what_failed);
    RUN(names_with_nul_are_rejected);
    run("moved_from_objects_fail", [] { moved_from_objects_fail(styx::Client()); });
    RUN(appended_records_are_read_back);
    RUN(append_waits_for_room_or_fails);
    RUN(packed_records_continue_after_a_part);
    RUN(acks_say_what_is_durable);
    RUN(consumers_poll_seek_and_commit);
    RUN(wakeup_and_close_end_an_iteration);
    RUN(batches_outlive_their_consumer);
    RUN(logs_are_managed);
    RUN(events_are_taken_and_exceptions_pass);
    RUN(threads_share_a_producer);
    return failures == 0 ? 0 : 1;
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
