//! Functions that transformed classes call. Each is a module of its own with a default export.

/// The start of their specifiers.
pub(crate) const MODULE: &str = "@oxc-project/runtime";

/// The code of a helper, by its specifier.
pub(crate) fn code(specifier: &str) -> Option<&'static str> {
    let name = specifier.strip_prefix(MODULE)?.strip_prefix("/helpers/")?;
    HELPERS.iter().find(|(helper, _)| *helper == name).map(|(_, code)| *code)
}

const HELPERS: &[(&str, &str)] = &[
    ("decorate", include_str!("helpers/decorate.js")),
    ("decorateMetadata", include_str!("helpers/decorate_metadata.js")),
    ("decorateParam", include_str!("helpers/decorate_param.js")),
    ("defineProperty", include_str!("helpers/define_property.js")),
    ("toPropertyKey", include_str!("helpers/to_property_key.js")),
    ("classPrivateFieldLooseKey", include_str!("helpers/private_key.js")),
    ("classPrivateFieldLooseBase", include_str!("helpers/private_base.js")),
    ("checkInRHS", include_str!("helpers/check_in.js")),
    ("superPropGet", include_str!("helpers/super_get.js")),
    ("superPropSet", include_str!("helpers/super_set.js")),
];
