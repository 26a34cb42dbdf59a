//! Blocks of all sizes, and the memory for them.

use styx_protocol::Records;
use styx_protocol::block::{Header, Origin, build};
use styx_protocol::frame::blocks_header;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::peer::testing::connected_pair;
use crate::session::RequestBudget;
use crate::transport::Transport;

const BUDGET_BYTES: usize = 64 << 20;

fn block(number: usize, payload_bytes: usize) -> Bytes {
    let payload = vec![u8::try_from(number % 251).expect("small"); payload_bytes];
    build(&Records::one(&payload), Origin::default())
}

/// Checks that blocks of these sizes arrive as they were sent while the last
/// `kept` of them are in flight. Returns the most memory that this took.
async fn check(sizes: &[usize], kept: usize) -> usize {
    let (mut peer, tcp) = connected_pair().await;
    let tcp = Transport::from(tcp);
    let budget = RequestBudget::new(BUDGET_BYTES);
    let mut receive_buffer =
        ReceiveBuffer::new(1 << 30, ProducerMemory::new(budget.reservation()), &Bytes::new());
    assert_eq!(receive_buffer.held_bytes(), 0);
    let sending = async {
        for (number, size) in sizes.iter().enumerate() {
            let block = block(number, *size);
            let frame = [&blocks_header(block.len())[..], &block].concat();
            peer.write_all(&frame).await.expect("it is read");
        }
        peer.shutdown().await.expect("it can be closed");
    };
    let receiving = async {
        let (mut on_their_way, mut count, mut most) = (VecDeque::new(), 0, 0);
        loop {
            while let Some(event) = receive_buffer.next().expect("good frames") {
                let Event::Block(found) = event else { panic!("{event:?}") };
                assert_eq!(found, block(count, sizes[count]));
                on_their_way.push_back(found);
                count += 1;
                if on_their_way.len() > kept {
                    on_their_way.pop_front();
                }
            }
            tcp.readable().await.expect("it is there");
            assert!(receive_buffer.ensure_space(), "there is memory");
            most = most.max(receive_buffer.held_bytes());
            if receive_buffer.read(&tcp).expect("it is there") == ReadOutcome::Closed {
                break;
            }
        }
        receive_buffer.finish().expect("no frame is cut");
        assert_eq!(count, sizes.len());
        most
    };
    let ((), most) = tokio::join!(sending, receiving);
    assert!(budget.bytes() >= receive_buffer.held_bytes());
    receive_buffer.shrink();
    assert_eq!((receive_buffer.held_bytes(), budget.bytes()), (0, 0));
    most
}

#[tokio::test]
async fn few_small_blocks_use_one_small_buffer() {
    assert!(check(&[100; 10], 10).await <= BUFFER_BYTES_MIN);
}

#[tokio::test]
async fn buffers_are_reused_after_their_blocks_are_gone() {
    let most = check(&[60_000; 1000], 8).await;
    assert!(most <= 3 * BUFFER_BYTES_MAX, "60 MB took {most} bytes at a time");
}

#[tokio::test]
async fn blocks_of_all_sizes_arrive_in_bounded_memory() {
    let sizes: Vec<_> = (0..2000).map(|i| (i * i * 7919) % 40_000).collect();
    let most = check(&sizes, 30).await;
    assert!(most <= 4 * BUFFER_BYTES_MAX, "{most} bytes at a time");
    let _ = check(&sizes, 0).await;
}

#[tokio::test]
async fn huge_block_gets_memory_as_it_arrives_and_frees_it_after() {
    let mut sizes = vec![20 << 20];
    sizes.extend([1000; 5000]);
    let most = check(&sizes, 1).await;
    assert!((20 << 20..=24 << 20).contains(&most), "{most} bytes at a time");
}

#[tokio::test]
async fn block_that_can_never_fit_is_refused_at_its_header() {
    let budget = RequestBudget::new(BUDGET_BYTES);
    for (body_bytes, fits) in [(BUDGET_BYTES - (1 << 20), true), (BUDGET_BYTES, false)] {
        let size = u32::try_from(body_bytes).expect("small");
        let header = Header { count: 1, body_size: size, raw_size: size, ..Header::default() };
        let frame =
            [&blocks_header(BLOCK_HEADER_BYTES + body_bytes)[..], &header.encode().0].concat();
        let memory = ProducerMemory::new(budget.reservation());
        let mut receive_buffer = ReceiveBuffer::new(1 << 30, memory, &frame.into());
        assert_eq!(receive_buffer.next().expect("a valid header"), None);
        let checked = receive_buffer.check_partial_frame().map_err(|error| error.code);
        assert_eq!(checked, if fits { Ok(()) } else { Err(Code::RecordTooLarge) });
    }
}

#[tokio::test]
async fn memory_to_decompress_a_large_record_is_counted() {
    let budget = RequestBudget::new(10 << 20);
    let buffer =
        || ReceiveBuffer::new(1 << 30, ProducerMemory::new(budget.reservation()), &Bytes::new());
    let (mut first, mut second) = (buffer(), buffer());
    first.reserve_to_decompress(1000, BLOCK_RAW_BYTES_MAX).expect("a usual block");
    assert_eq!(budget.bytes(), 0);
    first.reserve_to_decompress(1000, 6 << 20).expect("memory is free");
    assert_eq!(budget.bytes(), 6 << 20);
    let refused = |result: Result<(), Error>| result.map_err(|error| error.code);
    assert_eq!(refused(second.reserve_to_decompress(1000, 6 << 20)), Err(Code::Overloaded));
    let too_large = second.reserve_to_decompress(1000, 10 << 20);
    assert_eq!(refused(too_large), Err(Code::RecordTooLarge));
    first.shrink();
    second.reserve_to_decompress(1000, 6 << 20).expect("memory is free again");
}

#[tokio::test(start_paused = true)]
async fn large_buffers_are_freed_while_only_heartbeats_arrive() {
    // A producer that sent a heartbeat every 0.9 s once kept megabytes for ever.
    let (mut peer, tcp) = connected_pair().await;
    let tcp = Transport::from(tcp);
    let budget = RequestBudget::new(BUDGET_BYTES);
    let mut receive_buffer =
        ReceiveBuffer::new(1 << 30, ProducerMemory::new(budget.reservation()), &Bytes::new());
    let large = block(0, 1 << 20);
    let sending = async {
        let frame = [&blocks_header(large.len())[..], &large].concat();
        peer.write_all(&frame).await.expect("it is read");
    };
    let receiving = async {
        while receive_buffer.next().expect("good frames").is_none() {
            tcp.readable().await.expect("it is there");
            assert!(receive_buffer.ensure_space(), "there is memory");
            let _ = receive_buffer.read(&tcp).expect("it is there");
        }
    };
    tokio::join!(sending, receiving);
    assert!(budget.bytes() >= 1 << 20);
    let begun = Instant::now();
    let mut beat = BytesMut::new();
    frame::encode_heartbeat(None, &mut beat);
    while receive_buffer.shrinks_at().is_some_and(|at| at > Instant::now()) {
        assert!(begun.elapsed() < 3 * SHRINK_AFTER, "they are kept for ever");
        tokio::time::advance(SHRINK_AFTER * 9 / 10).await;
        peer.write_all(&beat[..5]).await.expect("it is read");
        tcp.readable().await.expect("it is there");
        assert!(receive_buffer.ensure_space(), "there is memory");
        assert_eq!(receive_buffer.read(&tcp).expect("it is there"), ReadOutcome::Bytes(5));
    }
    receive_buffer.shrink();
    // The beginning of a frame is kept, but not the buffer that it was in.
    assert!(
        receive_buffer.has_partial_frame() && receive_buffer.held_bytes() < 1 << 10,
        "{}",
        receive_buffer.held_bytes()
    );
    assert_eq!(budget.bytes(), receive_buffer.held_bytes());
}
