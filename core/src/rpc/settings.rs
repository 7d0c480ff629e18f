//! `SettingsService`.

use postern_proto::reason::Reason;
use postern_proto::settings::{self, Definition, Settings as Values};
use postern_proto::status::Failure;
use postern_proto::v1;
use postern_proto::v1::settings_service_server::SettingsService;
use tonic::{Request, Response, Status};

use crate::store;

use super::Context;

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
        let v1::UpdateSettingRequest { name, value, validate_only } = request.into_inner();
        let definition = settings::find(&name).ok_or_else(|| {
            let text =
                format!("there is no setting '{name}'; list the settings to see what there is");
            Failure::field(Reason::SettingNotFound, "name", text)
        })?;
        let parsed = match value.as_str() {
            "" => None,
            text => Some(
                definition
                    .parse(text)
                    .map_err(|text| Failure::field(Reason::ValueOutOfRange, "value", text))?,
            ),
        };
        if validate_only {
            let setting = Some(shown(definition, self.0.directory.now().settings()));
            return Ok(Response::new(v1::UpdateSettingResponse { setting }));
        }
        if let Some(parsed) = parsed {
            let text = definition.show(parsed);
            let put = store::settings::put(&*self.0.db, definition.name, &text).await;
            put.map_err(Failure::from)?;
        } else {
            store::settings::reset(&*self.0.db, definition.name).await.map_err(Failure::from)?;
        }
        self.0.directory.refresh().await.map_err(Failure::from)?;
        tracing::info!(setting = definition.name, value, by = %caller.id, "setting changed");
        let setting = Some(shown(definition, self.0.directory.now().settings()));
        Ok(Response::new(v1::UpdateSettingResponse { setting }))
    }
}

fn shown(definition: &Definition, values: &Values) -> v1::Setting {
    let value = values.get(definition);
    v1::Setting {
        name: definition.name.to_owned(),
        description: definition.description.to_owned(),
        value: definition.show(value),
        default_value: definition.show(definition.default),
        minimum: definition.show(definition.min),
        maximum: definition.show(definition.max),
        changed: value != definition.default,
    }
}
