//! Where a value stands, in the spelling of the contract and in that of the caller.

/// The same place in both spellings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    pub(super) contract: String,
    pub(super) caller: String,
}

impl Place {
    /// A place at the top, with the caller's name for it.
    pub(crate) fn named(&self, name: &str) -> Self {
        self.child(name, name)
    }

    pub(super) fn child(&self, contract: &str, caller: &str) -> Self {
        let join = |base: &str, name: &str| match base {
            "" => name.to_owned(),
            base => format!("{base}.{name}"),
        };
        Self { contract: join(&self.contract, contract), caller: join(&self.caller, caller) }
    }

    pub(super) fn index(&self, index: usize) -> Self {
        Self {
            contract: format!("{}[{index}]", self.contract),
            caller: format!("{}[{index}]", self.caller),
        }
    }
}
