//! [`Operation`]: one path and method, and its description in the document.

use http::Method;
use serde_json::{Map, Value, json};

use super::super::route::Route;
use super::{reference, responses};
use crate::auth::Rule;

/// Statuses of errors that every request can get.
const ANY: &[u16] = &[500, 503];
/// The same, if the request needs a token while access control is on.
const OF_ACCESS: &[u16] = &[401, 403, 429];

/// One operation.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// Whether the path takes `HEAD` as well.
    pub(super) has_head: bool,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    /// Names in [`parameters`](super::parameters).
    pub(super) parameters: &'static [&'static str],
    pub(super) request: Request,
    /// The forms of the answer. Without one the answer is empty.
    pub(super) answer: &'static [Body],
    /// Names in [`responses::headers`].
    pub(super) headers: &'static [&'static str],
    /// Statuses of errors besides those that every request can get.
    pub(super) errors: &'static [u16],
    /// Operations that take the name of the log in the answer.
    pub(super) links: &'static [&'static str],
}

/// The body that an operation takes.
pub(super) enum Request {
    None,
    Optional(&'static [Body]),
    Required(&'static [Body]),
}

/// A media type and the name of its schema.
pub(super) type Body = (&'static str, &'static str);

pub(super) const GET: Operation = Operation {
    method: "get",
    path: "",
    has_head: false,
    id: "",
    summary: "",
    description: "",
    parameters: &[],
    request: Request::None,
    answer: &[],
    headers: &[],
    errors: &[],
    links: &[],
};
pub(super) const POST: Operation = Operation { method: "post", ..GET };
pub(super) const PUT: Operation = Operation { method: "put", ..GET };
pub(super) const DELETE: Operation = Operation { method: "delete", ..GET };

impl Operation {
    pub(super) fn describe(&self) -> Value {
        let mut described = Map::new();
        described.insert("operationId".to_owned(), self.id.into());
        described.insert("summary".to_owned(), self.summary.into());
        let access = access(self.rule());
        let description = [self.description, &access].join(" ");
        if !description.trim().is_empty() {
            described.insert("description".to_owned(), description.trim().into());
        }
        if !self.parameters.is_empty() {
            described.insert("parameters".to_owned(), self.parameters());
        }
        match self.request {
            Request::None => {}
            Request::Optional(bodies) => {
                described.insert("requestBody".to_owned(), request_body(bodies, false));
            }
            Request::Required(bodies) => {
                described.insert("requestBody".to_owned(), request_body(bodies, true));
            }
        }
        described.insert("responses".to_owned(), self.responses(self.success()));
        described.into()
    }

    /// The `HEAD` of this path: the same answer without its body.
    pub(super) fn describe_head(&self) -> Value {
        json!({
            "operationId": format!("{}Head", self.id),
            "summary": format!("{} (headers only)", self.summary),
            "parameters": self.parameters(),
            "responses": self.responses(json!({ "description": "The headers of the answer." })),
        })
    }

    /// What the row of the route table requires.
    fn rule(&self) -> Rule {
        let path = self.path.replace("{name}", "a-log").replace("{cursor}", "a-cursor");
        let method =
            Method::try_from(self.method.to_ascii_uppercase().as_str()).unwrap_or_default();
        let endpoint = Route::find(&path, &method).and_then(|(route, _)| route.endpoint(&method));
        endpoint.map_or(Rule::AnyToken, |endpoint| endpoint.rule)
    }

    fn parameters(&self) -> Value {
        self.parameters.iter().map(|name| reference("parameters", name)).collect()
    }

    fn responses(&self, success: Value) -> Value {
        let mut responses = Map::new();
        responses.insert("200".to_owned(), success);
        let of_access = if self.rule() == Rule::Public { &[] } else { OF_ACCESS };
        for status in self.errors.iter().chain(ANY).chain(of_access) {
            responses.insert(status.to_string(), responses::error(*status));
        }
        if self.errors.contains(&426) {
            let description = "The connection now belongs to the protocol that `Upgrade` names.";
            responses.insert("101".to_owned(), json!({ "description": description }));
        }
        responses.into()
    }

    fn success(&self) -> Value {
        let mut success = json!({ "description": "The operation succeeded." });
        if !self.headers.is_empty() {
            let headers = self.headers.iter();
            let headers = headers.map(|name| ((*name).to_owned(), reference("headers", name)));
            success["headers"] = headers.collect::<Map<_, _>>().into();
        }
        if !self.answer.is_empty() {
            success["content"] = content(self.answer);
        }
        if !self.links.is_empty() {
            let links = self.links.iter().map(|id| {
                let name = json!({ "name": "$response.body#/name" });
                ((*id).to_owned(), json!({ "operationId": id, "parameters": name }))
            });
            success["links"] = links.collect::<Map<_, _>>().into();
        }
        success
    }
}

/// What a token must allow, in words.
fn access(rule: Rule) -> String {
    match rule {
        Rule::Public => String::new(),
        Rule::AnyToken => "With access control: needs a valid token.".to_owned(),
        Rule::Somewhere(action) => {
            format!("With access control: needs the grant `{action}` on some log.")
        }
        Rule::See => "With access control: needs any grant on the log.".to_owned(),
        Rule::OnLog(action) | Rule::OnNamedLog(action) => {
            format!("With access control: needs the grant `{action}` on the log.")
        }
        Rule::Stream => {
            "With access control: needs the grant `read` on the log, or `append` for a \
                         stream that writes."
                .to_owned()
        }
        Rule::ChangeCursor => {
            "With access control: needs the grant `manage` on the log, or `read` \
                               for a cursor with the name of the token."
                .to_owned()
        }
    }
}

fn request_body(bodies: &[Body], required: bool) -> Value {
    json!({ "required": required, "content": content(bodies) })
}

fn content(bodies: &[Body]) -> Value {
    let bodies = bodies.iter().map(|(media_type, schema)| {
        ((*media_type).to_owned(), json!({ "schema": reference("schemas", schema) }))
    });
    bodies.collect::<Map<_, _>>().into()
}
