//! Compiles the `.proto` files with protox, so that a clone needs no protoc, and keeps the
//! descriptor set for reflection.

use prost::Message as _;

const SERVICES: [&str; 18] = [
    "message_service",
    "event_service",
    "template_service",
    "suppression_service",
    "domain_service",
    "stats_service",
    "sink_service",
    "credential_service",
    "settings_service",
    "tracking_service",
    "campaign_service",
    "webhook_service",
    "postal_service",
    "bounce_service",
    "operator_service",
    "audit_service",
    "queue_service",
    "system_service",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = SERVICES.map(|service| format!("proto/postern/v1/{service}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    // `compile_fds` does not write this file itself.
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let mut names = tonic_prost_build::Config::new();
    names.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .extern_path(".google.rpc.Status", "::tonic_types::pb::Status")
        .codec_path("crate::strict::Strict")
        .compile_fds_with_config(descriptors, names)?;
    Ok(())
}
