//! `postern settings`.

use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::settings_service_client::SettingsServiceClient;
use tonic::transport::Channel;

use super::json;
use crate::cli::{Connection, Settings, SettingsList};
use crate::client::Client;
use crate::output::line;

pub(super) async fn settings(command: Settings, env: &Env) -> anyhow::Result<()> {
    match command {
        Settings::List(args) => list(&args, env).await,
        Settings::Set(args) => update(args.name, args.value, &args.connection, env).await,
        Settings::Reset(args) => update(args.name, String::new(), &args.connection, env).await,
    }
}

fn service(client: &Client) -> SettingsServiceClient<Channel> {
    SettingsServiceClient::new(client.channel.clone())
}

async fn list(args: &SettingsList, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::ListSettingsRequest { prefix: args.prefix.clone() };
    let response = service(&client).list_settings(client.request(request)).await?.into_inner();
    for setting in &response.settings {
        show(setting, args.connection.json);
    }
    Ok(())
}

async fn update(
    name: String,
    value: String,
    connection: &Connection,
    env: &Env,
) -> anyhow::Result<()> {
    let client = Client::new(connection, env)?;
    let request = v1::UpdateSettingRequest { name, value, ..Default::default() };
    let response = service(&client).update_setting(client.request(request)).await?.into_inner();
    show(&response.setting.unwrap_or_default(), connection.json);
    Ok(())
}

fn show(setting: &v1::Setting, as_json: bool) {
    if as_json {
        line(&json::setting(setting).to_string());
        return;
    }
    let v1::Setting { name, value, default_value, description, .. } = setting;
    let mark = if setting.changed { format!(" (default {default_value})") } else { String::new() };
    line(&format!("{name} = {value}{mark}\n    {description}"));
}
