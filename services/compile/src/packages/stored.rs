//! The outputs of a bundle.

use std::collections::BTreeMap;

use compiler_client::message::{PackagesAnswer, PackagesRequest};

/// What a bundle's addresses answer.
pub(super) fn outputs(request: &PackagesRequest, answer: &PackagesAnswer) -> BTreeMap<String, Vec<u8>> {
    let mut outputs: BTreeMap<_, _> = answer.modules.iter().map(|module| (module.url.clone(), module.code.to_vec())).collect();
    for resource in &answer.resources {
        let body = if resource.path.is_empty() {
            resource.text.clone().into_bytes()
        } else {
            let file = request.files.iter().find(|file| file.path == resource.path);
            file.map(|file| file.content().to_vec()).unwrap_or_default()
        };
        outputs.insert(resource.url.clone(), body);
    }
    outputs
}
