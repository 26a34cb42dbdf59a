//! kill -9 while cursors are set: an answered cursor is never lost and never goes back, and no
//! position appears that was not sent.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use styx_tests::faults::Faults;
use styx_tests::wait::SetOnDrop;
use styx_tests::{Request, TestServer};

/// Each thread moves its own cursor.
const CURSORS: usize = 4;

/// The state of a thread's cursor: the last answered position and version, and whether the next
/// position was sent without an answer.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    position: u64,
    version: u64,
    is_uncertain: bool,
}

fn put(cursor: usize, position: u64) -> Request {
    Request::new("PUT", &format!("/logs/a/cursors/c{cursor}"))
        .typed("application/json", format!("{{\"position\": {position}}}"))
}

#[test]
fn no_answered_cursor_is_lost_by_kill_9() {
    let Faults { cycles, seed, mut random } = Faults::new(15);
    let mut server = TestServer::start();
    server.create("a");
    let lines = "x\n".repeat(200_000);
    let _ = server.ask(&styx_tests::api::write_lines("a", &lines)).expect(200);
    let known: Vec<Mutex<Known>> = (0..CURSORS).map(|_| Mutex::default()).collect();
    for cycle in 0..cycles {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _over = SetOnDrop(&is_over);
            for (cursor, known) in known.iter().enumerate() {
                let (server, is_over) = (&server, &is_over);
                let mut connection = server.connect();
                scope.spawn(move || {
                    let mut known = known.lock().expect("one thread");
                    while !is_over.load(Ordering::Relaxed) {
                        known.is_uncertain = true;
                        let request = put(cursor, known.position + 1);
                        let Ok(answer) = connection.exchange(&request) else { return };
                        if answer.status() != 200 {
                            return;
                        }
                        let version = answer.json()["version"].as_u64().expect("a version");
                        assert!(version > known.version, "version {version} is used again");
                        let position = known.position + 1;
                        *known = Known { position, version, is_uncertain: false };
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(random.between(1, 120)));
            kill(&server);
        });
        server.restart();
        for (cursor, known) in known.iter().enumerate() {
            let mut known = known.lock().expect("no thread is left");
            let answer = server.ask(&Request::get(&format!("/logs/a/cursors/c{cursor}")));
            let (position, version) = match answer.status() {
                404 => (0, 0),
                _ => {
                    let json = answer.expect(200).json();
                    let number = |field: &str| json[field].as_u64().expect("a number");
                    (number("position"), number("version"))
                }
            };
            let next = known.position + u64::from(known.is_uncertain);
            assert!(
                (known.position..=next).contains(&position) && version >= known.version,
                "cycle {cycle}, seed {seed}: c{cursor} is at {position} with version {version}, \
                 but {known:?} was answered"
            );
            *known = Known { position, version, is_uncertain: false };
        }
    }
    let answered: u64 = known.iter().map(|known| known.lock().expect("no thread").position).sum();
    println!("{answered} changes were answered");
    assert!(answered > cycles, "only {answered} changes in {cycles} cycles");
}

fn kill(server: &TestServer) {
    server.tell(rustix::process::Signal::KILL);
}
