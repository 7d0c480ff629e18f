//! `SettingsService`.

use postern_proto::reason::Reason;
use postern_proto::settings::{self, Definition, Settings as Values};
use postern_proto::status::Failure;
use postern_proto::v1;
use postern_proto::v1::settings_service_server::SettingsService;
use tonic::{Request, Response, Status};

use crate::store;
use crate::store::settings::Expected;

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
        let settings = wanted.map(|one| shown(one, snapshot.settings())).collect();
        Ok(Response::new(v1::ListSettingsResponse { settings }))
    }

    async fn update_setting(
        &self,
        request: Request<v1::UpdateSettingRequest>,
    ) -> Result<Response<v1::UpdateSettingResponse>, Status> {
        let caller = self.0.gate.authorise(request.metadata(), "settings:write")?;
        let request = request.into_inner();
        let (definition, value) = checked(&request)?;
        if !request.etag.is_empty() {
            // Another node may have changed it since this one looked.
            self.0.directory.refresh().await.map_err(Failure::from)?;
        }
        let before = self.0.directory.now().settings().get(definition);
        let guarded = etag::check(&request.etag, &etag(&definition.show(before)))?;
        if !request.validate_only {
            self.change(definition, before, value, guarded).await?;
            tracing::info!(setting = definition.name, value = request.value, by = %caller.id, "setting changed");
        }
        let setting = Some(shown(definition, self.0.directory.now().settings()));
        Ok(Response::new(v1::UpdateSettingResponse { setting }))
    }
}

impl Settings {
    /// Changes a setting, or resets it without a value; when guarded, only if no other change came
    /// first.
    async fn change(
        &self,
        definition: &Definition,
        before: i64,
        value: Option<i64>,
        guarded: bool,
    ) -> Result<(), Failure> {
        let (db, name) = (&*self.0.db, definition.name);
        let before_text = definition.show(before);
        let is_default = before == definition.default;
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
}

/// The setting that a request names and its new value; none for the default.
fn checked(
    request: &v1::UpdateSettingRequest,
) -> Result<(&'static Definition, Option<i64>), Failure> {
    let name = &request.name;
    let definition = settings::find(name).ok_or_else(|| {
        let text = format!("there is no setting '{name}'; list the settings to see what there is");
        Failure::field(Reason::SettingNotFound, "name", text)
    })?;
    if request.value.is_empty() {
        return Ok((definition, None));
    }
    let parsed = definition.parse(&request.value);
    let value = parsed.map_err(|text| Failure::field(Reason::ValueOutOfRange, "value", text))?;
    Ok((definition, Some(value)))
}

fn etag(value: &str) -> String {
    etag::of(&[value.as_bytes()])
}

fn shown(definition: &Definition, values: &Values) -> v1::Setting {
    let value = values.get(definition);
    v1::Setting {
        name: definition.name.to_owned(),
        description: definition.description.to_owned(),
        etag: etag(&definition.show(value)),
        value: definition.show(value),
        default_value: definition.show(definition.default),
        minimum: definition.show(definition.min),
        maximum: definition.show(definition.max),
        changed: value != definition.default,
    }
}
