//! What words of refusals mean besides what is built in. A change raises the version of the directory,
//! as in [`super::directory`].

use crate::model::delivery::Category;

use super::db::{Database, Statement};
use super::{Error, directory};

/// The phrases with their meaning, in the order in which they are tried.
pub async fn list(db: &dyn Database) -> Result<Vec<(Category, String)>, Error> {
    let sql = "SELECT category, phrase FROM bounce_patterns ORDER BY position";
    let rows = db.read(Statement::new(sql, Vec::new())).await?;
    let pattern = |row: &super::value::Row| {
        let category = Category::from_name(&row.text(0)?);
        let category = category.ok_or_else(|| Error::Corrupt("unknown category".to_owned()))?;
        Ok((category, row.text(1)?))
    };
    rows.iter().map(pattern).collect()
}

/// Puts these in the place of all there were.
pub async fn replace(db: &dyn Database, patterns: &[(Category, String)]) -> Result<(), Error> {
    let mut statements = vec![Statement::new("DELETE FROM bounce_patterns", Vec::new())];
    let sql = "INSERT INTO bounce_patterns (position, category, phrase) VALUES ($1, $2, $3)";
    let insert = |(n, (category, phrase)): (usize, &(Category, String))| {
        let params = vec![(n as i64).into(), category.name().into(), phrase.as_str().into()];
        Statement::new(sql, params)
    };
    statements.extend(patterns.iter().enumerate().map(insert));
    statements.push(directory::raise_version());
    db.write(statements).await.map(|_| ())
}
