//! What exchanges components of an open page: its packages are those of Backlot, and not of the project.

use serde_json::json;

use crate::{
    harness::{database, replica},
    packages::{brief, code, project},
    upstream::Upstream,
};

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_preact_get_prefresh_which_shares_their_preact() {
    let (database, upstream) = (database().await, Upstream::start().await);
    let jsx = "exports.jsx = exports.jsxs = (type) => type;";
    let preact = [
        ("package.json", r#"{"main": "index.js"}"#),
        ("index.js", "exports.options = {};"),
        ("jsx-runtime.js", jsx),
        ("jsx-dev-runtime.js", jsx),
    ];
    upstream.publish("preact", "10.0.0", &json!({}), &preact);
    let core = "import { options } from 'preact'; self.__PREFRESH__ = { register() {}, sign() {}, options };";
    let peers = json!({"peerDependencies": {"preact": "^10.0.0"}});
    upstream.publish(
        "@prefresh/core",
        "1.5.11",
        &peers,
        &[("package.json", r#"{"main": "index.js", "type": "module"}"#), ("index.js", core)],
    );
    let utils = "export const flush = () => 'flushed'; export const isComponent = () => true;";
    upstream.publish("@prefresh/utils", "1.2.1", &json!({}), &[("package.json", r#"{"module": "index.js"}"#), ("index.js", utils)]);
    let replica = replica(&database, &[("BACKLOT_NPM_REGISTRY", upstream.url.as_str())]).await;
    let mut own = project(r#"{"dependencies": {"preact": "10"}}"#, &[]);
    own.insert("main.js", "import { App } from './app.jsx'; console.log(App);".to_owned());
    own.insert("app.jsx", "export function App() { return <p>preact</p>; }".to_owned());
    let page = replica.build(&own).await.expect("a page").page;
    assert_eq!(brief(&page.findings), Vec::<String>::new());
    assert!(page.html.contains("\"preact\":\"/@m/") && page.html.contains("\"preact/jsx-runtime\":\"/@m/"), "{}", page.html);
    assert!(page.html.contains("<script type=\"module\" src=\"/@m/"), "{}", page.html);
    let code = code(&replica, &page).await;
    assert!(code.contains("from \"preact\"") && code.contains("flushed"), "{code}");
}
