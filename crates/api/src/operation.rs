//! What one route is: who may call it, what it takes, what it answers. The router, the check of scopes and the API
//! document are all made from these tables, so that none of them can say something else than the others.

use app::Scope;
use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use crate::Api;

/// Writes the schema of one type.
pub(crate) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// The schema of `T`.
pub(crate) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A page of `T`.
pub(crate) fn page_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let item = generator.subschema_for::<T>();
    schemars::json_schema!({
        "type": "object",
        "properties": {
            "items": { "type": "array", "items": item },
            "next": { "type": ["string", "null"], "description": "What to send as `after` for the next page; null at the end." },
        },
        "required": ["items", "next"],
    })
}

/// Any JSON object.
pub(crate) fn object(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "object" })
}

/// The method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::Post => "post",
            Verb::Put => "put",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
        }
    }
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Anybody: it tells nothing.
    Nothing,
    /// A token of at least this scope; a tenant's sees its tenant only.
    Scope(Scope),
    /// A token of at least this scope that belongs to no tenant: what it touches is everybody's.
    Whole(Scope),
}

/// What a request brings.
#[derive(Clone, Copy)]
pub(crate) enum Input {
    Nothing,
    Json(Shape),
    /// Bytes of this media type.
    Bytes(&'static str),
}

/// What an answer brings.
#[derive(Clone, Copy)]
pub(crate) enum Output {
    Json(Shape),
    /// Bytes of these media types.
    Bytes(&'static [&'static str]),
}

/// A request and the answer to it, for the API document; null where there is none.
#[derive(Default)]
pub(crate) struct Examples {
    pub(crate) request: Value,
    pub(crate) answer: Value,
}

/// The longest body of a request that is read whole, unless its route says otherwise.
pub(crate) const BODY_BYTES_MAX: usize = 2 << 20;

/// One route.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) needs: Needs,
    pub(crate) query: Option<Shape>,
    pub(crate) input: Input,
    pub(crate) body_bytes_max: usize,
    /// The answers besides failures: status and content.
    pub(crate) status: u16,
    pub(crate) output: Output,
    /// Other media types in which the answer comes, for who asks for them with `Accept`.
    pub(crate) streams: &'static [&'static str],
    /// Another form in which a request may come.
    pub(crate) other_input: Option<(&'static str, Shape)>,
    /// Failures that its clients meet in the ordinary course of things.
    pub(crate) failures: &'static [(u16, &'static str)],
    /// What a request and its answer look like.
    pub(crate) examples: Option<fn() -> Examples>,
    pub(crate) handler: fn() -> MethodRouter<Api>,
}

impl Operation {
    /// A route that needs the scope `read` for GET and `write` for everything else, and answers 200 with an object.
    pub(crate) const fn new(verb: Verb, path: &'static str, summary: &'static str, handler: fn() -> MethodRouter<Api>) -> Self {
        let needs = Needs::Scope(if matches!(verb, Verb::Get) { Scope::Read } else { Scope::Write });
        Self {
            verb,
            path,
            summary,
            needs,
            query: None,
            input: Input::Nothing,
            body_bytes_max: BODY_BYTES_MAX,
            status: 200,
            output: Output::Json(object),
            streams: &[],
            other_input: None,
            failures: &[],
            examples: None,
            handler,
        }
    }

    /// Who may call it.
    pub(crate) const fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    /// What stands behind the `?`.
    pub(crate) const fn asks(mut self, query: Shape) -> Self {
        self.query = Some(query);
        self
    }

    /// The JSON that a request brings.
    pub(crate) const fn takes(mut self, shape: Shape) -> Self {
        self.input = Input::Json(shape);
        self
    }

    /// The bytes that a request brings.
    pub(crate) const fn takes_bytes(mut self, kind: &'static str) -> Self {
        self.input = Input::Bytes(kind);
        self
    }

    /// How long its body may be.
    pub(crate) const fn at_most(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// The JSON that it answers.
    pub(crate) const fn gives(mut self, status: u16, shape: Shape) -> Self {
        self.status = status;
        self.output = Output::Json(shape);
        self
    }

    /// The media types in which it answers besides.
    pub(crate) const fn streams(mut self, kinds: &'static [&'static str]) -> Self {
        self.streams = kinds;
        self
    }

    /// The bytes that it answers.
    pub(crate) const fn gives_bytes(mut self, status: u16, kinds: &'static [&'static str]) -> Self {
        self.status = status;
        self.output = Output::Bytes(kinds);
        self
    }

    /// Another form in which a request may come.
    pub(crate) const fn takes_also(mut self, kind: &'static str, shape: Shape) -> Self {
        self.other_input = Some((kind, shape));
        self
    }

    /// The failures that its clients meet in the ordinary course of things, and what each means.
    pub(crate) const fn fails(mut self, failures: &'static [(u16, &'static str)]) -> Self {
        self.failures = failures;
        self
    }

    /// What a request and its answer look like.
    pub(crate) const fn shows(mut self, examples: fn() -> Examples) -> Self {
        self.examples = Some(examples);
        self
    }
}
