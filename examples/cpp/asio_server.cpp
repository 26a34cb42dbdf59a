// A server of lines: it appends every line that a TCP client sends to a log, and sends every record
// of the log to all of its clients. One thread does all of it.
//
// Shows: a consumer and a producer in an event loop, here that of asio. Needs asio without Boost
// (Debian: libasio-dev).
//
//     c++ -std=c++17 asio_server.cpp -o asio_server $(pkg-config --cflags --libs styx) -pthread
//     ./asio_server chat 4000
//     nc localhost 4000

#include <asio.hpp>

#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <iostream>
#include <istream>
#include <memory>
#include <set>
#include <string>
#include <styx.hpp>

namespace {

using asio::ip::tcp;

/// Watches a descriptor of Styx, which must stay open: the library owns it.
class Watched {
public:
    Watched(asio::io_context &loop, int fd) : descriptor_(loop, fd) {}
    ~Watched() { descriptor_.release(); }
    Watched(const Watched &) = delete;
    Watched &operator=(const Watched &) = delete;

    template <class Then>
    void wait(Then then) {
        descriptor_.async_wait(asio::posix::stream_descriptor::wait_read,
                               [then](const asio::error_code &error) {
                                   if (!error) {
                                       then();
                                   }
                               });
    }

private:
    asio::posix::stream_descriptor descriptor_;
};

class Server;

/// A TCP connection. It reads no more lines while the producer has no room.
class Connection : public std::enable_shared_from_this<Connection> {
public:
    Connection(Server &server, tcp::socket socket)
        : server_(server), socket_(std::move(socket)) {}

    void read();
    void send(std::shared_ptr<const std::string> text);

private:
    void append();
    void write();

    Server &server_;
    tcp::socket socket_;
    asio::streambuf input_;
    std::deque<std::shared_ptr<const std::string>> output_;
    std::size_t output_bytes_ = 0;
    std::string line_;
};

class Server {
public:
    Server(asio::io_context &loop, const styx::Client &client, const char *log,
           std::uint16_t port)
        : acceptor_(loop, tcp::endpoint(asio::ip::address_v4::loopback(), port)),
          producer_(client.producer(log)),
          consumer_(client.consumer(log, styx::Options().start("end").follow())),
          room_(loop, producer_.fd()),
          records_(loop, consumer_.fd()) {
        std::cout << "listening on port " << acceptor_.local_endpoint().port() << std::endl;
        accept();
        wait_for_records();
        wait_for_room();
    }

    /// Appends a line. False if there is no room: then `again` is called when there is.
    bool append(const std::string &line, std::function<void()> again) {
        const auto appended = producer_.try_append(line, std::chrono::seconds(0));
        if (appended) {
            return true;
        }
        if (appended.error().code() != styx::Code::would_block) {
            throw appended.error();
        }
        waiting_.push_back(std::move(again));
        return false;
    }

    void remove(const std::shared_ptr<Connection> &connection) { connections_.erase(connection); }

private:
    void accept() {
        acceptor_.async_accept([this](const asio::error_code &error, tcp::socket socket) {
            if (!error) {
                const auto connection = std::make_shared<Connection>(*this, std::move(socket));
                connections_.insert(connection);
                connection->read();
            }
            accept();
        });
    }

    void wait_for_records() {
        records_.wait([this] {
            // Never waits: the descriptor is readable. There may be nothing all the same.
            if (const auto batch = consumer_.poll(std::chrono::seconds(0), 1000)) {
                std::string lines;
                for (const styx::Record record : *batch) {
                    lines.append(record.payload()).push_back('\n');
                }
                const auto text = std::make_shared<const std::string>(std::move(lines));
                for (const auto &connection : std::set(connections_)) {
                    connection->send(text);
                }
            }
            wait_for_records();
        });
    }

    void wait_for_room() {
        room_.wait([this] {
            producer_.seen();
            for (const auto &again : std::exchange(waiting_, {})) {
                again();
            }
            wait_for_room();
        });
    }

    tcp::acceptor acceptor_;
    styx::Producer producer_;
    styx::Consumer consumer_;
    // After the objects whose descriptors they watch, so that they are destroyed first.
    Watched room_;
    Watched records_;
    std::deque<std::function<void()>> waiting_;
    std::set<std::shared_ptr<Connection>> connections_;
};

void Connection::read() {
    asio::async_read_until(socket_, input_, '\n',
                           [self = shared_from_this()](const asio::error_code &error, std::size_t) {
                               if (error) {
                                   self->server_.remove(self);
                                   return;
                               }
                               std::istream stream(&self->input_);
                               std::getline(stream, self->line_);
                               self->append();
                           });
}

void Connection::append() {
    if (server_.append(line_, [self = shared_from_this()] { self->append(); })) {
        read();
    }
}

void Connection::send(std::shared_ptr<const std::string> text) {
    constexpr std::size_t most = std::size_t{16} << 20;
    output_bytes_ += text->size();
    if (output_bytes_ > most) {
        // It does not read: the others must not wait for it.
        asio::error_code ignored;
        socket_.close(ignored);
        return;
    }
    output_.push_back(std::move(text));
    if (output_.size() == 1) {
        write();
    }
}

void Connection::write() {
    asio::async_write(socket_, asio::buffer(*output_.front()),
                      [self = shared_from_this()](const asio::error_code &error, std::size_t) {
                          if (error) {
                              self->server_.remove(self);
                              return;
                          }
                          self->output_bytes_ -= self->output_.front()->size();
                          self->output_.pop_front();
                          if (!self->output_.empty()) {
                              self->write();
                          }
                      });
}

}  // namespace

int main(int argc, char **argv) try {
    if (argc != 3) {
        std::cerr << "usage: asio_server LOG PORT\n";
        return 2;
    }
    asio::io_context loop(1);
    const styx::Client client;
    client.create_log(argv[1], styx::exist_ok);
    Server server(loop, client, argv[1],
                  static_cast<std::uint16_t>(std::strtoul(argv[2], nullptr, 10)));
    asio::signal_set signals(loop, SIGINT, SIGTERM);
    signals.async_wait([&loop](const asio::error_code &, int) { loop.stop(); });
    loop.run();
    return 0;
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
