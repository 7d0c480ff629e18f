//! `TemplateService`.

use postern_proto::ids::TemplateId;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;
use postern_proto::v1::template_service_server::TemplateService;
use tonic::{Request, Response, Status};

use crate::intake::draft::Faults;
use crate::model::content::Content;
use crate::model::directory::{Template, Variable};
use crate::store::{Error, templates};
use crate::worker::Prepared;

use super::page::PAGE_BYTES_MAX;
use super::{Context, convert, etag};

/// Characters of an alias.
const ALIAS_MAX: usize = 64;
/// Characters of a display name.
const NAME_MAX: usize = 255;
/// Octets of a part.
const PART_BYTES_MAX: usize = 1 << 20;

/// The service.
pub struct Templates(pub Context);

#[tonic::async_trait]
impl TemplateService for Templates {
    async fn create_template(
        &self,
        request: Request<v1::CreateTemplateRequest>,
    ) -> Result<Response<v1::CreateTemplateResponse>, Status> {
        let by = self.0.admit(request.metadata(), "templates:write")?;
        let request = request.into_inner();
        let asked = request.template.unwrap_or_default();
        let now_ms = self.0.clock.now_ms();
        let template = self.checked(asked, TemplateId::generate(), now_ms)?;
        if request.validate_only {
            self.check_free(&template).await?;
            return Ok(Response::new(v1::CreateTemplateResponse {
                template: Some(shown(template)),
            }));
        }
        let db = self.0.audited(&by, "template.create", &template.id.to_string(), &template.alias);
        templates::create(&db, &template).await.map_err(|e| taken(e, &template.alias))?;
        self.0.directory.refresh().await.map_err(Failure::from)?;
        Ok(Response::new(v1::CreateTemplateResponse { template: Some(shown(template)) }))
    }

    async fn get_template(
        &self,
        request: Request<v1::GetTemplateRequest>,
    ) -> Result<Response<v1::GetTemplateResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "templates:read")?;
        let template = self.find(&request.get_ref().id).await?;
        Ok(Response::new(v1::GetTemplateResponse { template: Some(shown(template)) }))
    }

    async fn list_templates(
        &self,
        request: Request<v1::ListTemplatesRequest>,
    ) -> Result<Response<v1::ListTemplatesResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "templates:read")?;
        let (pages, request) = (&self.0.pages, request.into_inner());
        let size = pages.size(request.page_size)?;
        let after = pages.cursor("page_token", b"templates", &request.page_token)?;
        let after = after.unwrap_or_default();
        let list = templates::page(&*self.0.db, &after, size, PAGE_BYTES_MAX).await;
        let (mut list, size) = list.map_err(Failure::from)?;
        let next_page_token = pages.cut(&mut list, size, b"templates", |last| last.alias.clone());
        let templates = list.into_iter().map(shown).collect();
        Ok(Response::new(v1::ListTemplatesResponse { templates, next_page_token }))
    }

    async fn update_template(
        &self,
        request: Request<v1::UpdateTemplateRequest>,
    ) -> Result<Response<v1::UpdateTemplateResponse>, Status> {
        let by = self.0.admit(request.metadata(), "templates:write")?;
        let request = request.into_inner();
        let asked = request.template.unwrap_or_default();
        let old = self.find(&asked.id).await?;
        let expected = etag::check(&asked.etag, &etag(&old))?.then_some(old.update_ms);
        // Later than before, so that two changes within a millisecond differ.
        let now_ms = self.0.clock.now_ms().max(old.update_ms + 1);
        let mut template = self.checked(asked, old.id, now_ms)?;
        template.create_ms = old.create_ms;
        if request.validate_only {
            self.check_free(&template).await?;
            return Ok(Response::new(v1::UpdateTemplateResponse {
                template: Some(shown(template)),
            }));
        }
        let db = self.0.audited(&by, "template.update", &template.id.to_string(), &template.alias);
        let updated = templates::update(&db, &template, expected).await;
        if !updated.map_err(|e| taken(e, &template.alias))? {
            // It went, or changed, since it was found.
            return Err(expected
                .map_or_else(|| missing(&template.alias), |_| etag::mismatch())
                .into());
        }
        self.0.directory.refresh().await.map_err(Failure::from)?;
        Ok(Response::new(v1::UpdateTemplateResponse { template: Some(shown(template)) }))
    }

    async fn delete_template(
        &self,
        request: Request<v1::DeleteTemplateRequest>,
    ) -> Result<Response<v1::DeleteTemplateResponse>, Status> {
        let by = self.0.admit(request.metadata(), "templates:write")?;
        let request = request.into_inner();
        match self.find(&request.id).await {
            Ok(template) => {
                let guarded = etag::check(&request.etag, &etag(&template))?;
                if request.validate_only {
                    return Ok(Response::new(v1::DeleteTemplateResponse {}));
                }
                let expected = guarded.then_some(template.update_ms);
                let (id, alias) = (template.id.to_string(), &template.alias);
                let db = self.0.audited(&by, "template.delete", &id, alias);
                let deleted = templates::delete(&db, template.id, expected).await;
                if !deleted.map_err(Failure::from)? && guarded {
                    return Err(etag::mismatch().into());
                }
                self.0.directory.refresh().await.map_err(Failure::from)?;
            }
            Err(failure) if failure.reason == Reason::TemplateNotFound && request.allow_missing => {
            }
            Err(failure) => return Err(failure.into()),
        }
        Ok(Response::new(v1::DeleteTemplateResponse {}))
    }

    async fn render_template(
        &self,
        request: Request<v1::RenderTemplateRequest>,
    ) -> Result<Response<v1::RenderTemplateResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "templates:read")?;
        let request = request.into_inner();
        let template = self.find(&request.id).await?;
        let rendered =
            self.render(template, convert::variables("variables", request.variables)?)?;
        Ok(Response::new(rendered))
    }
}

impl Templates {
    async fn find(&self, name: &str) -> Result<Template, Failure> {
        let found = templates::find(&*self.0.db, name).await?;
        found.ok_or_else(|| missing(name))
    }

    /// Whether no other template has the alias.
    async fn check_free(&self, template: &Template) -> Result<(), Failure> {
        let found = templates::find(&*self.0.db, &template.alias).await?;
        if found.is_some_and(|found| found.id != template.id) {
            return Err(taken(Error::Conflict(String::new()), &template.alias));
        }
        Ok(())
    }

    fn check(&self, asked: &v1::Template) -> Result<(), Failure> {
        let mut faults = Faults::default();
        let alias_fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if asked.alias.is_empty()
            || asked.alias.len() > ALIAS_MAX
            || !asked.alias.chars().all(alias_fits)
        {
            let text = "needs 1 to 64 letters, digits and _ . -";
            faults.add(Reason::InvalidValue, "template.alias", text);
        }
        if asked.display_name.chars().count() > NAME_MAX {
            faults.add(
                Reason::ValueOutOfRange,
                "template.display_name",
                "has more than 255 characters",
            );
        }
        if asked.html.is_empty() && asked.text.is_empty() {
            faults.add(
                Reason::MissingField,
                "template.html",
                "there is no content; give html or text",
            );
        }
        for (field, part) in
            [("subject", &asked.subject), ("html", &asked.html), ("text", &asked.text)]
        {
            if part.len() > PART_BYTES_MAX {
                faults.add(
                    Reason::ValueOutOfRange,
                    format!("template.{field}"),
                    "is larger than 1 MiB",
                );
            } else if let Err(error) = self.0.directory.compile(part) {
                faults.add(Reason::TemplateSyntax, format!("template.{field}"), error.to_string());
            }
        }
        for (n, variable) in asked.variables.iter().enumerate() {
            let name_fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if variable.name.is_empty() || !variable.name.chars().all(name_fits) {
                let field = format!("template.variables[{n}].name");
                faults.add(Reason::InvalidValue, field, "needs letters, digits and underscores");
            }
        }
        faults.into_result()
    }

    fn checked(
        &self,
        asked: v1::Template,
        id: TemplateId,
        now_ms: i64,
    ) -> Result<Template, Failure> {
        self.check(&asked)?;
        let variable = |variable: v1::TemplateVariable| Variable {
            name: variable.name,
            required: variable.required,
            default: variable.default_value,
        };
        Ok(Template {
            id,
            alias: asked.alias,
            display_name: asked.display_name,
            subject: asked.subject,
            html: asked.html,
            text: asked.text,
            variables: asked.variables.into_iter().map(variable).collect(),
            create_ms: now_ms,
            update_ms: now_ms,
        })
    }

    fn render(
        &self,
        template: Template,
        variables: String,
    ) -> Result<v1::RenderTemplateResponse, Failure> {
        let content = Content {
            subject: template.subject,
            html: template.html,
            text: template.text,
            liquid: true,
            ..Content::default()
        };
        let compiled = Prepared::compile(&self.0.directory, &content);
        let rendered = compiled.and_then(|compiled| {
            Prepared { content, compiled, required: Vec::new() }.render(&variables)
        });
        let rendered = rendered.map_err(|error| {
            let reason = match &error {
                crate::template::TemplateError::MissingVariable(_) => {
                    Reason::TemplateVariableMissing
                }
                _ => Reason::TemplateSyntax,
            };
            Failure::field(reason, "variables", error.to_string())
        })?;
        let (subject, html) = (rendered.subject, rendered.html);
        Ok(v1::RenderTemplateResponse { subject, html, text: rendered.text })
    }
}

fn missing(name: &str) -> Failure {
    let name: String = name.chars().take(ALIAS_MAX).collect();
    let text = format!("there is no template '{name}'");
    Failure::new(Reason::TemplateNotFound, text).with("name", name)
}

fn taken(error: Error, alias: &str) -> Failure {
    match error {
        Error::Conflict(_) => {
            let text = format!("there is a template '{alias}' already; update it instead");
            Failure::new(Reason::TemplateExists, text).with("name", alias)
        }
        other => other.into(),
    }
}

fn etag(template: &Template) -> String {
    etag::of(&[template.id.uuid().as_bytes(), &template.update_ms.to_be_bytes()])
}

fn shown(template: Template) -> v1::Template {
    let etag = etag(&template);
    let variable = |variable: Variable| v1::TemplateVariable {
        name: variable.name,
        required: variable.required,
        default_value: variable.default,
    };
    v1::Template {
        id: template.id.to_string(),
        alias: template.alias,
        display_name: template.display_name,
        subject: template.subject,
        html: template.html,
        text: template.text,
        variables: template.variables.into_iter().map(variable).collect(),
        create_time: Some(timestamp(template.create_ms)),
        update_time: Some(timestamp(template.update_ms)),
        etag,
    }
}
