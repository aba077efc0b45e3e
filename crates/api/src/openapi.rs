//! The API document, in the form of `OpenAPI` 3.1, made from the tables of routes and the schemas of their forms.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::operation::{Input, Needs, Operation, Output, Shape};
use crate::problem::Manner;
use crate::routes::{ALL, area_of};

/// Where named schemas stand in the document.
const SCHEMAS: &str = "/components/schemas";

/// The whole document. The same program always gives the same one.
#[must_use]
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = SCHEMAS.into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for (tag, operations) in ALL {
        for operation in *operations {
            let path = paths.entry(template(operation.path)).or_insert_with(|| json!({}));
            if let Some(path) = path.as_object_mut() {
                path.insert(operation.verb.as_str().to_owned(), describe(tag, operation, &mut generator));
            }
        }
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
    schemas.insert("SeedProblem".to_owned(), seed_problem());
    schemas.insert("JobsProblem".to_owned(), jobs_problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lazaret",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Sealed agents: sessions, envs, agents and what they need. Below /api are the paths and forms of the \
                            container-per-chat server, with a token as the one thing more.",
        },
        "tags": ALL.iter().map(|(tag, _)| json!({ "name": tag })).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "Made by `lazaret token add`." } },
        },
    })
}

fn describe(tag: &'static str, operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = names_in(operation.path)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    if let Some(query) = operation.query {
        parameters.extend(query_parameters(query, generator));
    }
    let mut out = json!({
        "tags": [tag],
        "operationId": identity(operation),
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses(operation, generator),
    });
    let examples = operation.examples.map(|examples| examples()).unwrap_or_default();
    let body = match operation.input {
        Input::Nothing => None,
        Input::Json(shape) => Some(json!({ "content": { "application/json": { "schema": shape(generator) } } })),
        Input::Bytes(kind) => Some(json!({ "content": { kind: { "schema": { "type": "string", "format": "binary" } } } })),
    };
    if let Some(mut body) = body {
        if let Some((kind, shape)) = operation.other_input {
            body["content"][kind] = json!({ "schema": shape(generator) });
        }
        if !examples.request.is_null() {
            body["content"]["application/json"]["example"] = examples.request;
        }
        out["requestBody"] = body;
    }
    if !examples.answer.is_null() {
        out["responses"][operation.status.to_string()]["content"]["application/json"]["example"] = examples.answer;
    }
    let (scope, whole) = match operation.needs {
        Needs::Nothing => {
            out["security"] = json!([]);
            return out;
        }
        Needs::Scope(scope) => (scope, false),
        Needs::Whole(scope) => (scope, true),
    };
    let area = area_of(tag);
    out["security"] = json!([{ "token": [format!("{area}:{}", scope.as_str())] }]);
    out["x-area"] = json!(area);
    out["x-scope"] = json!(scope.as_str());
    out["x-no-tenant"] = json!(whole);
    out
}

fn responses(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut content = match operation.output {
        Output::Json(shape) => json!({ "application/json": { "schema": shape(generator) } }),
        Output::Bytes(kinds) => {
            let bytes = |kind: &&str| ((*kind).to_owned(), json!({ "schema": { "type": "string", "format": "binary" } }));
            Value::Object(kinds.iter().map(bytes).collect())
        }
    };
    if let Some(content) = content.as_object_mut() {
        let stream = |kind: &&str| ((*kind).to_owned(), json!({ "schema": { "type": "string" } }));
        content.extend(operation.streams.iter().map(stream));
    }
    let form = match Manner::of(operation.path) {
        Manner::Own => "Problem",
        Manner::Chats => "SeedProblem",
        Manner::Jobs => "JobsProblem",
    };
    let problem = json!({ "$ref": format!("#{SCHEMAS}/{form}") });
    let mut all = Map::new();
    let mut good = json!({ "description": "Done." });
    if content.as_object().is_some_and(|kinds| !kinds.is_empty()) {
        good["content"] = content;
    }
    all.insert(operation.status.to_string(), good);
    let failure = |why: &str| json!({ "description": why, "content": { "application/json": { "schema": problem } } });
    all.extend(operation.failures.iter().map(|(status, why)| (status.to_string(), failure(why))));
    all.insert("default".to_owned(), failure("Refused or failed."));
    Value::Object(all)
}

/// A path as the document writes it: a part that may hold slashes is written like every other.
fn template(path: &str) -> String {
    path.replace("{*", "{")
}

/// The fields of a query, one by one.
fn query_parameters(query: Shape, generator: &mut SchemaGenerator) -> Vec<Value> {
    let schema = query(generator).to_value();
    let named = schema["$ref"].as_str().and_then(|at| at.rsplit('/').next()).map(str::to_owned);
    let schema = match named {
        Some(name) => generator.definitions().get(&name).cloned().unwrap_or(schema),
        None => schema,
    };
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let description = schema.as_object_mut().and_then(|fields| fields.remove("description"));
        let is_required = required.iter().any(|field| field == name.as_str());
        json!({ "name": name, "in": "query", "required": is_required, "description": description, "schema": schema })
    };
    schema["properties"].as_object().into_iter().flatten().map(parameter).collect()
}

/// The names in braces of a path.
fn names_in(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).map(|name| name.trim_start_matches('*'))
}

/// What a generated client calls it: `get_v1_sessions_id`.
fn identity(operation: &Operation) -> String {
    let mut name = operation.verb.as_str().to_owned();
    for word in operation.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        name.push('_');
        name.push_str(word);
    }
    name
}

fn problem() -> Value {
    json!({
        "type": "object",
        "properties": { "error": {
            "type": "object",
            "properties": {
                "code": { "type": "string", "enum": model::Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>() },
                "message": { "type": "string" },
                "hint": { "type": "string", "description": "What to do about it." },
                "field": { "type": "string", "description": "The field that is meant." },
                "request_id": { "type": "string", "description": "Also in the header `x-request-id`, and in the log." },
            },
            "required": ["code", "message", "request_id"],
            "additionalProperties": false,
        } },
        "required": ["error"],
    })
}

fn jobs_problem() -> Value {
    json!({
        "type": "object",
        "description": "What was sent wrongly is an `error`, all else a `detail`.",
        "properties": { "error": { "type": "string" }, "detail": { "type": "string" }, "code": { "type": "string" } },
        "required": ["code"],
    })
}

fn seed_problem() -> Value {
    json!({
        "type": "object",
        "properties": { "detail": { "type": "string" }, "code": { "type": "string" } },
        "required": ["detail"],
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_route_is_there_once_and_has_a_name_of_its_own() {
        let document = document();
        let mut seen = HashSet::new();
        for operation in ALL.iter().flat_map(|(_, operations)| operations.iter()) {
            assert!(seen.insert((operation.verb.as_str(), operation.path)), "{} twice", operation.path);
            assert!(seen.insert(("name", Box::leak(identity(operation).into_boxed_str()))), "{}", identity(operation));
            assert!(document["paths"][template(operation.path)][operation.verb.as_str()].is_object(), "{}", operation.path);
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, schemas: &Value) {
            if let Some(at) = value["$ref"].as_str() {
                let name = at.strip_prefix("#/components/schemas/").unwrap_or_else(|| panic!("{at}"));
                assert!(schemas[name].is_object(), "{at}");
            }
            match value {
                Value::Object(fields) => fields.values().for_each(|value| walk(value, schemas)),
                Value::Array(items) => items.iter().for_each(|value| walk(value, schemas)),
                _ => {}
            }
        }
        let document = document();
        walk(&document, &document["components"]["schemas"]);
    }

    #[test]
    fn every_route_has_an_area_that_rights_can_name() {
        for (tag, _) in ALL {
            assert!(app::AREAS.contains(&area_of(tag)), "{tag}");
        }
    }

    #[test]
    fn only_what_tells_nothing_is_open() {
        let open: Vec<&str> = ALL.iter().flat_map(|(_, o)| o.iter()).filter(|o| o.needs == Needs::Nothing).map(|o| o.path).collect();
        assert_eq!(
            open,
            [
                "/hooks/{channel}", "/hooks/{channel}", "/hooks/{channel}/{*path}", "/hooks/{channel}/{*path}", "/health", "/ready",
                "/.well-known/parachute.json", "/api/health", "/api/discovery", "/", "/ui", "/ui/{file}", "/ui/{folder}/{file}",
                "/v1/login", "/v1/login/oidc", "/v1/login/oidc", "/v1/login/callback", "/openapi.json", "/docs", "/docs/docs.js"
            ]
        );
    }
}
