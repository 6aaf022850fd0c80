//! Wrong variants of code that the chaos harness must find. They are compiled only with the feature `seeded-bugs`.

use chassis::seeded_bug;
use proto::compile::Page;

/// A page that differs between processes.
pub(crate) fn name_the_process(mut page: Page) -> Page {
    if seeded_bug::is("name-the-process-in-a-page") && !page.html.is_empty() {
        page.html.push_str(&format!("<!-- {} -->", std::process::id()));
    }
    page
}
