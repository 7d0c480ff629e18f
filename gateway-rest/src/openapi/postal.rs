//! The two paths that take webhooks of Postal. Their bodies are Postal's, so there is no message of the
//! contract to make a description from.
//!
//! Constant data; a crash has nothing to lose.

use serde_json::{Value, json};

use crate::postal::{OLD_PATH, PATH, WEBHOOK_BYTES_MAX};

/// Path and operation of each.
pub(super) fn operations() -> [(&'static str, Value); 2] {
    let mut old = operation("receivePostalWebhookOldPath", "the path of the old system");
    old["responses"]["401"] = json!({
        "description": "No signature of a trusted key; as in the old system there is no body.",
    });
    let mut own = operation("receivePostalWebhook", "a path that nobody else knows");
    own["parameters"].as_array_mut().into_iter().for_each(|list| {
        list.push(json!({
            "name": "endpoint", "in": "path", "required": true, "schema": {"type": "string"},
            "description": "The value of POSTERN_POSTAL_ENDPOINT.",
        }));
    });
    [(OLD_PATH, old), (PATH, own)]
}

fn operation(id: &str, path: &str) -> Value {
    let problem = json!({"$ref": "#/components/responses/Problem"});
    json!({
        "operationId": id,
        "tags": ["Postal"],
        "summary": format!("Takes a webhook of Postal, at {path}"),
        "description": format!(
            "For Postal, not for clients. An RSA signature (PKCS #1 v1.5) by a trusted key over the \
             octets of the body is what lets a request in; without one, or without a trusted key, \
             it is answered 401. A body has at most {WEBHOOK_BYTES_MAX} octets. Success means that \
             the report is stored; after any other answer Postal sends it again."
        ),
        "security": [],
        "parameters": [
            field(
                "X-Postal-Signature-256",
                "Base64 of the signature with SHA-256. Where it is given it alone decides.",
            ),
            field(
                "X-Postal-Signature",
                "Base64 of the signature with SHA-1; counts only where the core is told so by \
                 POSTERN_POSTAL_ALLOW_SHA1.",
            ),
            field(
                "X-Postal-Signature-KID",
                "The id of the key that signed. Only that key is tried; an unknown one is refused.",
            ),
        ],
        "requestBody": {"required": true, "content": {"application/json": {"schema": {
            "type": "object",
            "required": ["event", "uuid", "payload"],
            "properties": {
                "event": {"type": "string", "examples": ["MessageSent"]},
                "timestamp": {
                    "type": "number",
                    "description": "Seconds since 1970; opens and clicks need it.",
                },
                "uuid": {"type": "string", "description": "The same report is applied once."},
                "payload": {"type": "object", "additionalProperties": true},
            },
        }}}},
        "responses": {
            "200": {
                "description": "The report is stored, or was before.",
                "content": {"application/json": {"schema": {
                    "type": "object", "properties": {"received": {"type": "boolean"}},
                }}},
            },
            "default": problem,
        },
    })
}

fn field(name: &str, description: &str) -> Value {
    json!({
        "name": name, "in": "header", "description": description, "schema": {"type": "string"},
    })
}
