//! `PostalService`.

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1;
use postern_proto::v1::postal_service_server::PostalService;
use tonic::{Request, Response, Status};

use crate::postal::event::BadEvent;
use crate::postal::hook::{Refused, Webhook};
use crate::postal::verify::{Refusal, Signatures};

use super::Context;

/// The service.
pub struct Postal(pub Context);

#[tonic::async_trait]
impl PostalService for Postal {
    async fn receive_webhook(
        &self,
        request: Request<v1::ReceiveWebhookRequest>,
    ) -> Result<Response<v1::ReceiveWebhookResponse>, Status> {
        self.0.gate.authorise_gateway(request.metadata())?;
        let request = request.into_inner();
        let webhook = Webhook {
            endpoint: &request.endpoint,
            body: &request.body,
            signatures: Signatures {
                sha256: &request.signature_256,
                sha1: &request.signature,
                key_id: &request.key_id,
            },
        };
        self.0.hook.receive(webhook).await.map_err(failure)?;
        Ok(Response::new(v1::ReceiveWebhookResponse {}))
    }
}

/// What Postal is told. Anything but an OK makes it try again.
fn failure(refused: Refused) -> Failure {
    match refused {
        Refused::Endpoint => Failure::new(Reason::RouteNotFound, "there is no such endpoint"),
        Refused::Signature(Refusal::NoKey) => {
            let text = "no key of Postal is configured, so no webhook can be verified";
            Failure::new(Reason::SignatureInvalid, text)
        }
        Refused::Signature(refusal) => {
            Failure::new(Reason::SignatureInvalid, format!("the webhook is refused: {refusal}"))
        }
        Refused::Event(BadEvent::NotJson) => {
            Failure::new(Reason::MalformedJson, "the body is no JSON object")
        }
        Refused::Event(BadEvent::Field(field)) => {
            Failure::field(Reason::MissingField, field, "is missing or cannot be used")
        }
        Refused::Store(error) => error.into(),
    }
}
