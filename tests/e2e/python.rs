//! A client that is not ours, in another language, with nothing but the address.

use postern_kit::env::Env;
use postern_tests::peer;
use postern_tests::stack::Stack;
use serde_json::Value;
use tokio::process::Command;

#[tokio::test]
async fn a_python_client_sends_with_the_contract_it_reads_by_reflection() {
    let stack = Stack::start(&[]).await.unwrap();
    let python = Env::process().text("POSTERN_TEST_PYTHON", "python3");
    let output = Command::new(&python)
        .arg(peer::path("client.py"))
        .args([&stack.grpc, &stack.key, "ann@good.test"])
        .kill_on_drop(true)
        .output();
    let output = output.await.unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{python} needs grpcio, grpcio-reflection and protobuf (POSTERN_TEST_PYTHON): {complaint}"
    );
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let services = told["services"].as_array().unwrap();
    for service in ["postern.v1.MessageService", "grpc.health.v1.Health"] {
        assert!(services.contains(&service.into()), "{services:?}");
    }
    let id = told["sent"]["id"].as_str().unwrap();
    assert_eq!(told["found"]["id"], id, "{told}");
    let message = stack.wait_state(id, "delivered").await.unwrap();
    assert_eq!(message["subject"], "From Python", "{message}");
    assert_eq!(message["recipients"][0]["email"], "ann@good.test");
}
