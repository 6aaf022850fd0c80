//! Tools that compile files of packages, with stand-ins for the published ones.

use serde_json::json;

use crate::{
    harness::{database, replica},
    packages::{brief, code, project, rows},
    upstream::Upstream,
};

/// A file of Svelte whose compiled form imports one of Vue. The first bundling asks only for the tool of the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_is_needed_after_another_one_is_provided_too() {
    let (database, upstream) = (database().await, Upstream::start().await);
    let svelte =
        "export const compile = () => ({ js: { code: \"import b from './B.vue'; export default ['from svelte', b];\" }, warnings: [] });
        export const compileModule = compile;";
    let vue = "export const parse = () => ({ errors: [], descriptor: { styles: [], script: { lang: 'js' } } });
        export const compileScript = () => ({ content: \"const component = 'from vue';\" });
        export const compileTemplate = () => ({}); export const compileStyle = () => ({});";
    upstream.publish("svelte", "5.0.0", &json!({}), &[("package.json", r#"{"type": "module"}"#), ("compiler.js", svelte)]);
    upstream.publish("vue", "3.0.0", &json!({}), &[("package.json", r#"{"type": "module"}"#), ("compiler-sfc.js", vue)]);
    let kit = [("index.js", "export { default } from './A.svelte';"), ("A.svelte", "<p>"), ("B.vue", "<template/>")];
    upstream.publish("kit", "1.0.0", &json!({ "dependencies": { "svelte": "5", "vue": "3" } }), &kit);
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    let own = project(r#"{"dependencies": {"kit": "1", "svelte": "5", "vue": "3"}}"#, &["kit"]);
    let page = replica.build(&own).await.expect("a page").page;
    assert_eq!(brief(&page.findings), Vec::<String>::new());
    let code = code(&replica, &page).await;
    assert!(code.contains("from svelte") && code.contains("from vue"), "{code}");
    assert_eq!(rows(&database.pool, "bundles").await, 3, "the package and two tools");
}
