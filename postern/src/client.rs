//! How the operator's commands call the core.

use std::path::PathBuf;

use anyhow::Context as _;
use postern_kit::core_client::tuned;
use postern_kit::env::Env;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::cli::Connection;
use crate::secrets;

/// A channel to the core, with the operator's key.
pub(crate) struct Client {
    /// To build service clients on.
    pub(crate) channel: Channel,
    authorization: MetadataValue<Ascii>,
}

impl Client {
    /// Finds the key and prepares the connection, which is made with the first call.
    pub(crate) fn new(connection: &Connection, env: &Env) -> anyhow::Result<Self> {
        let data = PathBuf::from(env.text("POSTERN_DATA", "./data"));
        let kept = || secrets::first_key(&data).ok().flatten();
        let given =
            connection.key.clone().or_else(|| env.get("POSTERN_API_KEY").map(str::to_owned));
        let key = given.or_else(kept).context(
            "there is no API key; give --key, set POSTERN_API_KEY, or run where ./data is",
        )?;
        let mut authorization: MetadataValue<Ascii> =
            format!("Bearer {key}").parse().context("the API key has characters no key has")?;
        authorization.set_sensitive(true);
        let endpoint = Endpoint::from_shared(connection.core.clone()).with_context(|| {
            format!("--core {} is no URL; write http://host:port", connection.core)
        })?;
        Ok(Self { channel: tuned(endpoint).connect_lazy(), authorization })
    }

    /// A request with the key.
    pub(crate) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let entry = self.authorization.clone();
        request.metadata_mut().insert(postern_proto::metadata::AUTHORIZATION, entry);
        request
    }
}
