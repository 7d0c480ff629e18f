//! `SettingsService`.

use postern_proto::reason::Reason;
use postern_proto::settings::{self, Definition, Kind, Settings as Values, TRANSPORT};
use postern_proto::status::Failure;
use postern_proto::v1;
use postern_proto::v1::settings_service_server::SettingsService;
use tonic::{Request, Response, Status};

use crate::store;
use crate::store::settings::Expected;
use crate::transport::TransportChoice;

use super::act::By;
use super::{Context, etag};

/// The service.
pub struct Settings(pub Context);

#[tonic::async_trait]
impl SettingsService for Settings {
    async fn list_settings(
        &self,
        request: Request<v1::ListSettingsRequest>,
    ) -> Result<Response<v1::ListSettingsResponse>, Status> {
        self.0.gate.authorise_gateway_or(request.metadata(), "settings:read")?;
        let prefix = &request.get_ref().prefix;
        let snapshot = self.0.directory.now();
        let wanted = settings::ALL.iter().filter(|one| one.name.starts_with(prefix.as_str()));
        let settings = wanted.map(|one| self.shown(one, snapshot.settings())).collect();
        Ok(Response::new(v1::ListSettingsResponse { settings }))
    }

    async fn update_setting(
        &self,
        request: Request<v1::UpdateSettingRequest>,
    ) -> Result<Response<v1::UpdateSettingResponse>, Status> {
        let by = self.0.admit(request.metadata(), "settings:write")?;
        let request = request.into_inner();
        let (definition, value) = checked(&request, &self.0.intake.policy.transports)?;
        if !request.etag.is_empty() {
            // Another node may have changed it since this one looked.
            self.0.directory.refresh().await.map_err(Failure::from)?;
        }
        let before = self.0.directory.now().settings().get(definition);
        let guarded = etag::check(&request.etag, &etag(&definition.show(before)))?;
        if !request.validate_only {
            self.change(&by, definition, before, value, guarded).await?;
        }
        let setting = Some(self.shown(definition, self.0.directory.now().settings()));
        Ok(Response::new(v1::UpdateSettingResponse { setting }))
    }
}

impl Settings {
    /// Changes a setting, or resets it without a value; when guarded, only if no other change came
    /// first.
    async fn change(
        &self,
        by: &By,
        definition: &Definition,
        before: i64,
        value: Option<i64>,
        guarded: bool,
    ) -> Result<(), Failure> {
        let name = definition.name;
        let before_text = definition.show(before);
        let default = self.0.directory.defaults().get(definition);
        let after = definition.show(value.unwrap_or(default));
        let detail = format!("{before_text} → {after}");
        let db = &self.0.audited(by, "setting.update", name, &detail);
        let is_default = before == default;
        let expected = guarded.then_some(Expected { value: &before_text, is_default });
        let changed = match value {
            Some(value) => {
                store::settings::put(db, name, &definition.show(value), expected).await?
            }
            None => store::settings::reset(db, name, expected).await?,
        };
        self.0.directory.refresh().await?;
        if changed { Ok(()) } else { Err(etag::mismatch()) }
    }

    /// A setting as the contract has it. Its default is that of this node's environment.
    fn shown(&self, definition: &Definition, values: &Values) -> v1::Setting {
        let default = self.0.directory.defaults().get(definition);
        let value = values.get(definition);
        let (kind, words) = match definition.kind {
            Kind::Count => (v1::SettingKind::Count, None),
            Kind::Octets => (v1::SettingKind::Octets, None),
            Kind::Time => (v1::SettingKind::Duration, None),
            Kind::Switch => (v1::SettingKind::Switch, Some(&["off", "on"][..])),
            Kind::Choice(words) => (v1::SettingKind::Choice, Some(words)),
        };
        let bound = |bound| words.map_or_else(|| definition.show(bound), |_| String::new());
        v1::Setting {
            name: definition.name.to_owned(),
            description: definition.description.to_owned(),
            etag: etag(&definition.show(value)),
            value: definition.show(value),
            default_value: definition.show(default),
            minimum: bound(definition.min),
            maximum: bound(definition.max),
            changed: value != default,
            kind: kind.into(),
            choices: words.unwrap_or_default().iter().map(|word| (*word).to_owned()).collect(),
        }
    }
}

/// The setting that a request names and its new value; none for the default.
fn checked(
    request: &v1::UpdateSettingRequest,
    transports: &TransportChoice,
) -> Result<(&'static Definition, Option<i64>), Failure> {
    let name = &request.name;
    let definition = settings::find(name).ok_or_else(|| {
        let text = format!("there is no setting '{name}'; list the settings to see what there is");
        Failure::field(Reason::SettingNotFound, "name", text)
    })?;
    let unfit = |text| Failure::field(Reason::ValueOutOfRange, "value", text);
    if request.value.is_empty() {
        return Ok((definition, None));
    }
    let value = definition.parse(&request.value).map_err(unfit)?;
    let problem = transports.problem(value).filter(|_| *definition == TRANSPORT);
    problem.map_or(Ok((definition, Some(value))), |problem| Err(unfit(problem)))
}

fn etag(value: &str) -> String {
    etag::of(&[value.as_bytes()])
}
