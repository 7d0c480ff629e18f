//! W3C Trace Context: to which distributed trace a request belongs, and what the caller is told
//! about it. Pure, but for the ids that are drawn.

/// The part that one request has in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
}

impl Trace {
    /// Goes on with the trace of the caller's `traceparent`. Without one, or with one that the
    /// specification tells to disregard, it begins a trace of its own.
    pub fn continuing(traceparent: Option<&str>) -> Self {
        let (trace_id, sampled) = traceparent.and_then(parse).unwrap_or((drawn(), true));
        Self { trace_id, span_id: drawn::<u64>(), sampled }
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

/// The trace id, and whether it is recorded. Later versions begin like version 00 and may go on.
fn parse(text: &str) -> Option<(u128, bool)> {
    let mut parts = text.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace_id = hex(parts.next()?, 32)?;
    let parent_id = hex(parts.next()?, 16)?;
    let flags = hex(parts.next()?, 2)?;
    let known = version != 0xff && (version != 0 || parts.next().is_none());
    (known && trace_id != 0 && parent_id != 0).then_some((trace_id, flags & 1 == 1))
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

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_goes_on() {
        let trace = Trace::continuing(Some(&format!("00-{ID}-00f067aa0ba902b7-01")));
        assert_eq!(trace.id(), ID);
        let told = trace.response().unwrap();
        assert!(told.starts_with(&format!("00-{ID}-")) && told.ends_with("-01"), "{told}");
        assert!(!told.contains("00f067aa0ba902b7"), "the span is our own");
        let later = Trace::continuing(Some(&format!("01-{ID}-00f067aa0ba902b7-03-more")));
        assert_eq!(later.id(), ID);
    }

    #[test]
    fn what_nobody_records_is_not_told() {
        let trace = Trace::continuing(Some(&format!("00-{ID}-00f067aa0ba902b7-00")));
        assert_eq!((trace.id().as_str(), trace.response()), (ID, None));
        let next = Trace::continuing(Some(&trace.parent()));
        assert_eq!((next.id().as_str(), next.response()), (ID, None), "nor by whom we call");
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
            let trace = Trace::continuing(Some(&bad));
            assert_ne!(trace.id(), ID, "{bad}");
            assert_eq!(trace.response().unwrap().len(), 55);
        }
    }
}
