//! Parameters of MAIL and RCPT. An unknown one is refused (RFC 5321 §4.1.1.11), and so is one given
//! twice: a client that means something must not be misunderstood in silence.

use std::fmt::Write as _;

/// Why parameters cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Not one of the extensions that were offered.
    #[error("the parameter {0} is not supported")]
    Unknown(String),
    /// It stands twice.
    #[error("the parameter {0} stands twice")]
    Repeated(&'static str),
    /// Its value cannot be used.
    #[error("the parameter {0} has an unusable value")]
    BadValue(&'static str),
}

/// Parameters of MAIL FROM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// SIZE: how large the message will be (RFC 1870).
    pub size: Option<u64>,
    /// BODY=8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// ENVID, decoded (RFC 3461 §4.4).
    pub envelope_id: Option<String>,
    /// RET=FULL or RET=HDRS (RFC 3461 §4.3).
    pub return_full: Option<bool>,
    /// AUTH, which is not believed (RFC 4954 §5).
    pub submitter: bool,
}

/// Parameters of RCPT TO (RFC 3461).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RcptParameters {
    /// NOTIFY, as written.
    pub notify: Option<String>,
    /// ORCPT, decoded.
    pub original_recipient: Option<String>,
}

/// The longest ENVID or ORCPT (RFC 3461 §4.2, §4.4).
const XTEXT_BYTES_MAX: usize = 500;

impl MailParameters {
    /// Reads what stands behind the path.
    pub fn parse(text: &str) -> Result<Self, ParameterError> {
        let mut parameters = Self::default();
        for (name, value) in words(text) {
            parameters.take(&name, value)?;
        }
        Ok(parameters)
    }

    fn take(&mut self, name: &str, value: Option<&str>) -> Result<(), ParameterError> {
        match name {
            "SIZE" => {
                let digits = value.filter(|text| text.len() <= 20 && is_number(text));
                let size = digits.and_then(|text| text.parse().ok());
                once("SIZE", &mut self.size, size)
            }
            "BODY" => match value.map(str::to_ascii_uppercase).as_deref() {
                Some("7BIT") => Ok(()),
                Some("8BITMIME") if self.eight_bit_mime => Err(ParameterError::Repeated("BODY")),
                Some("8BITMIME") => {
                    self.eight_bit_mime = true;
                    Ok(())
                }
                _ => Err(ParameterError::BadValue("BODY")),
            },
            "SMTPUTF8" if value.is_some() => Err(ParameterError::BadValue("SMTPUTF8")),
            "SMTPUTF8" if self.smtputf8 => Err(ParameterError::Repeated("SMTPUTF8")),
            "SMTPUTF8" => {
                self.smtputf8 = true;
                Ok(())
            }
            "ENVID" => once("ENVID", &mut self.envelope_id, value.and_then(xtext)),
            "RET" => {
                let full = match value.map(str::to_ascii_uppercase).as_deref() {
                    Some("FULL") => Some(true),
                    Some("HDRS") => Some(false),
                    _ => None,
                };
                once("RET", &mut self.return_full, full)
            }
            "AUTH" if self.submitter => Err(ParameterError::Repeated("AUTH")),
            "AUTH" => {
                self.submitter = value.and_then(xtext).is_some();
                if self.submitter { Ok(()) } else { Err(ParameterError::BadValue("AUTH")) }
            }
            other => Err(ParameterError::Unknown(other.to_owned())),
        }
    }
}

impl RcptParameters {
    /// Reads what stands behind the path.
    pub fn parse(text: &str) -> Result<Self, ParameterError> {
        let mut parameters = Self::default();
        for (name, value) in words(text) {
            match name.as_str() {
                "NOTIFY" => once("NOTIFY", &mut parameters.notify, value.and_then(notify))?,
                "ORCPT" => {
                    let typed = value.and_then(|value| value.split_once(';'));
                    let decoded = typed.and_then(|(_, address)| xtext(address));
                    once("ORCPT", &mut parameters.original_recipient, decoded)?;
                }
                other => return Err(ParameterError::Unknown(other.to_owned())),
            }
        }
        Ok(parameters)
    }
}

/// Name in upper case and value, word by word.
fn words(text: &str) -> impl Iterator<Item = (String, Option<&str>)> {
    text.split(' ').filter(|word| !word.is_empty()).map(|word| {
        let (name, value) =
            word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        // A name of any length would come back in the error.
        (name.chars().take(40).collect::<String>().to_ascii_uppercase(), value)
    })
}

fn once<T>(
    name: &'static str,
    place: &mut Option<T>,
    value: Option<T>,
) -> Result<(), ParameterError> {
    if place.is_some() {
        return Err(ParameterError::Repeated(name));
    }
    *place = Some(value.ok_or(ParameterError::BadValue(name))?);
    Ok(())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn notify(value: &str) -> Option<String> {
    let value = value.to_ascii_uppercase();
    let known = |word: &str| matches!(word, "SUCCESS" | "FAILURE" | "DELAY");
    let fits = value == "NEVER" || value.split(',').all(known);
    fits.then_some(value)
}

/// Decodes xtext (RFC 3461 §4). Encoded controls are refused: `+0D+0A` would become a line end
/// wherever the value is written next.
fn xtext(value: &str) -> Option<String> {
    if value.is_empty() || value.len() > XTEXT_BYTES_MAX {
        return None;
    }
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(c) = rest.chars().next() {
        if c == '+' {
            let digits = rest.get(1..3)?;
            let upper = digits.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
            let code = u8::from_str_radix(digits, 16).ok().filter(|_| upper)?;
            if !(0x20..0x7f).contains(&code) {
                return None;
            }
            out.write_char(char::from(code)).ok()?;
            rest = &rest[3..];
        } else if c.is_ascii_graphic() && c != '=' {
            out.push(c);
            rest = &rest[1..];
        } else {
            return None;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offered_extensions_are_read() {
        let text = " SIZE=42 body=8bitmime SMTPUTF8 ENVID=a+2Bb RET=HDRS AUTH=<>";
        let parameters = MailParameters::parse(text).unwrap();
        assert_eq!(parameters.size, Some(42));
        assert!(parameters.eight_bit_mime && parameters.smtputf8 && parameters.submitter);
        assert_eq!(parameters.envelope_id.as_deref(), Some("a+b"));
        assert_eq!(parameters.return_full, Some(false));
        let text = " NOTIFY=SUCCESS,delay ORCPT=rfc822;ann@x.example";
        let parameters = RcptParameters::parse(text).unwrap();
        assert_eq!(parameters.notify.as_deref(), Some("SUCCESS,DELAY"));
        assert_eq!(parameters.original_recipient.as_deref(), Some("ann@x.example"));
    }

    #[test]
    fn abuse_is_refused() {
        for text in [
            "SIZE=1 SIZE=2",
            "SIZE=-1",
            "SIZE=",
            "SIZE",
            "SIZE=99999999999999999999999",
            "BODY=BINARYMIME",
            "SMTPUTF8=1",
            "ENVID=a+0D+0Ab",
            "ENVID=a+00",
            "ENVID=a+4",
            "ENVID=a+é",
            "RET=ALL",
            "XYZ=1",
            "NOTIFY=NEVER",
        ] {
            assert!(MailParameters::parse(text).is_err(), "{text:?}");
        }
        for text in ["NOTIFY=NEVER,SUCCESS", "NOTIFY=", "ORCPT=ann", "ORCPT=rfc822;a+0Ab", "SIZE=1"]
        {
            assert!(RcptParameters::parse(text).is_err(), "{text:?}");
        }
        assert!(MailParameters::parse(&format!("ENVID={}", "a".repeat(501))).is_err());
    }
}
