//! W3C Trace Context: to which distributed trace a request belongs, and what the caller is told
//! about it. Pure, but for the ids that are drawn.

/// The part that one request, or a later step of what it began, has in a trace: a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trace {
    trace_id: u128,
    span_id: u64,
    /// The span that this one is a part of; none for the first one of a trace.
    parent_id: Option<u64>,
    sampled: bool,
}

impl Trace {
    /// Octets of [`Self::to_bytes`].
    pub const BYTES: usize = 25;

    /// The first span of a new trace.
    pub fn begin(sampled: bool) -> Self {
        Self { trace_id: drawn(), span_id: drawn(), parent_id: None, sampled }
    }

    /// A part of this span.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: drawn(), parent_id: Some(self.span_id), ..*self }
    }

    /// The span that a `traceparent` names. None where the specification tells to disregard it. Later
    /// versions begin like version 00 and may go on.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let version = hex(parts.next()?, 2)?;
        let trace_id = hex(parts.next()?, 32)?;
        let span_id = hex(parts.next()?, 16)? as u64;
        let sampled = hex(parts.next()?, 2)? & 1 == 1;
        let known = version != 0xff && (version != 0 || parts.next().is_none());
        let whole = known && trace_id != 0 && span_id != 0;
        whole.then_some(Self { trace_id, span_id, parent_id: None, sampled })
    }

    /// The form in which the span is stored with what it began: trace id, span id, flags.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.trace_id.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.span_id.to_be_bytes());
        bytes[24] = u8::from(self.sampled);
        bytes
    }

    /// Reads [`Self::to_bytes`]; none when it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let trace_id = u128::from_be_bytes(bytes[..16].try_into().ok()?);
        let span_id = u64::from_be_bytes(bytes[16..24].try_into().ok()?);
        let whole = trace_id != 0 && span_id != 0;
        whole.then_some(Self { trace_id, span_id, parent_id: None, sampled: bytes[24] & 1 == 1 })
    }

    /// Whether anybody records this trace.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    pub(crate) fn numbers(&self) -> (u128, u64, Option<u64>) {
        (self.trace_id, self.span_id, self.parent_id)
    }

    /// The id of the whole trace: 32 hexadecimal digits.
    pub fn id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The value of `traceresponse`; none when the caller does not record this trace.
    pub fn response(&self) -> Option<String> {
        self.sampled.then(|| self.parent())
    }

    /// The value of `traceparent` for whom we call next.
    pub fn parent(&self) -> String {
        let (trace, span, flags) = (self.trace_id, self.span_id, u8::from(self.sampled));
        format!("00-{trace:032x}-{span:016x}-{flags:02x}")
    }
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let fits = text.len() == digits && text.bytes().all(lower);
    fits.then(|| u128::from_str_radix(text, 16).ok())?
}

/// A random id; never the one of all zeroes, which stands for none.
fn drawn<T>() -> T
where
    T: PartialEq + Default,
    rand::distr::StandardUniform: rand::distr::Distribution<T>,
{
    loop {
        let id = rand::random();
        if id != T::default() {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spans::Spans;

    fn continuing(traceparent: Option<&str>) -> Trace {
        Spans::default().request(traceparent)
    }

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_goes_on() {
        let trace = continuing(Some(&format!("00-{ID}-00f067aa0ba902b7-01")));
        assert_eq!(trace.id(), ID);
        let told = trace.response().unwrap();
        assert!(told.starts_with(&format!("00-{ID}-")) && told.ends_with("-01"), "{told}");
        assert!(!told.contains("00f067aa0ba902b7"), "the span is our own");
        let later = continuing(Some(&format!("01-{ID}-00f067aa0ba902b7-03-more")));
        assert_eq!(later.id(), ID);
    }

    #[test]
    fn what_nobody_records_is_not_told() {
        let trace = continuing(Some(&format!("00-{ID}-00f067aa0ba902b7-00")));
        assert_eq!((trace.id().as_str(), trace.response()), (ID, None));
        let next = continuing(Some(&trace.parent()));
        assert_eq!((next.id().as_str(), next.response()), (ID, None), "nor by whom we call");
    }

    #[test]
    fn a_span_is_stored_and_has_parts() {
        let trace = continuing(Some(&format!("00-{ID}-00f067aa0ba902b7-01")));
        let read = Trace::from_bytes(&trace.to_bytes()).unwrap();
        assert_eq!(read.parent(), trace.parent());
        let part = read.child();
        assert_eq!((part.id(), part.parent_id), (trace.id(), Some(trace.span_id)));
        assert_ne!(part.span_id, trace.span_id);
        for bad in [&trace.to_bytes()[1..], &[0; Trace::BYTES], b""] {
            assert_eq!(Trace::from_bytes(bad), None);
        }
    }

    #[test]
    fn what_is_malformed_begins_a_new_trace() {
        let zeroes = "0".repeat(32);
        for bad in [
            String::new(),
            "x".to_owned(),
            format!("ff-{ID}-00f067aa0ba902b7-01"),
            format!("00-{zeroes}-00f067aa0ba902b7-01"),
            format!("00-{ID}-0000000000000000-01"),
            format!("00-{ID}-00f067aa0ba902b7-01-more"),
            format!("00-{}-00f067aa0ba902b7-01", ID.to_uppercase()),
            format!("00-{ID}-00f067aa0ba902b7-é"),
        ] {
            let trace = continuing(Some(&bad));
            assert_ne!(trace.id(), ID, "{bad}");
            assert_eq!(trace.response().unwrap().len(), 55);
        }
    }
}
