//! What a page is made of. Pages are put together from these parts, and one template shows them: what
//! people and remote servers wrote is escaped there and nowhere else.
//!
//! Plain data; a crash has nothing to lose.

use super::chart::Chart;
use super::figures::{grouped, rfc3339, shown};

/// Octets of a word that is not broken over lines.
const WHOLE_MAX: usize = 36;

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Warn,
    Bad,
}

impl Tone {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// A moment, as a template asks for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct When(pub(super) i64);

impl When {
    /// For programs.
    pub(super) fn exact(self) -> String {
        rfc3339(self.0)
    }

    /// For people.
    pub(super) fn shown(self) -> String {
        shown(self.0)
    }
}

/// One cell of a table, or one value of a list of facts.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Text(String),
    Code(String),
    Link {
        text: String,
        href: String,
    },
    Badge {
        text: String,
        tone: Tone,
    },
    /// None is shown as a dash.
    Time(Option<When>),
    Number(i64),
    Actions(Vec<Action>),
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn code(text: impl Into<String>) -> Self {
        Self::Code(text.into())
    }

    pub(super) fn link(text: impl Into<String>, href: impl Into<String>) -> Self {
        Self::Link { text: text.into(), href: href.into() }
    }

    pub(super) fn badge(text: impl Into<String>, tone: Tone) -> Self {
        Self::Badge { text: text.into(), tone }
    }

    pub(super) fn time(time: Option<prost_types::Timestamp>) -> Self {
        Self::Time(when(time))
    }

    /// A number for people.
    pub(super) fn grouped(&self) -> String {
        match self {
            Self::Number(number) => grouped(*number),
            other => other.plain(),
        }
    }

    /// One short word, which is not broken over lines where there is room: an id, an address, a name.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Text(text) | Self::Code(text) | Self::Link { text, .. } => {
                text.len() <= WHOLE_MAX && !text.contains(char::is_whitespace)
            }
            _ => false,
        }
    }

    /// A sentence, which would be one word per line between ids if its column had no width of its own.
    pub(super) fn is_prose(&self) -> bool {
        matches!(self, Self::Text(text) if text.len() > WHOLE_MAX)
    }

    /// What stands in an exported table.
    pub(super) fn plain(&self) -> String {
        match self {
            Self::Text(text) | Self::Code(text) => text.clone(),
            Self::Link { text, .. } | Self::Badge { text, .. } => text.clone(),
            Self::Time(time) => time.map(When::exact).unwrap_or_default(),
            Self::Number(number) => number.to_string(),
            Self::Actions(_) => String::new(),
        }
    }
}

/// A button that posts something.
#[derive(Debug, Clone, Default)]
pub(super) struct Action {
    pub(super) label: String,
    pub(super) path: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) danger: bool,
    /// Asked before it is posted, where scripts run; empty asks nothing.
    pub(super) confirm: String,
}

impl Action {
    /// Does `act` at this address.
    pub(super) fn new(path: impl Into<String>, act: &str, label: &str) -> Self {
        let (path, label) = (path.into(), label.to_owned());
        Self { path, label, ..Self::default() }.field("act", act)
    }

    /// Says what to do it with.
    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks first; what it is done to is named where the page does not say it.
    pub(super) fn confirmed(self, what: &str) -> Self {
        let confirm = match what {
            "" => format!("{}?", self.label),
            what => format!("{}: {what}?", self.label),
        };
        Self { confirm, ..self }
    }

    /// Cannot be taken back.
    pub(super) fn danger(self) -> Self {
        Self { danger: true, ..self }
    }
}

/// A table.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) title: String,
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// Shown when there are no rows.
    pub(super) empty: String,
    /// Where it goes on; empty at the end.
    pub(super) next: String,
    /// Where to get it as CSV; empty for not at all.
    pub(super) csv: String,
}

/// What a field takes.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Text,
    Password,
    /// A code of an authenticator app.
    Code,
    Area(u8),
    /// Value and label of each choice.
    Select(Vec<(String, String)>),
    Check,
    Hidden,
    File,
    Date,
}

/// A field of a form.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) value: String,
    pub(super) kind: Kind,
    pub(super) hint: String,
    pub(super) required: bool,
}

impl Field {
    pub(super) fn new(name: &str, label: &str, kind: Kind) -> Self {
        let (value, hint) = (String::new(), String::new());
        let (name, label) = (name.to_owned(), label.to_owned());
        Self { name, label, value, kind, hint, required: false }
    }

    /// A line of text with what is in it.
    pub(super) fn text(name: &str, label: &str, value: &str) -> Self {
        Self::new(name, label, Kind::Text).value(value)
    }

    pub(super) fn hidden(name: &str, value: impl Into<String>) -> Self {
        Self { value: value.into(), ..Self::new(name, "", Kind::Hidden) }
    }

    pub(super) fn value(self, value: impl Into<String>) -> Self {
        Self { value: value.into(), ..self }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    pub(super) fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(super) fn is_checked(&self) -> bool {
        self.value == "on"
    }
}

/// A form.
#[derive(Debug, Clone, Default)]
pub(super) struct Form {
    pub(super) title: String,
    pub(super) path: String,
    pub(super) fields: Vec<Field>,
    pub(super) submit: String,
    /// Sent as part of the address: a filter.
    pub(super) get: bool,
    /// In one line, for filters and single values.
    pub(super) inline: bool,
    pub(super) danger: bool,
    /// It is shown when somebody opens it.
    pub(super) folded: bool,
    /// What it begins may take long; see [`super::work`].
    pub(super) long: bool,
}

impl Form {
    pub(super) fn has_file(&self) -> bool {
        self.fields.iter().any(|field| matches!(field.kind, Kind::File))
    }
}

/// A number that is looked at first.
#[derive(Debug, Clone, Default)]
pub(super) struct Tile {
    pub(super) label: String,
    pub(super) value: String,
    pub(super) hint: String,
    pub(super) tone: Tone,
    /// Where it leads; empty for nowhere.
    pub(super) href: String,
}

/// Something that happened.
#[derive(Debug, Clone, Default)]
pub(super) struct Moment {
    pub(super) time: Option<When>,
    pub(super) title: String,
    pub(super) tone: Tone,
    pub(super) text: String,
    /// Shown as it is, when somebody opens it.
    pub(super) code: String,
}

/// A part of a page.
#[derive(Debug, Clone)]
pub(super) enum Block {
    Tiles(Vec<Tile>),
    Chart(Chart),
    Table(Table),
    Form(Form),
    Facts {
        title: String,
        rows: Vec<(String, Cell)>,
    },
    Actions(Vec<Action>),
    /// Shown this once.
    Secret {
        title: String,
        value: String,
        note: String,
    },
    Code {
        title: String,
        text: String,
    },
    /// A page of ours in a frame, which may run nothing.
    Frame {
        title: String,
        src: String,
    },
    /// A picture of ours.
    Picture {
        title: String,
        src: String,
    },
    Moments {
        title: String,
        moments: Vec<Moment>,
    },
    Notice {
        tone: Tone,
        text: String,
    },
    /// Label, address, and whether it is the present one.
    Tabs(Vec<(String, String, bool)>),
}

impl Block {
    /// The table that it is.
    pub(super) fn table(&self) -> Option<&Table> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }
}

/// A time of the contract.
pub(super) fn when(time: Option<prost_types::Timestamp>) -> Option<When> {
    time.and_then(|time| postern_proto::time::millis(&time)).map(When)
}
