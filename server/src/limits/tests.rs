use std::path::PathBuf;

use super::*;
use crate::auth::Principal;

/// Limits from a file, which is removed at the end.
struct Scene {
    path: PathBuf,
    limits: Limits,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Scene {
    fn new(text: &str) -> Scene {
        let name = format!("styx-limits-{:x}.toml", getrandom::u64().expect("random"));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("written");
        let config = Config { limits_file: Some(path.clone()), ..Config::default() };
        let limits = Limits::open(&config).expect("the file is valid");
        Scene { path, limits }
    }

    fn meter(&self, principal: &str, log: &str) -> Meter {
        self.limits.meter(&Access::Principal(Principal::with_grants(principal, &[])), log)
    }
}

#[tokio::test(start_paused = true)]
async fn principal_over_its_limit_is_refused_and_another_is_not() {
    let scene = Scene::new("[default]\nappend_requests = 3\nread_requests = 1");
    let (a, b) = (scene.meter("a", "x"), scene.meter("b", "x"));
    for _ in 0..3 {
        a.begin(Direction::Append).expect("it is within the limit");
    }
    let error = a.begin(Direction::Append).expect_err("it is not");
    assert_eq!((error.code, error.retry_after), (Code::TooManyRequests, Some(1)));
    assert!(
        error.message.contains("the principal a may append with 3 requests a second"),
        "{error}"
    );
    // Another request of the same principal has the same account.
    assert!(scene.meter("a", "y").begin(Direction::Append).is_err());
    assert!(b.begin(Direction::Append).is_ok() && a.begin(Direction::Read).is_ok());
    tokio::time::advance(Duration::from_millis(334)).await;
    assert!(a.begin(Direction::Append).is_ok() && a.begin(Direction::Append).is_err());
    // A request that has begun does not wait for the next one.
    assert_eq!(a.delay(Direction::Append, Part::Bytes), None);
}

#[tokio::test(start_paused = true)]
async fn limit_of_a_log_is_shared_by_its_principals() {
    let scene = Scene::new("[[log]]\nname = 'x*'\nread_bytes = 1000");
    let (a, b) = (scene.meter("a", "x1"), scene.meter("b", "x1"));
    a.charge(Direction::Read, 5000, 0);
    let wait = b.delay(Direction::Read, Part::Append).expect("the log's bucket is in debt");
    assert!(wait > Duration::from_secs(3) && wait <= Duration::from_millis(4002), "{wait:?}");
    assert!(b.begin(Direction::Read).expect_err("full").message.contains("on the log x1"));
    assert_eq!(scene.meter("a", "x2").delay(Direction::Read, Part::Append), None);
    assert_eq!(a.delay(Direction::Append, Part::Append), None);
    let begun = Instant::now();
    b.allowed(Direction::Read).await;
    assert!(begun.elapsed() >= wait);
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_read_are_as_small_as_its_limit() {
    let scene = Scene::new(
        "[[principal]]\nname = 'slow'\nread_bytes = 9000\n[[log]]\nname = 'x'\nread_bytes = 10000",
    );
    assert_eq!(scene.meter("slow", "x").part_bytes(1 << 20), 9000);
    assert_eq!(scene.meter("fast", "x").part_bytes(1 << 20), 10_000);
    assert_eq!(scene.meter("fast", "x").part_bytes(100), 100);
    assert_eq!(scene.meter("fast", "y").part_bytes(1 << 20), 1 << 20);
    assert_eq!(Meter::default().part_bytes(1 << 20), 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn connections_are_counted_until_they_end() {
    let scene = Scene::new("[default]\nconnections = 2\n[[log]]\nname = 'x'\nconnections = 3");
    let (a, b) = (scene.meter("a", "x"), scene.meter("b", "x"));
    let held = [a.connect().expect("one"), a.connect().expect("two")];
    let error = a.connect().expect_err("no third");
    assert!(error.message.contains("the principal a has 2 requests"), "{error}");
    let third = b.connect().expect("the log has three");
    assert!(b.connect().expect_err("full").message.contains("the log x has 3 requests"));
    assert!(scene.meter("b", "y").connect().expect("another log").is_some());
    drop(third);
    drop(held);
    assert!(a.connect().is_ok());
}

#[tokio::test(start_paused = true)]
async fn changed_file_applies_to_meters_in_use_and_a_broken_one_changes_nothing() {
    let scene = Scene::new("");
    let a = scene.meter("a", "x");
    let replace = |text: &str| {
        std::fs::write(&scene.path, text).expect("written");
        scene.limits.reload();
    };
    a.charge(Direction::Append, usize::MAX, 1);
    assert_eq!(a.delay(Direction::Append, Part::Append), None);
    replace("[default]\nappend_bytes = 1");
    a.charge(Direction::Append, 100, 1);
    assert!(a.delay(Direction::Append, Part::Append).is_some());
    replace("[default]\nappend_bites = 2");
    assert!(a.delay(Direction::Append, Part::Append).is_some());
    replace("[[principal]]\nname = 'b'\nappend_bytes = 1");
    assert_eq!(a.delay(Direction::Append, Part::Append), None);
}

#[test]
fn missing_or_broken_file_is_an_error_and_no_file_is_no_limit() {
    let config = Config { limits_file: Some("/nonexistent/limits".into()), ..Config::default() };
    let error = Limits::open(&config).expect_err("there is none").to_string();
    assert!(error.contains("cannot use limits_file /nonexistent/limits"), "{error}");
    let limits = Limits::open(&Config::default()).expect("off");
    assert!(!limits.is_on() && limits.meter(&Access::Off, "x").0.is_none());
}
