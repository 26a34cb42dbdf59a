//! `post`: many clients append one record per HTTP request. Each waits for the response
//! before it sends the next request.
//!
//! Each connection is its own producer, so its records are read back in the order in
//! which it sent them.

use std::sync::Arc;

use super::window::Window;
use super::{Harness, http_baseline, read_back};
use crate::Error;
use crate::environment::TemporaryLog;
use crate::outcome::{Outcome, Protocol};
use crate::payload::{PayloadKind, Stamp, Templates};
use crate::plan::Settings;
use crate::wire::connection::Endpoint;
use crate::wire::http::expect_ok;
use crate::wire::http_connections::{HttpConnections, RequestScript};
use crate::wire::response::Response;

const KIND: PayloadKind = PayloadKind::Random(100);

pub(super) fn run(harness: &Harness, connections: usize) -> Result<Outcome, Error> {
    let (server, settings) = (&harness.server, harness.settings);
    let templates = Arc::new(Templates::new(KIND));
    let endpoint = Endpoint::with_encryption(server)?;
    let (mut rates, mut baselines, mut written, mut checked) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..settings.rounds {
        harness.flush_file_system();
        baselines.push(http_baseline::rate(connections, |endpoint| {
            PostScript::new(endpoint, "bare", &templates, connections, settings)
        })?);
        let log = TemporaryLog::create(server)?;
        let mut posts = PostScript::new(&endpoint, log.name(), &templates, connections, settings);
        HttpConnections::connect(&endpoint, connections)?.run(&mut posts)?;
        rates.push(posts.window.rate());
        written += posts.answered;
        checked += read_back::check(server, log.name(), &templates, connections, posts.answered)?;
    }
    Ok(Outcome {
        workload: "post",
        protocol: Some(Protocol::Http),
        payload: Some(KIND),
        load: format!("{connections} connections, 1 record a request"),
        figures: http_baseline::figure("requests", rates, &baselines).into_iter().collect(),
        written,
        checked,
        notes: Vec::new(),
    })
}

/// Every connection posts one record after the other.
struct PostScript {
    templates: Arc<Templates>,
    head: Vec<u8>,
    /// The index of each connection's next record.
    next: Vec<u64>,
    request: Vec<u8>,
    answered: u64,
    window: Window,
}

impl PostScript {
    fn new(
        endpoint: &Endpoint,
        log: &str,
        templates: &Arc<Templates>,
        connections: usize,
        settings: Settings,
    ) -> PostScript {
        let body_headers = format!("Content-Length: {}\r\n", templates.payload_bytes() as u64);
        let head = endpoint.head(&format!("POST /logs/{log}/records"), &body_headers);
        PostScript {
            templates: Arc::clone(templates),
            head: head.into_bytes(),
            next: vec![0; connections],
            request: Vec::new(),
            answered: 0,
            window: Window::begin(settings),
        }
    }
}

impl RequestScript for PostScript {
    fn request(&mut self, number: usize) -> Option<&[u8]> {
        let answered = self.answered;
        if self.window.is_over(|| answered) {
            return None;
        }
        let index = self.next.get_mut(number)?;
        self.request.clear();
        self.request.extend_from_slice(&self.head);
        let producer = u16::try_from(number).ok()?;
        self.templates.append(Stamp { producer, index: *index }, &mut self.request);
        *index += 1;
        Some(&self.request)
    }

    fn response(&mut self, _number: usize, response: Response<'_>) -> Result<(), Error> {
        self.answered += 1;
        expect_ok(response.status, response.body)
    }
}

impl http_baseline::RatedScript for PostScript {
    fn rate(&self) -> f64 {
        self.window.rate()
    }
}
