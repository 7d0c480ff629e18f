//! `OperatorService`: the list of operators. How they log in is in [`super::login`].

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;
use postern_proto::v1::operator_service_server::OperatorService;
use tonic::{Request, Response, Status};

use crate::model::operator::{Operator, Role};
use crate::operator as secrets;
use crate::store::{Error, operators};

use super::{Context, login};

/// Characters of a user name.
const USERNAME_MAX: usize = 64;

/// The service.
pub struct Operators(pub Context);

#[tonic::async_trait]
impl OperatorService for Operators {
    async fn log_in(
        &self,
        request: Request<v1::LogInRequest>,
    ) -> Result<Response<v1::LogInResponse>, Status> {
        Ok(Response::new(login::log_in(&self.0, request).await?))
    }

    async fn log_out(
        &self,
        request: Request<v1::LogOutRequest>,
    ) -> Result<Response<v1::LogOutResponse>, Status> {
        login::log_out(&self.0, request.metadata()).await?;
        Ok(Response::new(v1::LogOutResponse {}))
    }

    async fn get_own_operator(
        &self,
        request: Request<v1::GetOwnOperatorRequest>,
    ) -> Result<Response<v1::GetOwnOperatorResponse>, Status> {
        let session = self.0.gate.operator(request.metadata())?;
        Ok(Response::new(v1::GetOwnOperatorResponse {
            operator: Some(shown(&session.operator)),
            session_expire_time: Some(timestamp(session.expire_ms)),
        }))
    }

    async fn change_own_password(
        &self,
        request: Request<v1::ChangeOwnPasswordRequest>,
    ) -> Result<Response<v1::ChangeOwnPasswordResponse>, Status> {
        login::change_password(&self.0, request).await?;
        Ok(Response::new(v1::ChangeOwnPasswordResponse {}))
    }

    async fn start_totp(
        &self,
        request: Request<v1::StartTotpRequest>,
    ) -> Result<Response<v1::StartTotpResponse>, Status> {
        Ok(Response::new(login::start_totp(&self.0, request).await?))
    }

    async fn confirm_totp(
        &self,
        request: Request<v1::ConfirmTotpRequest>,
    ) -> Result<Response<v1::ConfirmTotpResponse>, Status> {
        login::confirm_totp(&self.0, request).await?;
        Ok(Response::new(v1::ConfirmTotpResponse {}))
    }

    async fn stop_totp(
        &self,
        request: Request<v1::StopTotpRequest>,
    ) -> Result<Response<v1::StopTotpResponse>, Status> {
        login::stop_totp(&self.0, request).await?;
        Ok(Response::new(v1::StopTotpResponse {}))
    }

    async fn create_operator(
        &self,
        request: Request<v1::CreateOperatorRequest>,
    ) -> Result<Response<v1::CreateOperatorResponse>, Status> {
        let by = self.0.admit(request.metadata(), "operators:write")?;
        let v1::CreateOperatorRequest { operator, validate_only } = request.into_inner();
        let asked = operator.unwrap_or_default();
        let username = username("operator.username", &asked.username)?;
        let role = role("operator.role", asked.role)?;
        let password = secrets::made_password();
        let password_hash = login::hash(&self.0, password.clone()).await?;
        let made = Operator::new(username, password_hash, role, self.0.clock.now_ms());
        if validate_only {
            if self.found(&made.username).await.is_ok() {
                return Err(exists().into());
            }
            let operator = Some(v1::Operator { id: String::new(), ..shown(&made) });
            return Ok(Response::new(v1::CreateOperatorResponse {
                operator,
                password: String::new(),
            }));
        }
        let detail = format!("{}, {role:?}", made.username);
        let db = self.0.audited(&by, "operator.create", &made.id.to_string(), &detail);
        operators::create(&db, &made).await.map_err(|error| match error {
            Error::Conflict(_) => exists(),
            other => other.into(),
        })?;
        let operator = Some(shown(&made));
        Ok(Response::new(v1::CreateOperatorResponse { operator, password }))
    }

    async fn list_operators(
        &self,
        request: Request<v1::ListOperatorsRequest>,
    ) -> Result<Response<v1::ListOperatorsResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "operators:read")?;
        let (pages, request) = (&self.0.pages, request.into_inner());
        let size = pages.size(request.page_size)?;
        let after = pages.cursor("page_token", b"operators", &request.page_token)?;
        let list = operators::list(&*self.0.db, &after.unwrap_or_default(), size + 1).await;
        let mut list = list.map_err(Failure::from)?;
        let cursor = |last: &Operator| last.username.clone();
        let next_page_token = pages.cut(&mut list, size, b"operators", cursor);
        let operators = list.iter().map(shown).collect();
        Ok(Response::new(v1::ListOperatorsResponse { operators, next_page_token }))
    }

    async fn update_operator(
        &self,
        request: Request<v1::UpdateOperatorRequest>,
    ) -> Result<Response<v1::UpdateOperatorResponse>, Status> {
        let by = self.0.admit(request.metadata(), "operators:write")?;
        let request = request.into_inner();
        let role = role("role", request.role)?;
        let mut found = self.found(&request.id).await?;
        if !request.validate_only {
            let detail = format!("{}: {:?} → {role:?}", found.username, found.role);
            let id = found.id.to_string();
            let db = self.0.audited(&by, "operator.update", &id, &detail);
            let changed = operators::set_role(&db, found.id, role).await;
            if !changed.map_err(Failure::from)? {
                return Err(last_admin().into());
            }
            self.0.directory.refresh().await.map_err(Failure::from)?;
            found.role = role;
        }
        Ok(Response::new(v1::UpdateOperatorResponse { operator: Some(shown(&found)) }))
    }

    async fn reset_operator(
        &self,
        request: Request<v1::ResetOperatorRequest>,
    ) -> Result<Response<v1::ResetOperatorResponse>, Status> {
        let by = self.0.admit(request.metadata(), "operators:write")?;
        let request = request.into_inner();
        let mut found = self.found(&request.id).await?;
        if request.validate_only {
            let operator = Some(shown(&found));
            return Ok(Response::new(v1::ResetOperatorResponse {
                operator,
                password: String::new(),
            }));
        }
        let password = secrets::made_password();
        let password_hash = login::hash(&self.0, password.clone()).await?;
        let id = found.id.to_string();
        let db = self.0.audited(&by, "operator.reset", &id, &found.username);
        operators::reset(&db, found.id, &password_hash).await.map_err(Failure::from)?;
        self.0.directory.refresh().await.map_err(Failure::from)?;
        found.totp_secret.clear();
        let operator = Some(shown(&found));
        Ok(Response::new(v1::ResetOperatorResponse { operator, password }))
    }

    async fn delete_operator(
        &self,
        request: Request<v1::DeleteOperatorRequest>,
    ) -> Result<Response<v1::DeleteOperatorResponse>, Status> {
        let by = self.0.admit(request.metadata(), "operators:write")?;
        let request = request.into_inner();
        let found = match self.found(&request.id).await {
            Err(failure) if failure.reason == Reason::OperatorNotFound && request.allow_missing => {
                return Ok(Response::new(v1::DeleteOperatorResponse {}));
            }
            found => found?,
        };
        if !request.validate_only {
            let id = found.id.to_string();
            let db = self.0.audited(&by, "operator.delete", &id, &found.username);
            if !operators::delete(&db, found.id).await.map_err(Failure::from)? {
                return Err(last_admin().into());
            }
            self.0.directory.refresh().await.map_err(Failure::from)?;
        }
        Ok(Response::new(v1::DeleteOperatorResponse {}))
    }
}

impl Operators {
    async fn found(&self, text: &str) -> Result<Operator, Failure> {
        let found = operators::find(&*self.0.db, text, text.parse().ok()).await?;
        found.ok_or_else(|| Failure::new(Reason::OperatorNotFound, "there is no such operator"))
    }
}

/// Checks a user name.
pub fn username(field: &str, text: &str) -> Result<String, Failure> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-@".contains(&b);
    if (1..=USERNAME_MAX).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(text.to_owned());
    }
    let problem = "needs 1 to 64 lower-case letters, digits and . _ - @";
    Err(Failure::field(Reason::InvalidValue, field, problem))
}

fn role(field: &str, number: i32) -> Result<Role, Failure> {
    match v1::OperatorRole::try_from(number) {
        Ok(v1::OperatorRole::Viewer) => Ok(Role::Viewer),
        Ok(v1::OperatorRole::Admin) => Ok(Role::Admin),
        _ => {
            let text = "say what the operator may do: OPERATOR_ROLE_VIEWER or OPERATOR_ROLE_ADMIN";
            Err(Failure::field(Reason::MissingField, field, text))
        }
    }
}

fn exists() -> Failure {
    let text = "an operator with this user name exists";
    Failure::field(Reason::OperatorExists, "operator.username", text)
}

fn last_admin() -> Failure {
    let text = "nobody could administer this installation then; make another operator admin first";
    Failure::new(Reason::LastAdmin, text)
}

/// An operator without secrets.
pub(super) fn shown(operator: &Operator) -> v1::Operator {
    v1::Operator {
        id: operator.id.to_string(),
        username: operator.username.clone(),
        role: operator.role as i32,
        totp: !operator.totp_secret.is_empty(),
        create_time: Some(timestamp(operator.create_ms)),
        login_time: operator.login_ms.map(timestamp),
    }
}
