//! `postern import-old`. What a crash leaves is said in [`crate::import_old`].

use std::process::ExitCode;

use anyhow::Context as _;
use postern_core::store::old_system::OldSystem;
use postern_kit::env::Env;

use crate::cli::ImportOld;
use crate::client::Client;
use crate::import_old::{self, Cipher};
use crate::output::{self, REFUSED, line};

pub(super) async fn import_old(args: &ImportOld, env: &Env) -> anyhow::Result<ExitCode> {
    let cipher = Cipher::from_env(env)?;
    let client = Client::new(&args.connection, env)?;
    // A url with a password is better not an argument, which everybody on the machine can read.
    let from = args.from.as_deref().or_else(|| env.get("POSTERN_OLD_DATABASE_URL"));
    let url = match (&args.dump, &args.scratch_url, from) {
        (Some(dump), Some(scratch), _) => {
            import_old::load(dump, scratch).await?;
            scratch
        }
        (None, None, Some(url)) => url,
        _ => anyhow::bail!("give --from DATABASE_URL, or --dump FILE with --scratch-url URL"),
    };
    let old = OldSystem::open(url).await?;
    let bar = output::progress(Some(0));
    let report = import_old::run(&old, &client, &cipher, args.dry_run, |table, done, all| {
        bar.set_message(table);
        bar.set_length(all);
        bar.set_position(done);
    });
    let report = report.await;
    bar.finish_and_clear();
    let report = report.context("the import stopped; run it again, it goes on where it was")?;
    if args.connection.json {
        line(&report.json(args.dry_run).to_string());
    } else {
        output::text(&report.text(args.dry_run));
    }
    Ok(if report.has_refused() { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
}
