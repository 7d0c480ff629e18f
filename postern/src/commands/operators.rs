//! `postern operators`.

use postern_kit::env::Env;
use postern_proto::v1;
use postern_proto::v1::operator_service_client::OperatorServiceClient;
use tonic::transport::Channel;

use super::json;
use crate::cli::{ListArgs, Named, OperatorCreate, OperatorRole, Operators, Role};
use crate::client::Client;
use crate::output::line;

pub(super) async fn operators(command: Operators, env: &Env) -> anyhow::Result<()> {
    match command {
        Operators::List(args) => list(&args, env).await,
        Operators::Create(args) => create(args, env).await,
        Operators::ResetPassword(args) => reset_password(args, env).await,
        Operators::Role(args) => role(args, env).await,
        Operators::Delete(args) => delete(args, env).await,
    }
}

fn service(client: &Client) -> OperatorServiceClient<Channel> {
    OperatorServiceClient::new(client.channel.clone())
}

fn wanted(role: Role) -> i32 {
    match role {
        Role::Viewer => v1::OperatorRole::Viewer.into(),
        Role::Admin => v1::OperatorRole::Admin.into(),
    }
}

async fn list(args: &ListArgs, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let mut page_token = String::new();
    loop {
        let request = v1::ListOperatorsRequest { page_size: 1000, page_token };
        let page = service(&client).list_operators(client.request(request)).await?.into_inner();
        for operator in &page.operators {
            show(operator, args.connection.json);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

async fn create(args: OperatorCreate, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let operator = v1::Operator {
        username: args.username,
        role: wanted(args.role),
        ..v1::Operator::default()
    };
    let request = v1::CreateOperatorRequest { operator: Some(operator), validate_only: false };
    let response = service(&client).create_operator(client.request(request)).await?.into_inner();
    let operator = response.operator.unwrap_or_default();
    show_password(&operator, response.password, args.connection.json);
    Ok(())
}

async fn reset_password(args: Named, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::ResetOperatorRequest { id: args.name, validate_only: false };
    let response = service(&client).reset_operator(client.request(request)).await?.into_inner();
    let operator = response.operator.unwrap_or_default();
    show_password(&operator, response.password, args.connection.json);
    Ok(())
}

async fn role(args: OperatorRole, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let (id, role) = (args.name, wanted(args.role));
    let request = v1::UpdateOperatorRequest { id, role, validate_only: false };
    let response = service(&client).update_operator(client.request(request)).await?.into_inner();
    show(&response.operator.unwrap_or_default(), args.connection.json);
    Ok(())
}

async fn delete(args: Named, env: &Env) -> anyhow::Result<()> {
    let client = Client::new(&args.connection, env)?;
    let request = v1::DeleteOperatorRequest {
        id: args.name.clone(),
        allow_missing: false,
        validate_only: false,
    };
    service(&client).delete_operator(client.request(request)).await?;
    if args.connection.json {
        line("{}");
    } else {
        line(&format!("{} is removed", args.name));
    }
    Ok(())
}

fn show_password(operator: &v1::Operator, password: String, as_json: bool) {
    if as_json {
        let mut value = json::operator(operator);
        value["password"] = password.into();
        line(&value.to_string());
        return;
    }
    line(&format!("{}  {password}", operator.username));
    line("The password is shown this once.");
}

fn show(operator: &v1::Operator, as_json: bool) {
    if as_json {
        line(&json::operator(operator).to_string());
        return;
    }
    let code = if operator.totp { "code" } else { "no code" };
    let login = json::time(operator.login_time.as_ref());
    let login = login.as_str().unwrap_or("never logged in");
    let role = json::role(operator.role());
    line(&format!("{}  {role:<6}  {code:<7}  {login}  {}", operator.id, operator.username));
}
