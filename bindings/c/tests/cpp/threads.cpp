// Threads that use the objects of styx.hpp as its header allows: const functions at the same time,
// the others one at a time. ThreadSanitizer runs it in a soak. Set STYX_HOST to the server.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <styx.hpp>
#include <thread>
#include <utility>
#include <vector>

#include "check.hpp"

using namespace std::chrono_literals;

namespace {

constexpr int threads_at_once = 4;

/// The number of repetitions: STYX_TEST_CPP_ROUNDS, or 1.
int rounds() {
    const char *text = std::getenv("STYX_TEST_CPP_ROUNDS");
    return text == nullptr ? 1 : std::atoi(text);
}

/// Calls the function with 0, 1 and so on, each in a thread, and waits for all.
template <class Work>
void at_once(Work work) {
    std::vector<std::thread> threads;
    for (int number = 0; number < threads_at_once; ++number) {
        threads.emplace_back([&work, number] {
            try {
                work(number);
            } catch (const std::exception &error) {
                std::cerr << "  a thread threw " + std::string(error.what()) + '\n';
                ++failures;
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
}

void records_of_each_thread_keep_their_order(const styx::Client &client) {
    constexpr int each = 2000;
    const auto log = fresh(client, "order");
    const auto producer =
        client.producer(log, styx::Options().track_settled().in_flight_bytes(64 * 1024));
    std::atomic<std::uint64_t> acked{0};
    std::atomic<bool> done{false};
    std::thread taker([&] {
        while (!done || acked < threads_at_once * each) {
            for (const styx::Ack &ack : producer.acks()) {
                EXPECT(!ack.error);
                acked += ack.count;
            }
            std::this_thread::yield();
        }
    });
    at_once([&](int number) {
        for (int i = 0; i < each; ++i) {
            const std::string payload = std::to_string(number) + ' ' + std::to_string(i);
            if (i % 100 == 0) {
                producer.append_many(std::vector<std::string>{payload});
            } else {
                producer.append(payload);
            }
            if (i % 500 == 0) {
                producer.flush();
                EXPECT(producer.stats().acked_records > 0);
            }
        }
    });
    producer.flush();
    done = true;
    taker.join();
    producer.close();
    EXPECT(producer.durable_sequence() == threads_at_once * each);

    std::vector<int> next(threads_at_once, 0);
    auto consumer = client.consumer(log);
    for (const styx::Record record : consumer.records()) {
        const std::string payload(record.payload());
        const auto number = static_cast<std::size_t>(payload[0] - '0');
        EXPECT(std::stoi(payload.substr(2)) == next[number]++);
    }
    EXPECT(next == std::vector<int>(threads_at_once, each));
}

void wakeups_of_other_threads_end_each_wait(const styx::Client &client) {
    constexpr int wakeups = 500;
    auto consumer = client.consumer(fresh(client, "wakeup"), styx::Options().follow());
    std::atomic<int> woken{0};
    std::thread waker([&consumer = std::as_const(consumer), &woken] {
        for (int i = 0; i < wakeups; ++i) {
            consumer.wakeup();
            while (woken <= i) {
                std::this_thread::yield();
            }
        }
    });
    while (woken < wakeups) {
        EXPECT(!consumer.poll());
        ++woken;
    }
    waker.join();
}

void close_ends_the_loop_of_another_thread(const styx::Client &client) {
    const auto log = fresh(client, "close");
    for (int i = 0; i < 20; ++i) {
        auto consumer = client.consumer(log, styx::Options().follow());
        std::atomic<bool> ended{false};
        std::thread reader([&] {
            for (const styx::Record record : consumer.records()) {
                EXPECT(record.size() == 0);
            }
            ended = true;
        });
        // Before, while and after the loop begins to wait.
        std::this_thread::sleep_for(std::chrono::milliseconds(i % 4));
        std::as_const(consumer).close();
        reader.join();
        EXPECT(ended);
        EXPECT(code_of([&] { (void)consumer.poll(); }) == styx::Code::closed);
    }
}

void close_ends_the_appends_of_other_threads(const styx::Client &client) {
    const auto log = fresh(client, "close-producer");
    for (int i = 0; i < 10; ++i) {
        const auto producer = client.producer(log);
        std::atomic<std::uint64_t> appended{0};
        std::thread closer([&] {
            while (appended < 100) {
                std::this_thread::yield();
            }
            producer.close();
        });
        at_once([&](int) {
            for (;;) {
                const auto result = producer.try_append("x");
                if (!result) {
                    EXPECT(result.error().code() == styx::Code::closed);
                    break;
                }
                ++appended;
            }
        });
        closer.join();
        EXPECT(producer.durable_sequence() == appended);
    }
}

void const_functions_are_called_while_a_consumer_waits(const styx::Client &client) {
    constexpr std::uint64_t count = 500;
    const auto log = fresh(client, "watch");
    auto consumer = client.consumer(log, styx::Options().follow());
    std::atomic<bool> done{false};
    std::thread reader([&] {
        std::uint64_t read = 0;
        while (read < count) {
            if (const auto batch = consumer.poll()) {
                read += batch->size();
            }
        }
        done = true;
    });
    std::thread appender([&] {
        const auto producer = client.producer(log);
        for (std::uint64_t i = 0; i < count; ++i) {
            producer.append("x");
            if (i % 50 == 0) {
                producer.flush();
            }
        }
        producer.close();
    });
    std::uint64_t last = 0;
    while (!done) {
        const auto &watched = std::as_const(consumer);
        const std::uint64_t position = watched.position();
        EXPECT(position >= last);
        EXPECT(watched.lag() <= count);
        (void)watched.caught_up();
        watched.wakeup();
        last = position;
    }
    reader.join();
    appender.join();
    EXPECT(consumer.position() == count);
}

/// A batch that is waited for, although another thread wakes its consumer.
styx::Batch first_batch(styx::Consumer &consumer) {
    for (;;) {
        if (auto batch = consumer.poll()) {
            return std::move(*batch);
        }
    }
}

void batches_options_and_errors_are_shared(const styx::Client &client) {
    const auto log = fresh(client, "shared");
    client.producer(log).send("first");
    auto consumer = client.consumer(log);
    const auto batch = first_batch(consumer);
    const auto options = styx::Options().start("end-1").count(1);
    const auto error = client.try_get_log("cpp-missing").error();
    at_once([&](int number) {
        for (int i = 0; i < 20; ++i) {
            const styx::Batch mine = batch.clone();
            EXPECT(mine[0].payload() == "first" && batch.front().position() == 0);
            batch.for_each([](styx::Record record) { EXPECT(record.size() == 5); });
            // Options are copied, and used by several calls at the same time.
            const styx::Options copy = options;
            auto reader = client.consumer(log, i % 2 == 0 ? options : copy);
            EXPECT(first_batch(reader)[0].payload() == "first");
            const styx::Error mine_too = error;
            EXPECT(mine_too.code() == styx::Code::log_not_found && *mine_too.what() != '\0');
            const auto name = "cpp-shared-" + std::to_string(number);
            client.create_log(name, styx::exist_ok);
            EXPECT(client.get_log(name).record_count == 0);
            EXPECT(!client.list_logs().empty() && client.stats().requests > 0);
            client.delete_log(name);
        }
    });
    // The last owner is another thread.
    std::thread([mine = batch.clone()]() mutable {
        const styx::Batch last = std::move(mine);
        EXPECT(last.size() == 1);
    }).join();
}

void objects_move_to_other_threads(const styx::Client &client) {
    const auto log = fresh(client, "moved");
    auto producer = client.producer(log);
    auto consumer = client.consumer(log, styx::Options().follow());
    std::thread writer([mine = std::move(producer)] {
        mine.send("a");
        mine.close();
    });
    std::thread reader([mine = std::move(consumer)]() mutable {
        EXPECT(first_batch(mine)[0].payload() == "a");
    });
    writer.join();
    reader.join();
}

void events_are_taken_by_exactly_one_thread(const styx::Client &) {
    const styx::Client client;
    const auto log = fresh(client, "thread-events");
    std::atomic<int> connected{0};
    std::atomic<std::uint64_t> lost{0};
    at_once([&](int) {
        for (int i = 0; i < 10; ++i) {
            client.producer(log).send("x");
            lost += client.take_events([&](const styx::Event &event) {
                connected += event.kind == styx::EventKind::connected &&
                             event.subject == styx::EventSubject::producer;
            });
        }
    });
    client.take_events([&](const styx::Event &event) {
        connected += event.kind == styx::EventKind::connected &&
                     event.subject == styx::EventSubject::producer;
    });
    EXPECT(lost == 0);
    EXPECT(connected == threads_at_once * 10);
}

}  // namespace

int main() try {
    const styx::Client client;
#define RUN(test) run(#test, [&] { test(client); })
    for (int round = rounds(); round > 0; --round) {
        RUN(records_of_each_thread_keep_their_order);
        RUN(wakeups_of_other_threads_end_each_wait);
        RUN(close_ends_the_loop_of_another_thread);
        RUN(close_ends_the_appends_of_other_threads);
        RUN(const_functions_are_called_while_a_consumer_waits);
        RUN(batches_options_and_errors_are_shared);
        RUN(objects_move_to_other_threads);
        RUN(events_are_taken_by_exactly_one_thread);
    }
    return failures == 0 ? 0 : 1;
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
