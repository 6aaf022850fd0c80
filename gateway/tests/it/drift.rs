use std::collections::BTreeSet;

use gateway::{
    contract::bindings,
    router::{contract_routes, own_routes},
};

#[test]
fn every_annotated_rpc_is_mounted_exactly_once() {
    let annotated: Vec<(&str, String)> = bindings().into_iter().map(|b| (b.method, b.template)).collect();
    let mounted: Vec<(&str, String)> = contract_routes().into_iter().map(|r| (r.method, r.template.to_owned())).collect();
    let (wanted, there) = (annotated.iter().collect::<BTreeSet<_>>(), mounted.iter().collect::<BTreeSet<_>>());
    assert!(annotated.len() > 20, "the annotations are read");
    assert_eq!(wanted, there);
    assert_eq!((annotated.len(), mounted.len()), (wanted.len(), there.len()), "no binding and no route twice");
}

#[test]
fn the_gateways_own_routes_are_not_the_contracts() {
    let contract: BTreeSet<_> = contract_routes().into_iter().map(|r| r.template).collect();
    assert!(own_routes().into_iter().all(|r| !contract.contains(r.template)));
}

#[test]
fn every_public_rpc_has_a_request_that_is_its_body_or_none() {
    for binding in bindings() {
        let wanted = if ["GET", "DELETE"].contains(&binding.method) { "" } else { "*" };
        assert_eq!(binding.body, wanted, "{}", binding.template);
        let output = binding.rpc.output();
        assert!(binding.response_body.is_empty() || output.get_field_by_name(&binding.response_body).is_some(), "{}", binding.template);
    }
}
