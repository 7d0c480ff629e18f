//! The one table of all environment variables, and what is done with it: the check at the start, the
//! manual, `--help` and `postern config`.
//!
//! Constant data and pure functions, used before a port is opened; a crash has nothing to lose.

mod check;
mod manual;
mod production;
mod shown;
mod table;

use postern_proto::settings;

pub use self::check::{Problems, check, problems};
pub use self::manual::{help, markdown};
pub use self::production::{MODE, is_local, is_placeholder, is_production};
pub use self::shown::{Shown, effective};
pub use self::table::ALL;

/// Who reads a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything in one process.
    Up,
    /// The core.
    Core,
    /// The REST gateway.
    Rest,
    /// The SMTP gateway.
    Smtp,
    /// The tracking edge.
    Tracker,
    /// Certificates by ACME, in a process of its own.
    Acme,
    /// The operator's commands.
    Command,
    /// `docker-compose.yml`, and no code.
    Compose,
}

impl Role {
    /// The roles that serve something.
    pub const SERVING: [Self; 5] = [Self::Up, Self::Core, Self::Rest, Self::Smtp, Self::Tracker];

    /// As the manual and the command line write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Core => "core",
            Self::Rest => "rest",
            Self::Smtp => "smtp",
            Self::Tracker => "tracker",
            Self::Acme => "acme",
            Self::Command => "commands",
            Self::Compose => "compose",
        }
    }
}

/// How a value is written, and what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text that its reader judges.
    Text,
    /// Our host name as others see it: production wants a real one.
    Name,
    /// `on` or `off`.
    Switch,
    /// A number.
    Count,
    /// A duration such as `30s`.
    Time,
    /// An address to listen on.
    Address,
    /// Addresses to listen on, or `off`.
    Addresses,
    /// A list separated by commas.
    List,
    /// Networks separated by commas.
    Networks,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A file or folder.
    Path,
    /// A url; a password in it is not shown.
    Url,
    /// A secret of our own making, at least 32 characters in production.
    Secret,
    /// The keys of tracking links: `ID:SECRET`, separated by commas.
    Keys,
    /// A password that a person types, at least 12 characters.
    Password,
    /// A secret that another system made, of whatever length.
    Foreign,
}

impl Kind {
    /// As the manual names it.
    pub fn name(self) -> String {
        let name = match self {
            Self::Text => "text",
            Self::Name => "host name",
            Self::Switch => "on, off",
            Self::Count => "number",
            Self::Time => "time",
            Self::Address => "address",
            Self::Addresses => "addresses, off",
            Self::List => "list",
            Self::Networks => "networks",
            Self::Choice(words) => return words.join(", "),
            Self::Path => "path",
            Self::Url => "url",
            Self::Secret | Self::Keys | Self::Password | Self::Foreign => "secret",
        };
        name.to_owned()
    }

    /// Whether nothing of a value may be shown.
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Keys | Self::Password | Self::Foreign)
    }
}

/// A variable that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// The name.
    pub name: &'static str,
    /// How it is written.
    pub kind: Kind,
    /// What holds when it is unset, in words where it depends; empty: nothing.
    pub default: &'static str,
    /// Who reads it.
    pub roles: &'static [Role],
    /// Who needs it in production.
    pub required: &'static [Role],
    /// What it is for.
    pub description: &'static str,
}

impl Variable {
    /// Whether this role reads it. Everything in one process reads what its parts read, except where
    /// the core is.
    pub fn is_read_by(&self, role: Role) -> bool {
        concerns(self.roles, role) && !(role == Role::Up && self.name.starts_with("POSTERN_CORE_"))
    }

    /// Whether this role needs it in production.
    pub fn is_required_by(&self, role: Role) -> bool {
        concerns(self.required, role)
    }
}

fn concerns(roles: &[Role], role: Role) -> bool {
    let part = |one: &Role| one.is_served_by_up();
    roles.contains(&role) || (role == Role::Up && roles.iter().any(part))
}

impl Role {
    fn is_served_by_up(&self) -> bool {
        Self::SERVING.contains(self)
    }
}

/// The variable of this name.
pub fn find(name: &str) -> Option<&'static Variable> {
    ALL.iter().find(|variable| variable.name == name)
}

/// The live setting whose default this variable gives.
pub fn setting_of(name: &str) -> Option<&'static settings::Definition> {
    settings::ALL.iter().find(|definition| definition.variable() == name)
}
