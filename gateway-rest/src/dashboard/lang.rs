//! Which language a reader is spoken to in.
//!
//! Pure; a crash has nothing to lose.

use super::words::{EN, RU, Words};

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lang {
    En,
    Ru,
}

impl Lang {
    /// The language tag.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ru => "ru",
        }
    }

    /// The words.
    pub(super) fn words(self) -> &'static Words {
        match self {
            Self::En => &EN,
            Self::Ru => &RU,
        }
    }

    /// The language that an `Accept-Language` field likes best of the two (RFC 9110 section 12.5.4).
    pub(super) fn accepted(field: &str) -> Self {
        let weight = |wanted: &str| {
            let mut best = 0;
            for entry in field.split(',') {
                let mut parts = entry.split(';').map(str::trim);
                let tag = parts.next().unwrap_or_default().to_ascii_lowercase();
                if tag != wanted && !tag.starts_with(&format!("{wanted}-")) {
                    continue;
                }
                let q = parts.find_map(|part| part.strip_prefix("q="));
                let q: f32 = q.and_then(|q| q.parse().ok()).unwrap_or(1.0);
                best = best.max((q * 1000.0) as i32);
            }
            best
        };
        if weight("ru") > weight("en") { Self::Ru } else { Self::En }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_that_is_liked_best_is_spoken() {
        assert_eq!(Lang::accepted("ru-RU,ru;q=0.9,en;q=0.8"), Lang::Ru);
        assert_eq!(Lang::accepted("en,ru;q=0.9"), Lang::En);
        assert_eq!(Lang::accepted("de, en;q=0.3, ru;q=0.4"), Lang::Ru);
        assert_eq!(Lang::accepted(""), Lang::En);
        assert_eq!(Lang::accepted("ru;q=0"), Lang::En);
        assert_eq!(Lang::accepted("rus"), Lang::En);
    }
}
