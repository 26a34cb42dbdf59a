//! The interface for language bindings: how a program in another language waits for
//! this crate, without a thread of this crate ever calling into that language.
//!
//! Rust programs do not need this module. The Python, Node and C packages are built on
//! it. It consists of:
//!
//! | item | purpose |
//! |---|---|
//! | [`CompletionQueue`] | a bounded queue of results, and one file descriptor to watch or one function that is called |
//! | [`Ticket`] | a place in the queue for the result of one call |
//! | [`Source`] | a repeated notification: a consumer or producer has something new |
//! | [`Client::start`], [`Started`] | any other call, its result told to the queue |
//! | [`OPTIONS`], `set` of the builders | options by key and value |
//! | [`Kind::number`], [`Error::invalid_argument`], … | error codes, and errors of the binding itself |
//! | [`Encoded`], [`Producer::try_append_encoded`] | records that are encoded once, then given away |
//! | [`Settled`], [`Producer::take_settled`] | the outcomes of many records at once |
//! | [`Producer::notify`], [`Producer::flush_to`], [`Producer::close_to`] | a producer's events |
//! | [`Consumer::notify`], [`Consumer::descriptor`], [`Consumer::seek_to`], [`Consumer::commit_to`] | a consumer's events |
//! | [`Consumer::give_back`] | puts records back that the binding cannot use now |
//! | [`Handle`] | close, wake or watch a consumer from another thread |
//!
//! ```text
//! client's threads                                      the binding's thread
//! Ticket::complete ─┐                                 ┌─▶ drain: many completions at once
//! Ticket::complete ─┼─▶ queue ─▶ descriptor readable ─┤    token ─▶ promise, future, …
//! Source::ready    ─┘                                 └   (epoll, asyncio, libuv, poll)
//! any thread, signal handler: CompletionQueue::wakeup, Handle::wakeup ─▶ descriptor readable
//! ```
//!
//! A binding creates one queue and watches its descriptor. For each call it makes a
//! [`Ticket`] with a token of its own, and finds its promise or future by that token
//! when the completion arrives.
//!
//! # Contract
//!
//! **Threads.** The client's threads (`styx-client`) only put entries into the queue and
//! raise its descriptor. They never run code of the binding, except for the notifier of a
//! queue that was made with one. Completing a ticket or
//! notifying a source takes a short lock, and never waits or fails. Every method of
//! [`CompletionQueue`] may be called from any thread. Two threads may drain one queue,
//! but each completion goes to only one of them.
//!
//! **Order.** [`CompletionQueue::drain`] returns completions in the order in which they
//! were queued. Results of different calls may be queued in any order. The acks of one
//! producer are settled in the order of their sequences, so after a notification the
//! binding looks at its oldest acks first and stops at the first that is not settled.
//!
//! **Input.** [`Encoded`] copies a record when it is pushed, on the thread that pushes it.
//! Afterwards no thread and no future of this crate needs the objects of the other
//! language. Call [`Producer::try_append_encoded`] with the same batch until it does not
//! fail with `would_block`. In between, wait for the producer's source, or with
//! [`Producer::wait_room`]. A part leaves the batch once, when it is accepted.
//!
//! **Outcomes.** With [`track_settled`](crate::producer::Builder::track_settled),
//! [`Producer::take_settled`] returns one entry for each block instead of one ack for
//! each append. Call it after each notification of the producer's source: while 65,536
//! entries were not taken, appends wait. An ack is ready before its entry can be taken.
//!
//! **Coalescing.** The descriptor becomes readable once, however many completions arrive
//! between two drains. A source has at most one entry in the queue at a time, so several
//! events between two drains produce one [`Outcome::Ready`]. After it, take until nothing
//! is left: the next notification only comes for something new. Notifications may also
//! be spurious.
//!
//! **Notifiers.** For hosts without descriptors, [`CompletionQueue::with_notifier`] makes a
//! queue that calls a function instead. It is called on any thread, without any lock, and
//! only when the queue was empty before. It should raise a flag of the host's own event
//! loop, which then drains until nothing is left.
//!
//! **Descriptors.** The descriptors of a queue and of a consumer are level-triggered:
//! readable exactly while there is something to take. Use `epoll` without `EPOLLET`,
//! asyncio's `add_reader`, `uv_poll` or `poll`. Only watch them for reading. Never read
//! from them, write to them or close them; they belong to this crate and are valid as
//! long as their owner exists. They are closed on `exec`. On Linux each is one eventfd,
//! elsewhere a pipe, which needs two descriptors.
//!
//! **Capacity.** A ticket reserves its place in the queue when it is made and keeps it
//! until its completion is drained. If all places are taken,
//! [`CompletionQueue::ticket`] fails with `would_block`, and nothing is lost. A source
//! needs no place. A ticket that is dropped completes with the error `closed`.
//!
//! A consumer's descriptor is readable while [`Consumer::poll`] would not wait: also for
//! records that were given back, and for the rest of a batch of which
//! [`Consumer::next_record`] has returned a part. [`Handle::wait`] and the consumer's source
//! tell the same.
//!
//! **Signal handlers.** [`Handle::wakeup`], and [`CompletionQueue::wakeup`] of a queue with a
//! descriptor, are safe in a signal handler: they take no lock, allocate nothing and never
//! wait. Nothing else is.
//!
//! **Forks.** In a forked child, calls of an inherited client fail with `forked`, and an
//! inherited queue does nothing. A child must make its own client and queue. It may drop
//! what it has inherited, futures included: a drop that would need a lock or a thread of
//! the parent does nothing, so the memory stays allocated until the child ends.
//!
//! **Systems.** Linux and macOS are supported. Everything with a descriptor is
//! `cfg(unix)`; the rest needs a queue with a notifier.
//!
//! [`Client::start`]: crate::Client::start
//! [`OPTIONS`]: crate::options::OPTIONS
//! [`Kind::number`]: crate::Kind::number
//! [`Error::invalid_argument`]: crate::Error::invalid_argument
//! [`Handle`]: crate::consumer::Handle
//! [`Handle::wakeup`]: crate::consumer::Handle::wakeup
//! [`Producer::try_append_encoded`]: crate::Producer::try_append_encoded
//! [`Producer::take_settled`]: crate::Producer::take_settled
//! [`Handle::wait`]: crate::consumer::Handle::wait
//! [`Producer::wait_room`]: crate::Producer::wait_room
//! [`Producer::notify`]: crate::Producer::notify
//! [`Producer::flush_to`]: crate::Producer::flush_to
//! [`Producer::close_to`]: crate::Producer::close_to
//! [`Consumer::notify`]: crate::Consumer::notify
//! [`Consumer::descriptor`]: crate::Consumer::descriptor
//! [`Consumer::seek_to`]: crate::Consumer::seek_to
//! [`Consumer::commit_to`]: crate::Consumer::commit_to
//! [`Consumer::poll`]: crate::Consumer::poll
//! [`Consumer::next_record`]: crate::Consumer::next_record
//! [`Consumer::give_back`]: crate::Consumer::give_back

mod client;
mod consumer;
mod producer;

pub use crate::completion::{Completion, CompletionQueue, Drained, Outcome, Source, Ticket};
pub use crate::producer::{Encoded, Settled};
pub use client::Started;
