//! The end of certificates, as operators and collectors see it.

use std::path::Path;

use jiff::Timestamp;
use postern_tests::role::Role;
use postern_tests::wait;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::Value;

use super::ops::{ask, figures};

const NAME: &str = "postern_certificate_expiry_timestamp_seconds";

/// Writes a certificate that ends when the last day of a year begins, and its key.
fn write(folder: &Path, year: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(year, 12, 31);
    let certificate = params.self_signed(&key).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (cert, key_file) = (path("cert.pem"), path("key.pem"));
    // Until both files fit the one in use stays.
    std::fs::write(&cert, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    (cert, key_file)
}

#[tokio::test]
async fn one_that_has_ended_is_named_until_it_is_exchanged() {
    let (folder, journal) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (cert, key) = write(folder.path(), 2020);
    let tls =
        [("POSTERN_TRACKER_TLS_CERTS", cert.as_str()), ("POSTERN_TRACKER_TLS_KEYS", key.as_str())];
    let nobody = "127.0.0.1:1";
    let edge = Role::tracker(nobody, journal.path(), &tls).await.unwrap();
    let smtp = [("POSTERN_SMTP_TLS_CERT", cert.as_str()), ("POSTERN_SMTP_TLS_KEY", key.as_str())];
    let smtp = Role::smtp(nobody, &smtp).await.unwrap();
    let of = |listener: &str| format!("{NAME}{{listener=\"{listener}\"}}");
    let end = |year: i32| {
        format!("{year}-12-31T00:00:00Z").parse::<Timestamp>().unwrap().as_second() as f64
    };
    assert_eq!(figures(&edge.ops).await[&of("tracker")], end(2020));
    assert_eq!(figures(&smtp.ops).await[&of("smtp")], end(2020));
    let (status, text) = ask(&edge.ops, "/readyz").await;
    assert_eq!(status, 200, "no other edge has a better one: {text}");
    assert!(text.contains(&format!("tracker: the certificate {cert} ended at ")), "{text}");
    let trusting = reqwest::Client::builder().danger_accept_invalid_certs(true).build().unwrap();
    let url = format!("https://127.0.0.1:{}/health/ready", edge.port);
    let health =
        async || -> Value { trusting.get(&url).send().await.unwrap().json().await.unwrap() };
    let told = health().await;
    assert_eq!(told["status"], "degraded", "{told}");
    assert!(told["certificates"].as_str().unwrap().contains(&cert), "{told}");

    write(folder.path(), 2090);
    let exchanged = wait::until("the new end", async || {
        let shown =
            [figures(&edge.ops).await[&of("tracker")], figures(&smtp.ops).await[&of("smtp")]];
        Ok((shown == [end(2090), end(2090)]).then_some(()))
    });
    exchanged.await.unwrap();
    assert_eq!(ask(&edge.ops, "/readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(health().await["certificates"], "");
}
