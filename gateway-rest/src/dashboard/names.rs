//! What the words of the contract are called in front of people: events, categories of errors, reasons
//! of suppressions, verdicts. In English they are shown as programs write them, since that is what
//! filters and the documentation call them.
//!
//! Constant data; a crash has nothing to lose.

use super::lang::Lang;
use super::words::Words;

/// Categories of errors, which the contract calls reasons.
pub(super) const CATEGORIES: [&str; 18] = [
    "auth_failed",
    "connection",
    "content",
    "dns_failure",
    "expired",
    "inactive",
    "mailbox_full",
    "other",
    "policy",
    "protocol",
    "rate_limited",
    "relay_denied",
    "reputation",
    "spam_content",
    "timeout",
    "tls",
    "too_large",
    "unknown_user",
];

impl Words {
    /// A word of the contract; one without a name here, which may be somebody's text, stays as it is.
    pub(super) fn name<'a>(&self, word: &'a str) -> &'a str {
        match self.lang {
            Lang::En => word,
            Lang::Ru => russian(word).unwrap_or(word),
        }
    }
}

fn russian(word: &str) -> Option<&'static str> {
    Some(match word {
        "accepted" => "принято",
        "scheduled" => "запланировано",
        "suppressed" => "в стоп-листе",
        "deferred" => "отложено",
        "delivered" => "доставлено",
        "bounced" => "отказ",
        "failed" => "ошибка",
        "expired" => "истекло",
        "canceled" => "отменено",
        "recovered" => "восстановлено после сбоя",
        "opened" => "открыто",
        "clicked" => "переход по ссылке",
        "unsubscribed" => "отписка",
        "resubscribed" => "подписка возобновлена",
        "sent" => "передано",
        "complained" | "complaint" => "жалоба",
        "hard_bounce" => "адреса нет",
        "unsubscribe" => "отписка",
        "manual" => "вручную",
        "campaign_held" => "рассылка остановлена",
        "destination_paused" => "получатель на паузе",
        "auth_failed" => "не прошла проверка подлинности",
        "connection" => "нет соединения",
        "content" => "письмо не собрать",
        "dns_failure" => "ошибка DNS",
        "inactive" => "ящик отключён",
        "mailbox_full" => "ящик переполнен",
        "other" => "другое",
        "policy" => "политика получателя",
        "protocol" => "ошибка протокола",
        "rate_limited" => "превышен лимит",
        "relay_denied" => "пересылка запрещена",
        "reputation" => "репутация отправителя",
        "spam_content" => "признано спамом",
        "timeout" => "время вышло",
        "tls" => "ошибка TLS",
        "too_large" => "письмо слишком большое",
        "unknown_user" => "нет такого ящика",
        "store" => "хранилище",
        "store.replica" => "реплика хранилища",
        "node" => "ядро",
        "gateway.rest" => "шлюз REST",
        "gateway.smtp" => "шлюз SMTP",
        "gateway.tracker" => "точка учёта",
        "transport.postal" => "Postal",
        "ams" => "AMS",
        "tracking" => "учёт открытий",
        "human" => "человек",
        "bot" => "программа",
        "unknown" => "неизвестно",
        "head_request" => "запрос HEAD",
        "prefetch" => "предзагрузка",
        "security_scanner" => "проверка безопасности",
        "too_soon" => "слишком быстро",
        "program" => "программа",
        "image_proxy" => "прокси картинок",
        "honeypot" => "ловушка",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_contract_have_names_and_other_texts_stay() {
        let (en, ru) = (Lang::En.words(), Lang::Ru.words());
        for word in CATEGORIES {
            assert_eq!(en.name(word), word);
            assert_ne!(ru.name(word), word);
        }
        for state in 1..=11 {
            let state = postern_proto::v1::RecipientState::try_from(state).unwrap();
            let word = state.as_str_name().trim_start_matches("RECIPIENT_STATE_").to_lowercase();
            let is_over = !["queued", "sending"].contains(&word.as_str());
            assert_eq!(ru.name(&word) != word, is_over, "{word} is an event");
        }
        for reason in ["HARD_BOUNCE", "COMPLAINT", "UNSUBSCRIBE", "MANUAL"] {
            assert_ne!(ru.name(&reason.to_lowercase()), reason.to_lowercase());
        }
        assert_eq!(ru.name("no budget left"), "no budget left");
    }
}
