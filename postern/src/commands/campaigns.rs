//! `postern campaigns`.

use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::campaign_service_client::CampaignServiceClient;
use tonic::transport::Channel;

use super::json;
use crate::cli::{CampaignChange, Campaigns, ListArgs, Named};
use crate::client::Client;
use crate::output::line;

pub(super) async fn campaigns(command: Campaigns, env: &Env) -> anyhow::Result<()> {
    match command {
        Campaigns::Hold(args) => hold(args, env).await,
        Campaigns::Resume(args) => resume(args, env).await,
        Campaigns::Show(args) => show_one(args, env).await,
        Campaigns::List(args) => list(&args, env).await,
    }
}

fn service(client: &Client) -> CampaignServiceClient<Channel> {
    CampaignServiceClient::new(client.channel.clone())
}

async fn hold(args: CampaignChange, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let (campaign_id, note) = (args.campaign, args.note);
    let request = v1::HoldCampaignRequest { campaign_id, note, validate_only: false };
    let response = service(&client).hold_campaign(client.request(request)).await?.into_inner();
    show(&response.hold.unwrap_or_default(), args.connection.json);
    Ok(())
}

async fn resume(args: CampaignChange, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let (campaign_id, note) = (args.campaign, args.note);
    let request = v1::ResumeCampaignRequest { campaign_id, note, validate_only: false };
    let response = service(&client).resume_campaign(client.request(request)).await?.into_inner();
    show(&response.hold.unwrap_or_default(), args.connection.json);
    Ok(())
}

async fn show_one(args: Named, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::GetCampaignHoldRequest { campaign_id: args.name };
    let response = service(&client).get_campaign_hold(client.request(request)).await?.into_inner();
    let hold = response.hold.unwrap_or_default();
    if args.connection.json {
        let mut value = json::campaign_hold(&hold);
        value["log"] = response.log.iter().map(json::campaign_log_entry).collect();
        line(&value.to_string());
        return Ok(());
    }
    show(&hold, false);
    for entry in &response.log {
        let time = json::time(entry.create_time.as_ref());
        let time = time.as_str().unwrap_or_default();
        let action = json::campaign_action(entry.action());
        line(&format!("  {time}  {action:<8} {}  {}", entry.actor, entry.note));
    }
    Ok(())
}

async fn list(args: &ListArgs, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let mut page_token = String::new();
    loop {
        let request = v1::ListCampaignHoldsRequest { page_size: 1000, page_token };
        let page = service(&client).list_campaign_holds(client.request(request)).await?;
        let page = page.into_inner();
        for hold in &page.holds {
            show(hold, args.connection.json);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

fn show(hold: &v1::CampaignHold, as_json: bool) {
    if as_json {
        line(&json::campaign_hold(hold).to_string());
        return;
    }
    let state = if hold.held { "held" } else { "not held" };
    line(&format!("{}  {state}  {}", hold.campaign_id, hold.note));
}
