//! `post`: many clients append one record at a time over HTTP, each waiting for
//! its answer before it sends the next.
//!
//! Each connection is a producer of its own: its records come back in the order
//! in which it sent them.

use std::sync::Arc;

use super::window::Window;
use super::{Bench, bare, read_back};
use crate::benchmark::outcome::{Outcome, Protocol};
use crate::benchmark::payload::{Kind, Stamp, Templates};
use crate::benchmark::place::Log;
use crate::benchmark::plan::Settings;
use crate::benchmark::wire::answer::Answer;
use crate::benchmark::wire::connection::Route;
use crate::benchmark::wire::crowd::{Crowd, Script};
use crate::benchmark::wire::http::accepted;
use crate::failure::Failure;

const KIND: Kind = Kind::Random(100);

pub(super) fn run(bench: &Bench, connections: usize) -> Result<Outcome, Failure> {
    let (server, settings) = (&bench.server, bench.settings);
    let templates = Arc::new(Templates::new(KIND));
    let route = Route::to(server)?;
    let (mut rates, mut bares, mut written, mut checked) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..settings.rounds {
        bench.settle();
        bares.push(bare::rate(connections, |route| {
            Posts::new(route, "bare", &templates, connections, settings)
        })?);
        let log = Log::create(server)?;
        let mut posts = Posts::new(&route, log.name(), &templates, connections, settings);
        Crowd::connect(&route, connections)?.run(&mut posts)?;
        rates.push(posts.window.rate());
        written += posts.answered;
        checked += read_back::check(server, log.name(), &templates, connections, posts.answered)?;
    }
    Ok(Outcome {
        workload: "post",
        protocol: Some(Protocol::Http),
        payload: Some(KIND),
        load: format!("{connections} connections, 1 record a request"),
        figures: bare::figures(rates, bares),
        written,
        checked,
        notes: Vec::new(),
    })
}

/// Everybody posts one record after the other.
struct Posts {
    templates: Arc<Templates>,
    head: Vec<u8>,
    /// The index of each member's next record.
    next: Vec<u64>,
    request: Vec<u8>,
    answered: u64,
    window: Window,
}

impl Posts {
    fn new(
        route: &Route,
        log: &str,
        templates: &Arc<Templates>,
        connections: usize,
        settings: Settings,
    ) -> Posts {
        let of_body = format!("Content-Length: {}\r\n", templates.payload_bytes() as u64);
        let head = route.head(&format!("POST /logs/{log}/records"), &of_body);
        Posts {
            templates: Arc::clone(templates),
            head: head.into_bytes(),
            next: vec![0; connections],
            request: Vec::new(),
            answered: 0,
            window: Window::begin(settings),
        }
    }
}

impl Script for Posts {
    fn request(&mut self, member: usize) -> Option<&[u8]> {
        let answered = self.answered;
        if self.window.is_over(|| answered) {
            return None;
        }
        let index = self.next.get_mut(member)?;
        self.request.clear();
        self.request.extend_from_slice(&self.head);
        let producer = u16::try_from(member).ok()?;
        self.templates.append(Stamp { producer, index: *index }, &mut self.request);
        *index += 1;
        Some(&self.request)
    }

    fn answer(&mut self, _member: usize, answer: Answer<'_>) -> Result<(), Failure> {
        self.answered += 1;
        accepted(answer.status, answer.body)
    }
}

impl bare::Timed for Posts {
    fn rate(&self) -> f64 {
        self.window.rate()
    }
}
