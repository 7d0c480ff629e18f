//! Every word of the dashboard, in English and Russian. One table, so that none is missing in either.
//!
//! Constant data; a crash has nothing to lose.

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

macro_rules! words {
    ($($name:ident: $en:literal, $ru:literal;)*) => {
        /// The words of one language.
        #[derive(Debug)]
        pub(super) struct Words {
            /// Which one it is.
            pub(super) lang: Lang,
            $(pub(super) $name: &'static str,)*
        }

        static EN: Words = Words { lang: Lang::En, $($name: $en,)* };
        static RU: Words = Words { lang: Lang::Ru, $($name: $ru,)* };
    };
}

words! {
    skip: "Skip to the content", "К содержанию";
    find: "Find an id, address or Message-ID", "Найти: id, адрес или Message-ID";
    pages: "Pages", "Разделы";
    actions: "Actions", "Действия";
    light: "Light", "Светлая";
    dark: "Dark", "Тёмная";
    automatic: "Automatic", "Как в системе";
    log_in: "Log in", "Войти";
    log_out: "Log out", "Выйти";
    older: "Older", "Дальше";
    copy: "Copy", "Копировать";
    details: "Details", "Подробности";
    back_to_start: "Back to the overview", "К обзору";
    go_back_hint: "Go back in the browser to correct what you entered", "Вернитесь в браузере назад, чтобы исправить введённое";
    username: "User name", "Имя пользователя";
    password: "Password", "Пароль";
    totp_code: "Code", "Код";
    totp_code_hint: "Only if you use an authenticator app", "Только если включено приложение-аутентификатор";
    totp_missing: "The password is right. Enter it once more, together with the code of your authenticator app.", "Пароль верен. Введите его ещё раз вместе с кодом из приложения.";
    login_wrong: "The user name, the password or the code is not right.", "Неверное имя, пароль или код.";
    login_too_many: "Too many attempts. Wait a while and try again.", "Слишком много попыток. Подождите и попробуйте снова.";
    login_hint: "The first operator's password was printed when the core first started. “postern operators reset-password NAME” makes a new one.", "Пароль первого оператора напечатан при первом запуске. Новый создаёт «postern operators reset-password ИМЯ».";
    overview: "Overview", "Обзор";
    messages: "Messages", "Письма";
    queue: "Queue", "Очередь";
    campaigns: "Campaigns", "Кампании";
    errors: "Errors", "Ошибки";
    suppressions: "Suppressions", "Стоп-лист";
    templates: "Templates", "Шаблоны";
    webhooks: "Webhooks", "Вебхуки";
    api_keys: "API keys", "API-ключи";
    smtp_credentials: "SMTP credentials", "SMTP-доступы";
    domains: "Domains", "Домены";
    settings: "Settings", "Настройки";
    operators: "Operators", "Операторы";
    audit_log: "Audit log", "Журнал действий";
    inbox: "Inbox", "Локальный ящик";
    account: "Account", "Учётная запись";
    role: "Role", "Роль";
    role_admin: "Admin", "Администратор";
    role_viewer: "Viewer", "Наблюдатель";
    role_hint: "A viewer sees everything but the contents of mail and secrets, and changes nothing", "Наблюдатель видит всё, кроме содержимого писем и секретов, и ничего не меняет";
    last_login: "Last login", "Последний вход";
    session_ends: "Session ends", "Сеанс до";
    change_password: "Change the password", "Сменить пароль";
    old_password: "Present password", "Текущий пароль";
    new_password: "New password", "Новый пароль";
    password_hint: "12 to 256 characters. All your other sessions end.", "От 12 до 256 символов. Остальные сеансы завершатся.";
    password_changed: "The password is changed.", "Пароль изменён.";
    password_reset: "New password", "Новый пароль";
    totp: "Authenticator app", "Приложение-аутентификатор";
    totp_start: "Set up", "Включить";
    totp_stop: "Turn off", "Отключить";
    totp_scan: "Scan the picture with the app, or type in the secret, and confirm with a code.", "Отсканируйте картинку приложением или введите секрет и подтвердите кодом.";
    totp_secret: "Secret", "Секрет";
    totp_confirm: "Confirm", "Подтвердить";
    totp_on: "Logins ask for a code from now on.", "Теперь при входе спрашивается код.";
    totp_off: "Logins ask for no code any more.", "Код при входе больше не спрашивается.";
    shown_once: "Shown this once. Keep it now: nobody can show it again.", "Показывается один раз. Сохраните сейчас: показать снова невозможно.";
    save: "Save", "Сохранить";
    saved: "Saved.", "Сохранено.";
    add: "Add", "Добавить";
    delete: "Delete", "Удалить";
    deleted: "Deleted.", "Удалено.";
    remove: "Remove", "Убрать";
    change: "Change", "Изменить";
    changed: "Changed", "Изменён";
    created: "Created", "Создан";
    yes: "yes", "да";
    no: "no", "нет";
    any: "any", "любые";
    never: "never", "никогда";
    nothing: "Nothing here.", "Здесь пусто.";
    operator_add: "Add an operator", "Добавить оператора";
    make_viewer: "Make viewer", "В наблюдатели";
    make_admin: "Make admin", "В администраторы";
    accepted: "Accepted", "Принято";
    delivered: "Delivered", "Доставлено";
    deferred: "Deferred", "Отложено";
    failed: "Failed", "Не доставлено";
    bounced_failed: "Bounced or failed", "Отказы и ошибки";
    opened: "Opened", "Открыто";
    clicked: "Clicked", "Переходы";
    unsubscribed: "Unsubscribed", "Отписки";
    complained: "Complained", "Жалобы";
    complaint: "Complaint", "Жалоба";
    last_day: "last 24 hours", "за 24 часа";
    this_hour: "this hour", "за этот час";
    now: "now", "сейчас";
    waiting: "Waiting", "Ждут";
    sending: "Sending", "Отправляются";
    queued: "Queued", "В очереди";
    scheduled: "Scheduled", "Отложены до срока";
    oldest_due: "Oldest due", "Самое старое";
    by_hour: "Deliveries by hour (UTC)", "Доставка по часам (UTC)";
    by_day: "By day (UTC)", "По дням (UTC)";
    health: "Health", "Состояние";
    part: "Part", "Часть";
    state: "State", "Статус";
    latency: "Latency", "Задержка";
    up: "up", "работает";
    degraded: "degraded", "с ограничениями";
    off: "off", "не настроено";
    down: "down", "не работает";
    installation: "Installation", "Установка";
    version: "Version", "Версия";
    started: "Started", "Запущено";
    store: "Store", "Хранилище";
    mail_goes_to: "Mail goes to", "Почта уходит через";
    top_errors: "Most frequent errors, last 24 hours", "Самые частые ошибки за 24 часа";
    category: "Category", "Категория";
    subject: "Subject", "Тема";
    no_subject: "(no subject)", "(без темы)";
    recipient: "Recipient", "Получатель";
    recipients: "Recipients", "Получатели";
    campaign: "Campaign", "Кампания";
    campaign_hint: "Empty: for all mail", "Пусто: для всех писем";
    accepted_at: "Accepted", "Принято";
    id: "Id", "Id";
    tag: "Tag", "Метка";
    since: "Since", "С";
    until: "Until", "По";
    filter: "Filter", "Показать";
    no_messages: "No messages. Send one with an API key or an SMTP credential.", "Писем нет. Отправьте письмо с API-ключом или SMTP-доступом.";
    state_scheduled: "scheduled", "запланировано";
    state_queued: "queued", "в очереди";
    state_sending: "sending", "отправляется";
    state_deferred: "deferred", "отложено";
    state_delivered: "delivered", "доставлено";
    state_bounced: "bounced", "отказ";
    state_failed: "failed", "ошибка";
    state_suppressed: "suppressed", "в стоп-листе";
    state_expired: "expired", "истекло";
    state_canceled: "canceled", "отменено";
    state_sent: "sent", "передано";
    timeline: "Timeline", "История";
    appearance: "Appearance", "Внешний вид";
    source: "Source", "Исходный текст";
    from: "From", "От";
    external_id: "Client's id", "Id клиента";
    batch: "Batch", "Пакет";
    test_mail: "Test mail", "Тестовое";
    send_time: "Send time", "Время отправки";
    resend: "Send again", "Отправить ещё раз";
    resent: "Sent again, as this message.", "Отправлено ещё раз, этим письмом.";
    cancel: "Cancel", "Отменить";
    canceled: "Canceled.", "Отменено.";
    reason: "Reason", "Причина";
    attempt: "attempt", "попытка";
    attempts: "Attempts", "Попытки";
    last_reply: "Reply", "Ответ";
    next_attempt: "Next attempt", "Следующая попытка";
    possible_duplicate: "may have arrived twice", "мог дойти дважды";
    destination: "Destination", "Назначение";
    destinations: "Destinations", "Назначения";
    queue_partial: "More mail waits than is counted here; the numbers are of the first 50000 due.", "Ждёт больше писем, чем сосчитано; числа — по первым 50000.";
    queue_empty: "Nothing waits.", "Ничего не ждёт.";
    pause: "Pause", "Приостановить";
    pause_destination: "Pause a destination", "Приостановить назначение";
    paused: "paused", "приостановлено";
    resume: "Resume", "Продолжить";
    retry_now: "Retry now", "Повторить сейчас";
    due_now: "Due now", "К отправке сейчас";
    flows: "flows", "идёт";
    domain: "Domain", "Домен";
    note: "Note", "Примечание";
    campaigns_since: "Empty: the last 30 days", "Пусто: последние 30 дней";
    no_campaigns: "No campaign in this time.", "Кампаний за это время нет.";
    held: "held", "остановлена";
    resumed: "resumed", "продолжена";
    hold: "Hold", "Остановить";
    auto_stop: "Auto-stop", "Автостоп";
    auto_stopped: "was held by the rules once", "однажды сработал";
    auto_stop_never: "not triggered", "не срабатывал";
    ams_told: "AMS told", "сообщено AMS";
    show: "Show", "Показать";
    log: "Log", "Журнал";
    time: "Time", "Время";
    event: "Event", "Событие";
    message: "Message", "Письмо";
    within: "Within", "За";
    newest: "Newest", "Последние";
    no_errors: "No errors. Good.", "Ошибок нет. Хорошо.";
    errors_partial: "There were more errors than are counted; the numbers are of the newest 5000.", "Ошибок больше, чем сосчитано; числа — по последним 5000.";
    address: "Address", "Адрес";
    hard_bounce: "Hard bounce", "Адреса нет";
    by_hand: "By hand", "Вручную";
    suppression_add: "Add an address", "Добавить адрес";
    import_csv: "Import CSV", "Загрузить CSV";
    import: "Import", "Загрузить";
    import_hint: "A column email and, if you like, reason, campaign_id and note; or one address a line. Up to 32 MB.", "Колонка email и, если нужно, reason, campaign_id и note; или по адресу в строке. До 32 МБ.";
    file: "File", "Файл";
    no_suppressions: "No address is suppressed.", "Стоп-лист пуст.";
    added: "Added", "Добавлено";
    were_there: "Were there before", "Уже были";
    refused: "Refused", "Не приняты";
    line: "Line", "Строка";
    problem: "Problem", "В чём дело";
    alias: "Alias", "Псевдоним";
    name: "Name", "Название";
    variables: "Variables", "Переменные";
    variables_hint: "One a line: name, name! when it is required, name = default", "По одной в строке: name, name! если обязательна, name = значение";
    plain_text: "Text", "Текст";
    template_add: "Add a template", "Добавить шаблон";
    no_templates: "No templates.", "Шаблонов нет.";
    preview: "Preview", "Просмотр";
    preview_values: "Values", "Значения";
    preview_hint: "name=Ann, city=Riga", "name=Анна, city=Рига";
    test_send: "Send a test mail", "Отправить пробное письмо";
    send: "Send", "Отправить";
    sent: "Sent.", "Отправлено.";
    events: "Events", "События";
    events_hint: "Empty: all. Otherwise types such as message.delivered, or message.*", "Пусто: все. Иначе типы: message.delivered или message.*";
    kind: "Kind", "Вид";
    kind_count: "number", "число";
    kind_octets: "octets", "байты";
    kind_duration: "time: 500ms, 30s, 5m, 2h, 3d", "время: 500ms, 30s, 5m, 2h, 3d";
    kind_switch: "on or off", "on или off";
    kind_choice: "one of these words", "одно из слов";
    failing_since: "Failing since", "Не отвечает с";
    no_webhooks: "No webhooks.", "Вебхуков нет.";
    webhook_add: "Add a webhook", "Добавить вебхук";
    headers: "Header fields", "Заголовки";
    max_concurrency: "Deliveries at once", "Одновременных доставок";
    rate_per_second: "Per second", "В секунду";
    ordered: "In order", "По порядку";
    signing_secret: "Signing secret", "Секрет подписи";
    disabled: "disabled", "отключён";
    failing: "failing", "не отвечает";
    works: "works", "работает";
    pending: "Pending", "Ждут";
    deliveries: "Deliveries", "Доставки";
    enable: "Enable", "Включить";
    disable: "Disable", "Отключить";
    test: "Test", "Проверить";
    rotate: "Rotate", "Сменить";
    rotate_secret: "New secret", "Новый секрет";
    replay: "Replay", "Повторить события";
    replayed: "Events to be posted again", "Событий будет отправлено";
    payload: "Payload", "Содержимое";
    key: "Key", "Ключ";
    scopes: "Scopes", "Права";
    scopes_hint: "There are", "Возможные";
    expires: "Expires", "Истекает";
    last_use: "Last use", "Последнее использование";
    no_keys: "No API keys.", "API-ключей нет.";
    key_add: "Make an API key", "Создать API-ключ";
    days_30: "in 30 days", "через 30 дней";
    days_90: "in 90 days", "через 90 дней";
    days_365: "in a year", "через год";
    sender_domains_hint: "Which it may send from; empty: any of this installation", "С каких можно отправлять; пусто: с любых";
    ip_allow: "Allowed addresses", "Разрешённые адреса";
    ip_allow_hint: "Networks such as 192.0.2.0/24; empty: any", "Сети, например 192.0.2.0/24; пусто: любые";
    daily_limit: "Recipients per day", "Получателей в день";
    zero_no_limit: "0: no limit", "0: без ограничения";
    test_key: "For tests", "Для проверок";
    test_key_hint: "Its mail goes to the local inbox only", "Письма попадают только в локальный ящик";
    revoke: "Revoke", "Отозвать";
    revoked: "revoked", "отозван";
    expired: "expired", "истёк";
    expires_soon: "expires soon", "скоро истечёт";
    test_only: "tests only", "только проверки";
    key_revoked: "The key is revoked, everywhere.", "Ключ отозван, везде.";
    how_to_use: "How to use it", "Как пользоваться";
    smtp_add: "Make an SMTP credential", "Создать SMTP-доступ";
    no_smtp: "No SMTP credentials.", "SMTP-доступов нет.";
    rate_limit: "Messages per hour", "Писем в час";
    rate_limit_hint: "Within smtp.credential_window; 0: the general limit", "За smtp.credential_window; 0: общий предел";
    client_settings: "Settings for the mail program", "Настройки почтовой программы";
    server: "Server", "Сервер";
    port_starttls: "Port (STARTTLS)", "Порт (STARTTLS)";
    port_tls: "Port (TLS)", "Порт (TLS)";
    authentication: "Authentication", "Аутентификация";
    credential_revoked: "The credential is revoked, everywhere.", "Доступ отозван, везде.";
    domain_add: "Add a domain", "Добавить домен";
    domain_added: "The domain is added. Publish these records.", "Домен добавлен. Опубликуйте эти записи.";
    no_domains: "No domains.", "Доменов нет.";
    dkim_keys: "DKIM keys", "Ключи DKIM";
    to_publish: "To publish in the DNS", "Опубликовать в DNS";
    purpose: "Purpose", "Назначение";
    dns_checks: "What the DNS shows", "Что видно в DNS";
    dns_unchecked: "Not looked up yet.", "Ещё не проверялось.";
    dns_check: "Check the DNS now", "Проверить DNS";
    dns_checked: "Looked up.", "Проверено.";
    dns_last_check: "Looked up last", "Последняя проверка";
    dns_ok: "ok", "верно";
    dns_missing: "missing", "нет записи";
    dns_wrong: "wrong", "неверно";
    dns_warning: "could be better", "можно лучше";
    dns_unknown: "no answer", "нет ответа";
    needed: "Needed", "Нужно";
    dns_required: "required", "обязательно";
    dns_recommended: "recommended", "желательно";
    dns_optional: "optional", "по желанию";
    found: "Found", "Найдено";
    what_next: "What to do next", "Что сделать";
    rotate_keys: "Rotate the keys", "Сменить ключи";
    keys_rotated: "New keys are made. Publish their records, then activate them.", "Новые ключи созданы. Опубликуйте их записи, затем включите.";
    activate_keys: "Activate the new keys", "Включить новые ключи";
    keys_activated: "The new keys sign from now on.", "Теперь подписывают новые ключи.";
    key_pending: "to be published", "ждёт публикации";
    key_active: "signs", "подписывает";
    key_retired: "retired", "выведен";
    value: "Value", "Значение";
    setting: "Setting", "Параметр";
    setting_change: "Change a setting", "Изменить параметр";
    setting_hint: "Empty: back to the default", "Пусто: вернуть исходное";
    default_value: "Default", "Исходное";
    range: "Range", "Пределы";
    who: "Who", "Кто";
    action: "Action", "Действие";
    target: "Target", "Над чем";
    client_address: "From address", "С адреса";
    request: "Request", "Запрос";
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
