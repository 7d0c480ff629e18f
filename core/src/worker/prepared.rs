//! Content that is ready to be filled in for one recipient after the other.

use crate::directory::Directory;
use crate::model::content::Content;
use crate::template::{self, Compiled, TemplateError};

/// The parts of a mail with a recipient's values filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The subject, without line breaks.
    pub subject: String,
    /// The html body.
    pub html: String,
    /// The text body.
    pub text: String,
}

/// Content, compiled once for all its recipients where it is Liquid.
pub struct Prepared {
    /// The content.
    pub content: Content,
    /// Subject, html and text; none when the content is not Liquid.
    pub compiled: Option<[Compiled; 3]>,
    /// Variables that a template demands of every recipient. Only needed at acceptance.
    pub required: Vec<String>,
}

impl Prepared {
    /// Compiles what a content has to be rendered from.
    pub fn compile(
        directory: &Directory,
        content: &Content,
    ) -> Result<Option<[Compiled; 3]>, TemplateError> {
        if !content.liquid {
            return Ok(None);
        }
        let subject = directory.compile(&content.subject)?;
        let html = directory.compile(&content.html)?;
        Ok(Some([subject, html, directory.compile(&content.text)?]))
    }

    /// The first variable that is demanded and has no value, shared or the recipient's own.
    pub fn missing(&self, own: &str) -> Result<Option<&str>, TemplateError> {
        if self.required.is_empty() {
            return Ok(None);
        }
        let (shared, own) =
            (template::variables(&self.content.variables)?, template::variables(own)?);
        let has = |name: &str| shared.contains_key(name) || own.contains_key(name);
        Ok(self.required.iter().map(String::as_str).find(|name| !has(name)))
    }

    /// Fills in a recipient's variables, a JSON object or empty, over the shared ones.
    pub fn render(&self, own: &str) -> Result<Rendered, TemplateError> {
        let content = &self.content;
        let Some([subject, html, text]) = &self.compiled else {
            let (subject, html) = (content.subject.clone(), content.html.clone());
            return Ok(Rendered { subject, html, text: content.text.clone() });
        };
        let mut variables = template::variables(&content.variables)?;
        variables.extend(template::variables(own)?);
        let subject = subject.render(&variables, content.lenient)?;
        if subject.contains(['\r', '\n', '\0']) {
            let text = "the subject contains a line break or NUL once it is filled in";
            return Err(TemplateError::Forbidden(text.to_owned()));
        }
        let html = html.render(&variables, content.lenient)?;
        Ok(Rendered { subject, html, text: text.render(&variables, content.lenient)? })
    }
}
