//! `postern backup` and `postern restore`. What a crash leaves is said in [`crate::backup`].

use std::path::PathBuf;
use std::process::ExitCode;

use postern_kit::env::Env;
use serde_json::json;

use crate::backup::{self, BackupError, Order};
use crate::cli::{Backup, Restore};
use crate::output::{self, REFUSED, TRY_AGAIN, line};

pub(super) fn backup(args: &Backup, env: &Env) -> anyhow::Result<ExitCode> {
    if env.get("DATABASE_URL").is_some() {
        output::complain(
            "DATABASE_URL is set: the data is in PostgreSQL; back it up with pg_dump or pg_basebackup",
        );
        return Ok(ExitCode::from(REFUSED));
    }
    let data = data(env);
    let journal = env.get("POSTERN_TRACKER_DATA").map_or_else(|| data.join("tracker"), Into::into);
    let to = args.to.clone().unwrap_or_else(|| data.join(backup::FOLDER));
    let order = Order { data, journal, to, keep: args.keep.map(usize::from) };
    let bar = output::progress(Some(0));
    let made = backup::make(&order, |step, done, all| {
        bar.set_message(step);
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let made = match made {
        Ok(made) => made,
        Err(error) => return Ok(refuse(&error)),
    };
    if args.json {
        line(
            &json!({"path": made.path, "octets": made.octets, "files": made.files,
                     "removed": made.removed})
            .to_string(),
        );
        return Ok(ExitCode::SUCCESS);
    }
    line(&format!("{}  {} octets, {} files", made.path.display(), made.octets, made.files));
    for path in &made.removed {
        line(&format!("removed {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn restore(args: &Restore, env: &Env) -> ExitCode {
    let data = data(env);
    let bar = output::progress(None);
    let restored = backup::restore(&args.file, &data, args.replace, |octets| {
        bar.inc(octets);
        bar.set_message(format!("{} octets", bar.position()));
    });
    bar.finish_and_clear();
    let restored = match restored {
        Ok(restored) => restored,
        Err(error) => return refuse(&error),
    };
    let backup::Restored { begun_at, files, aside } = restored;
    if args.json {
        line(&json!({"begun_at": begun_at, "files": files, "aside": aside}).to_string());
        return ExitCode::SUCCESS;
    }
    line(&format!("{files} files of {begun_at} are in {}", data.display()));
    if let Some(aside) = aside {
        line(&format!("what was there is in {}; remove it when all is well", aside.display()));
    }
    line("Start postern. Mail that was sent after the backup was made is sent once more.");
    ExitCode::SUCCESS
}

fn data(env: &Env) -> PathBuf {
    PathBuf::from(env.text("POSTERN_DATA", "./data"))
}

/// What may go away by itself is told apart from what somebody has to mend.
fn refuse(error: &BackupError) -> ExitCode {
    output::complain(&error.to_string());
    let passes = matches!(error, BackupError::InUse(_) | BackupError::UnderWay(_));
    ExitCode::from(if passes { TRY_AGAIN } else { REFUSED })
}
