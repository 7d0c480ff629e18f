//! The codec of the contract. Requests are read strictly: a field that this version does not know,
//! which protobuf would skip in silence, is refused by its place, and so is text with a NUL, for
//! which no header field and no database has room. Answers are read leniently: a newer core may say
//! more.
//!
//! Constant data and no state; a request that a crash cuts off was not answered.

use std::marker::PhantomData;
use std::sync::LazyLock;

use bytes::{Buf as _, Bytes};
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

use crate::DESCRIPTORS;
use crate::reason::Reason;
use crate::status::{Failure, VIOLATIONS_MAX, Violation};

/// Nested deeper than this, prost reads no message.
const DEPTH_MAX: usize = 100;

static CONTRACT: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(DESCRIPTORS).expect("the build wrote the descriptors of the contract")
});

/// Writes `T` and reads `U`; strictly when that is a request.
#[derive(Debug, Clone)]
pub struct Strict<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Strict<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Strict<T, U>
where
    T: Message + 'static,
    U: Message + Name + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = StrictDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        StrictDecoder(PhantomData)
    }
}

/// Reads `U`.
#[derive(Debug, Clone)]
pub struct StrictDecoder<U>(PhantomData<U>);

impl<U: Message + Name + Default> Decoder for StrictDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let bytes = bytes.copy_to_bytes(bytes.remaining());
        // By the rule of the contract every request, and nothing else, has such a name.
        if U::NAME.ends_with("Request") {
            return Ok(Some(request(bytes)?));
        }
        U::decode(bytes).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Reads a request, or says everything that it should not contain.
fn request<U: Message + Name + Default>(bytes: Bytes) -> Result<U, Failure> {
    if let Some(kind) = CONTRACT.get_message_by_name(&U::full_name()) {
        let mut search = Search::default();
        search.message(&kind, &bytes);
        if !search.found.is_empty() {
            return Err(Failure::violations(search.found));
        }
    }
    // The text names the field and the type that was expected.
    U::decode(bytes).map_err(|error| Failure::new(Reason::MalformedRequest, error.to_string()))
}

/// The search for what a request should not contain, over its encoded form.
#[derive(Default)]
struct Search {
    /// The way to the message that is being looked at: fields and positions in them.
    path: Vec<(FieldDescriptor, usize)>,
    found: Vec<Violation>,
}

impl Search {
    /// Looks through a message. `None` where the bytes are none; reading them says why.
    fn message(&mut self, kind: &MessageDescriptor, mut bytes: &[u8]) -> Option<()> {
        let mut lists: Vec<(u32, usize)> = Vec::new();
        while !bytes.is_empty() && self.found.len() < VIOLATIONS_MAX {
            let (number, value) = entry(&mut bytes)?;
            let Some(field) = kind.get_field(number) else {
                let text = "is a field this version does not know; leave it out";
                self.add(Some(number), Reason::UnknownField, text);
                continue;
            };
            let Some(value) = value else { continue };
            let position = if field.is_list() { next_position(&mut lists, number) } else { 0 };
            let inner = field.kind();
            self.path.push((field, position));
            match inner {
                Kind::String if value.contains(&0) => {
                    self.add(None, Reason::ForbiddenCharacter, "contains NUL; remove it");
                }
                Kind::Message(inner) if self.path.len() <= DEPTH_MAX => {
                    self.message(&inner, value);
                }
                _ => {}
            }
            self.path.pop();
        }
        Some(())
    }

    /// Notes what is wrong with the field at the end of the path, or with one in it that has only a
    /// number.
    fn add(&mut self, number: Option<u32>, reason: Reason, message: &str) {
        let mut steps = Vec::new();
        let mut in_map = false;
        for (field, position) in &self.path {
            // The key and the value of a map are called as the map is.
            if !in_map {
                steps.push(spelled(field, *position));
            }
            in_map = field.is_map();
            if is_json(&field.kind()) {
                break;
            }
        }
        steps.extend(number.map(|number| number.to_string()));
        self.found.push(Violation { field: steps.join("."), reason, message: message.to_owned() });
    }
}

/// Whether a field holds JSON in protobuf's own form, whose parts no caller knows by name.
fn is_json(kind: &Kind) -> bool {
    matches!(kind, Kind::Message(message) if message.full_name() == "google.protobuf.Struct")
}

/// One field of an encoded message: its number, and its content when that has a length.
fn entry<'a>(bytes: &mut &'a [u8]) -> Option<(u32, Option<&'a [u8]>)> {
    let key = prost::decode_length_delimiter(&mut *bytes).ok()?;
    let number = u32::try_from(key >> 3).ok()?;
    let value = match key & 7 {
        0 => prost::decode_length_delimiter(&mut *bytes).ok().map(|_| None)?,
        1 => take(bytes, 8).map(|_| None)?,
        2 => {
            let length = prost::decode_length_delimiter(&mut *bytes).ok()?;
            Some(take(bytes, length)?)
        }
        5 => take(bytes, 4).map(|_| None)?,
        // Groups, which the contract has nowhere: the field is unknown, and the rest is not read.
        _ => {
            *bytes = &[];
            None
        }
    };
    Some((number, value))
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// The position of the next entry of a list, counted by the number of its field.
fn next_position(lists: &mut Vec<(u32, usize)>, number: u32) -> usize {
    if let Some((_, count)) = lists.iter_mut().find(|(of, _)| *of == number) {
        *count += 1;
        return *count;
    }
    lists.push((number, 0));
    0
}

fn spelled(field: &FieldDescriptor, position: usize) -> String {
    match field.is_list() {
        true => format!("{}[{position}]", field.name()),
        false => field.name().to_owned(),
    }
}

/// Whether the contract has a method under this path: `/postern.v1.MessageService/SendMessage`.
pub fn has_method(path: &str) -> bool {
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/'))
    else {
        return false;
    };
    let service = CONTRACT.get_service_by_name(service);
    service.is_some_and(|service| service.methods().any(|one| one.name() == method))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{OutgoingMessage, Recipient, SendMessageRequest};

    fn sending(message: OutgoingMessage) -> SendMessageRequest {
        SendMessageRequest { message: Some(message), ..SendMessageRequest::default() }
    }

    fn read(bytes: Vec<u8>) -> Result<SendMessageRequest, Failure> {
        request(bytes.into())
    }

    fn fields(failure: &Failure) -> Vec<(&str, Reason)> {
        failure.violations.iter().map(|v| (v.field.as_str(), v.reason)).collect()
    }

    #[test]
    fn what_the_contract_has_is_read() {
        let to = vec![Recipient { email: "ann@example.com".to_owned(), ..Recipient::default() }; 3];
        let metadata = [("k".to_owned(), "v".to_owned())].into();
        let asked = sending(OutgoingMessage { to, metadata, ..OutgoingMessage::default() });
        assert_eq!(read(asked.encode_to_vec()), Ok(asked));
        assert_eq!(read(Vec::new()), Ok(SendMessageRequest::default()));
    }

    #[test]
    fn an_unknown_field_is_named_by_its_place() {
        let mut bytes = sending(OutgoingMessage::default()).encode_to_vec();
        bytes.extend([0xf8, 0x3e, 1]);
        let failure = read(bytes).unwrap_err();
        assert_eq!(fields(&failure), [("1007", Reason::UnknownField)]);
        // A string in field 99 of the second recipient (field 2) of the message (field 1).
        let (first, second) = (vec![0x12, 0], vec![0x12, 4, 0x9a, 0x06, 1, b'x']);
        let message = [first, second].concat();
        let bytes = [vec![0x0a, message.len() as u8], message].concat();
        let failure = read(bytes).unwrap_err();
        assert_eq!(fields(&failure), [("message.to[1].99", Reason::UnknownField)]);
    }

    #[test]
    fn a_nul_is_found_wherever_text_may_be() {
        let nul = || "a\0b".to_owned();
        let to = vec![
            Recipient::default(),
            Recipient {
                display_name: nul(),
                metadata: [("k".to_owned(), nul())].into(),
                ..Recipient::default()
            },
        ];
        let tags = vec!["fine".to_owned(), nul()];
        let value = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(nul())) };
        let variables = prost_types::Struct { fields: [("v".to_owned(), value)].into() };
        let (subject, variables) = (nul(), Some(variables));
        let message = OutgoingMessage { subject, to, tags, variables, ..Default::default() };
        let asked = sending(message);
        let failure = read(asked.encode_to_vec()).unwrap_err();
        let places: Vec<_> = fields(&failure).into_iter().map(|(field, _)| field).collect();
        let expected = [
            "message.to[1].display_name",
            "message.to[1].metadata",
            "message.subject",
            "message.variables",
            "message.tags[1]",
        ];
        for place in expected {
            assert!(places.contains(&place), "{place} is not in {places:?}");
        }
        assert_eq!(places.len(), expected.len());
        assert!(failure.violations.iter().all(|v| v.reason == Reason::ForbiddenCharacter));
    }

    #[test]
    fn a_wrong_type_is_named() {
        // The request id, a string, as a number.
        let failure = read(vec![0x10, 1]).unwrap_err();
        assert_eq!(failure.reason, Reason::MalformedRequest);
        assert!(failure.message.contains("request_id"), "{failure}");
    }

    /// What is taken is taken again when it is written, and holds no NUL in a text.
    #[test]
    fn fuzz_request() {
        postern_fuzz::check!("request", |input| match read(input.to_vec()) {
            Ok(asked) => {
                let bytes = asked.encode_to_vec();
                assert_eq!(read(bytes.clone()).unwrap().encode_to_vec(), bytes);
                let message = asked.message.unwrap_or_default();
                assert!(!message.subject.contains('\0') && !asked.request_id.contains('\0'));
            }
            Err(failure) => {
                assert!(failure.violations.len() <= VIOLATIONS_MAX);
                assert!(failure.violations.iter().all(|one| !one.field.contains('\0')));
            }
        });
    }
}
