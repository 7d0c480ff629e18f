//! Stored templates.

use postern_proto::ids::TemplateId;

use crate::model::directory::Template;

use super::db::{Database, Statement, Where};
use super::value::{Row, Value, json};
use super::{Error, directory};

const TEMPLATE: &str = "SELECT id, alias, display_name, subject, html, text, variables, create_ms, \
    update_ms FROM templates";

/// Stores a template. [`Error::Conflict`] when the alias is taken.
pub async fn create(db: &dyn Database, template: &Template) -> Result<(), Error> {
    let sql = "INSERT INTO templates (id, alias, display_name, subject, html, text, variables, \
               create_ms, update_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let insert = Statement::new(
        sql,
        vec![
            template.id.uuid().into(),
            template.alias.as_str().into(),
            template.display_name.as_str().into(),
            template.subject.as_str().into(),
            template.html.as_str().into(),
            template.text.as_str().into(),
            json(&template.variables).into(),
            template.create_ms.into(),
            template.update_ms.into(),
        ],
    );
    db.write(vec![insert, directory::raise_version()]).await.map(|_| ())
}

/// Replaces a template, named by its id; with `expected`, only while it last changed then. Tells
/// whether it did.
pub async fn update(
    db: &dyn Database,
    template: &Template,
    expected: Option<i64>,
) -> Result<bool, Error> {
    let sql = "UPDATE templates SET alias = $1, display_name = $2, subject = $3, html = $4, \
               text = $5, variables = $6, update_ms = $7 WHERE id = $8";
    let update = guarded(
        sql,
        vec![
            template.alias.as_str().into(),
            template.display_name.as_str().into(),
            template.subject.as_str().into(),
            template.html.as_str().into(),
            template.text.as_str().into(),
            json(&template.variables).into(),
            template.update_ms.into(),
            template.id.uuid().into(),
        ],
        expected,
    );
    Ok(db.write(vec![update, directory::raise_version()]).await?[0].changed > 0)
}

/// Deletes a template; with `expected`, only while it last changed then. Tells whether it did.
pub async fn delete(
    db: &dyn Database,
    id: TemplateId,
    expected: Option<i64>,
) -> Result<bool, Error> {
    let sql = "DELETE FROM templates WHERE id = $1";
    let delete = guarded(sql, vec![id.uuid().into()], expected);
    Ok(db.write(vec![delete, directory::raise_version()]).await?[0].changed > 0)
}

/// A statement that ends in conditions, with one more when a version is expected.
fn guarded(sql: &str, mut params: Vec<Value>, expected: Option<i64>) -> Statement {
    let Some(update_ms) = expected else {
        return Statement::new(sql, params);
    };
    params.push(update_ms.into());
    let sql = format!("{sql} AND update_ms = ${}", params.len());
    Statement::new(sql, params)
}

/// The template with this id or alias.
pub async fn find(db: &dyn Database, name: &str) -> Result<Option<Template>, Error> {
    let mut conditions = Where::default();
    match name.parse::<TemplateId>() {
        Ok(id) => conditions.and("id = ?", id.uuid()),
        Err(_) => conditions.and("alias = ?", name),
    }
    db.read(conditions.statement(TEMPLATE, "")).await?.first().map(template).transpose()
}

/// Templates by alias, from behind `after`.
pub async fn list(db: &dyn Database, after: &str, limit: usize) -> Result<Vec<Template>, Error> {
    let mut conditions = Where::default();
    conditions.and("alias > ?", after);
    let rest = format!("ORDER BY alias LIMIT {limit}");
    db.read(conditions.statement(TEMPLATE, &rest)).await?.iter().map(template).collect()
}

/// A page of at most `size` templates, cut early where they hold more than `bytes` characters
/// together. Returns how long the page is; when there is more, one template follows it.
pub async fn page(
    db: &dyn Database,
    after: &str,
    size: usize,
    bytes: usize,
) -> Result<(Vec<Template>, usize), Error> {
    let mut conditions = Where::default();
    conditions.and("alias > ?", after);
    let sizes = "SELECT CAST(length(subject) + length(html) + length(text) + length(variables) \
                 AS bigint) FROM templates";
    let rest = format!("ORDER BY alias LIMIT {size}");
    let mut total = 0;
    let mut fitting = 0;
    for row in db.read(conditions.statement(sizes, &rest)).await? {
        total += row.int(0)?;
        if fitting > 0 && total > bytes as i64 {
            break;
        }
        fitting += 1;
    }
    Ok((list(db, after, fitting + 1).await?, fitting))
}

fn template(row: &Row) -> Result<Template, Error> {
    Ok(Template {
        id: TemplateId::from_uuid(row.uuid(0)?),
        alias: row.text(1)?,
        display_name: row.text(2)?,
        subject: row.text(3)?,
        html: row.text(4)?,
        text: row.text(5)?,
        variables: row.json(6)?,
        create_ms: row.int(7)?,
        update_ms: row.int(8)?,
    })
}
