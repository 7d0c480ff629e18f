//! What the live settings are for, in Russian. In English the contract says it.
//!
//! Constant data; a crash has nothing to lose.

macro_rules! russian {
    ($($name:literal: $text:literal;)*) => {
        /// What a setting is for; none for one that this gateway does not know yet.
        pub(super) fn description(name: &str) -> Option<&'static str> {
            Some(match name {
                $($name => $text,)*
                _ => return None,
            })
        }
    };
}

/// What a group of settings is about.
pub(super) fn group(name: &str) -> Option<&'static str> {
    Some(match name {
        "ams" => "AMS",
        "audit" => "журнал действий",
        "autostop" => "автостоп рассылок",
        "concurrency" => "одновременные попытки",
        "connection" => "соединения с серверами",
        "content" => "содержимое",
        "daily" => "суточные лимиты",
        "dashboard" => "панель",
        "destination" => "серверы получателей",
        "grpc" => "лимиты gRPC",
        "idempotency" => "идемпотентность",
        "inbox" => "локальный ящик",
        "lane" => "попытки к одному домену",
        "max" => "срок доставки",
        "message" => "сообщения",
        "notice" => "уведомления о неполадках",
        "postal" => "Postal",
        "rest" => "REST",
        "rpc" => "вызовы ядра",
        "smtp" => "SMTP",
        "tracking" => "учёт открытий и переходов",
        "transport" => "транспорт",
        "webhooks" => "вебхуки",
        _ => return None,
    })
}

russian! {
    "ams.batch_items": "сколько открытий, переходов и отписок сообщается AMS за один вызов";
    "ams.give_up": "как долго AMS может не принимать события рассылки, прежде чем ей перестают о них сообщать";
    "ams.interval": "как часто AMS узнаёт, что сделали получатели";
    "ams.retry_interval": "через сколько AMS снова спрашивают о рассылке, которую она не приняла; всё реже, но не реже раза в час";
    "audit.retention": "сколько хранятся записи журнала действий";
    "autostop.bounce_percent": "рассылка останавливается, если отклонено больше этой доли писем, завершённых за autostop.window, в процентах; 0: доля не важна";
    "autostop.enabled": "останавливать рассылки, которые идут плохо, и их отправку в AMS; один раз за жизнь рассылки";
    "autostop.interval": "как часто проверяются рассылки";
    "autostop.minimum": "сколько писем рассылки должно завершиться за autostop.window, прежде чем о ней судят";
    "autostop.rate_limited": "рассылка останавливается, если отказов из-за слишком частой отправки больше; 0: число не важно";
    "autostop.spam": "рассылка останавливается, если отказов из-за спама или репутации отправителя больше; 0: число не важно";
    "autostop.unknown_user": "рассылка останавливается, если отказов «нет такого ящика» больше; 0: число не важно";
    "autostop.window": "за какое время судят о рассылке";
    "concurrency": "сколько попыток доставки одно ядро ведёт одновременно";
    "connection.age": "соединение старше этого не берёт новых писем";
    "connection.idle": "сколько соединение ждёт следующего письма";
    "connection.messages": "сколько писем идёт через одно соединение";
    "connection.wait": "сколько письмо ждёт свободного соединения со своим сервером, прежде чем его отложат";
    "content.retention": "сколько хранится содержимое после приёма, когда последняя доставка завершена";
    "daily.limit": "получателей в сутки по всем ключам; 0: без ограничения";
    "daily.limit_per_key": "получателей в сутки на ключ или учётную запись SMTP без своего суточного лимита; 0: без ограничения";
    "dashboard.login_window": "за какое время считаются входы в панель";
    "dashboard.logins_per_address": "входов в панель с одного адреса за dashboard.login_window, удачных и неудачных";
    "dashboard.logins_per_user": "входов в панель под одним именем за dashboard.login_window, удачных и неудачных";
    "dashboard.session_time": "сколько действует вход в панель";
    "destination.connections": "сколько соединений одно ядро держит с одним сервером";
    "destination.dead": "сколько не пробуют сервер, до которого не достучались; письма ему сразу откладываются. 0s: пробует каждое письмо";
    "grpc.limit_key_per_minute": "вызовов одного ключа в минуту прямо к порту gRPC ядра; 0: без ограничения";
    "idempotency.ttl": "сколько хранятся ответы под ключами идемпотентности";
    "inbox.keep": "сколько писем хранит локальный ящик";
    "lane.concurrency": "сколько попыток к одному получателю-домену одно ядро ведёт одновременно";
    "max.age": "сколько пытаются доставить сообщение, если в нём самом это не указано";
    "message.bytes": "самое большое сообщение";
    "message.retention": "сколько хранится сообщение с получателями и событиями после последней доставки; 0s: всегда";
    "notice.after": "сколько неполадка должна длиться, прежде чем о ней сообщают, и сколько её не должно быть, прежде чем сообщают, что она прошла";
    "notice.backup_age": "сообщать, если последняя резервная копия старше; 0ms: никогда";
    "notice.certificate_left": "сообщать, если сертификат кончается раньше, чем через это время";
    "notice.disk_free": "сообщать, если на диске хранилища свободно меньше; 0: никогда";
    "notice.error_percent": "сообщать, если из завершённых за 10 минут доставок окончательно не удалось больше этой доли, в процентах; 0: никогда";
    "notice.interval": "как часто проверяется, всё ли в порядке";
    "notice.repeat": "через сколько о неполадке, которая ещё длится, сообщают снова";
    "postal.ask_after": "через сколько у Postal спрашивают о письме, о конце которого он молчит, и снова через столько же";
    "postal.breaker_failures": "сколько вызовов Postal подряд должны не удаться, чтобы письма для него стали ждать";
    "postal.breaker_open_time": "сколько письма для Postal ждут до пробного вызова; после каждой неудачи вдвое дольше";
    "postal.breaker_open_time_max": "дольше этого письма для Postal пробного вызова не ждут";
    "postal.orphan_time": "сколько хранится отчёт Postal о неизвестном письме";
    "postal.silence_max": "письмо в Postal считается потерянным, если за это время он не знает его конца";
    "postal.timeout": "сколько может длиться один вызов Postal; на соединение даётся 5 с";
    "postal.unknown_wait": "сколько ждут отчёта, если неизвестно, взял ли Postal письмо, прежде чем передать его снова";
    "rest.body_max": "самое большое тело запроса, после распаковки";
    "rest.bulk_timeout": "сколько может длиться один пакет NDJSON";
    "rest.limit_concurrent": "одновременных запросов одного ключа, или одного адреса без ключа, к одному шлюзу";
    "rest.limit_failures_per_minute": "сколько раз в минуту адресу можно ошибиться ключом, прежде чем шлюз отклонит все его запросы";
    "rest.limit_ip_per_minute": "запросов без ключа с одного адреса в минуту к одному шлюзу";
    "rest.limit_key_per_minute": "запросов одного ключа в минуту к одному шлюзу";
    "rest.limit_webhooks_per_minute": "вебхуков Postal с одного адреса в минуту к одному шлюзу";
    "rest.timeout": "сколько может длиться один запрос; ожидание письма в ящике всё равно может длиться 60 с";
    "rpc.timeout": "сколько может длиться один вызов ядра; ожидание письма в ящике всё равно может длиться 60 с";
    "smtp.auth_failure_window": "за какое время считаются неудачные входы";
    "smtp.auth_failures_per_address": "неудачных входов с одного адреса за smtp.auth_failure_window до блокировки";
    "smtp.auth_failures_per_user": "неудачных входов под одним именем за smtp.auth_failure_window до блокировки";
    "smtp.command_time_max": "сколько клиент может передавать одну команду";
    "smtp.commands_max": "команд за один сеанс";
    "smtp.connections_max": "открытых соединений одного шлюза";
    "smtp.connections_per_address_max": "открытых соединений одного адреса с одним шлюзом";
    "smtp.content_octets_max": "сколько содержимого один шлюз держит в памяти, по всем сеансам вместе";
    "smtp.credential_messages": "писем за smtp.credential_window на учётную запись без своего rate_limit; 0: без ограничения";
    "smtp.credential_recipients": "получателей за smtp.credential_window на одну учётную запись; 0: без ограничения";
    "smtp.credential_window": "за какое время считаются письма и получатели учётной записи";
    "smtp.data_time_max": "сколько клиент может передавать одно письмо";
    "smtp.errors_max": "сколько команд сеанса можно отклонить, прежде чем он закроется";
    "smtp.line_octets_max": "самая длинная строка письма";
    "smtp.message_octets_max": "самое большое письмо; message.bytes действует тоже";
    "smtp.messages_per_session_max": "писем за один сеанс";
    "smtp.recipients_max": "получателей одного письма";
    "smtp.session_time_max": "сколько может длиться сеанс";
    "smtp.timeout_connect": "отправка: сколько может длиться соединение с одним адресом сервера";
    "smtp.timeout_data_block": "отправка: сколько сервер может принимать каждые 64 КиБ письма";
    "smtp.timeout_data_done": "отправка: сколько ждать ответа на завершающую точку";
    "smtp.timeout_data_init": "отправка: сколько ждать ответа на DATA";
    "smtp.timeout_ehlo": "отправка: сколько ждать ответа на EHLO, STARTTLS или AUTH";
    "smtp.timeout_greeting": "отправка: сколько ждать приветствия или рукопожатия TLS";
    "smtp.timeout_mail": "отправка: сколько ждать ответа на MAIL или RSET";
    "smtp.timeout_rcpt": "отправка: сколько ждать ответа на RCPT";
    "smtp.timeout_reach": "отправка: после этого времени другие адреса и серверы письма не пробуются";
    "tracking.clicks": "переписывать ссылки в html, если ни сообщение, ни ключ не говорят иного";
    "tracking.footer": "добавлять в html подвал со ссылкой отписки, если ни сообщение, ни ключ не говорят иного";
    "tracking.hit_retention": "сколько ядро помнит событие, о котором точка учёта сообщает дважды";
    "tracking.honeypot": "добавлять невидимую людям ссылку в html, ссылки которого переписаны";
    "tracking.journal_octets_max": "размер журнала точки учёта, сверх которого она отвечает, но не записывает";
    "tracking.links_max": "сколько ссылок письма переписывается; остальные не меняются";
    "tracking.opens": "добавлять в html пиксель, если ни сообщение, ни ключ не говорят иного";
    "tracking.requests_max": "запросов за tracking.requests_window от всех клиентов к одной точке учёта; 0: без ограничения";
    "tracking.requests_per_address": "запросов за tracking.requests_window с одного адреса; 0: без ограничения";
    "tracking.requests_window": "за какое время считаются запросы к точке учёта";
    "tracking.scanner_window": "событие раньше этого после приёма письма приписывается проверке безопасности; 0ms: никогда";
    "tracking.ship_hits_max": "сколько событий точка учёта сообщает ядру за раз";
    "tracking.ship_interval": "сколько событие может ждать других, прежде чем о нём сообщат";
    "tracking.sync_before_answer": "отвечать, только когда событие надёжно записано на диск";
    "tracking.sync_interval": "через сколько самое позднее записанное точкой учёта надёжно лежит на диске";
    "tracking.text_clicks": "переписывать ссылки в тексте, если ни сообщение, ни ключ не говорят иного";
    "tracking.unsubscribe_headers": "добавлять заголовки RFC 8058 к письмам рассылки без них, если ни сообщение, ни ключ не говорят иного";
    "transport": "куда идут письма доменов без своего транспорта, начиная со следующей попытки";
    "webhooks.disable_after": "адрес, на который столько времени не удалась ни одна доставка, отключается";
    "webhooks.retention": "сколько хранятся завершённые доставки с их попытками";
    "webhooks.retry_percent": "паузы между попытками, в процентах от расписания (5 с, 5 мин, 30 мин, 2, 5, 10, 14, 20, 24 ч)";
    "webhooks.timeout": "сколько адрес может отвечать";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_described() {
        for setting in postern_proto::settings::ALL {
            let text = description(setting.name);
            let found = text.is_some_and(|text| !text.is_empty());
            assert!(found, "{} has no Russian text", setting.name);
            let about = setting.name.split('.').next().and_then(group);
            assert!(about.is_some(), "the group of {} has no Russian name", setting.name);
        }
    }
}
