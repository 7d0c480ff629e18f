//! Tests of the route table against the contract.

use std::collections::BTreeSet;

use prost_reflect::DescriptorPool;

use super::all;

/// Methods without a route, with the reason.
const ELSEWHERE: [(&str, &str); 12] = [
    ("MessageService.SendRawMessage", "POST /v1/messages takes message/rfc822"),
    ("CredentialService.CheckPassword", "for gateways"),
    ("BounceService.ImportBouncePatterns", "for `postern import`, with a file of the old system"),
    ("PostalService.ReceiveWebhook", "POST /api/v1/webhook, in Postal's form"),
    ("SystemService.ReportGateway", "for gateways"),
    ("TrackingService.ReportHits", "for the tracking edge"),
    ("TrackingService.ResolveLink", "for the tracking edge"),
    ("TrackingService.ResolveLegacyToken", "for the tracking edge"),
    ("TrackingService.GetSubscription", "for the tracking edge"),
    ("TrackingService.Unsubscribe", "for the tracking edge"),
    ("TrackingService.Resubscribe", "for the tracking edge"),
    ("TrackingService.ImportLegacyLinks", "for `postern legacy-links`, with a file"),
];

#[test]
fn every_method_of_the_contract_has_a_route_or_a_reason() {
    let pool = DescriptorPool::decode(postern_proto::DESCRIPTORS).unwrap();
    let ours = pool.services().filter(|service| service.full_name().starts_with("postern."));
    let methods: BTreeSet<String> = ours
        .flat_map(|service| {
            let methods = service.methods().map(|method| method.name().to_owned());
            let methods: Vec<_> = methods.collect();
            methods.into_iter().map(move |method| format!("{}.{method}", service.name()))
        })
        .collect();
    let routed: BTreeSet<String> = all().iter().map(|route| route.rpc.to_owned()).collect();
    let excused: BTreeSet<String> = ELSEWHERE.iter().map(|(rpc, _)| (*rpc).to_owned()).collect();
    assert_eq!(routed.intersection(&excused).next(), None, "it has a route");
    let known: BTreeSet<String> = routed.union(&excused).cloned().collect();
    assert_eq!(known, methods);
}
