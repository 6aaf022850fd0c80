//! Publishing: the files of a revision are built, and sent to project-storage, which serves them from then on.

use chassis::context::Context;
use futures::{SinkExt as _, channel::mpsc};
use proto::{
    compile::{BuildSiteRequest, Finding, Mode, SiteFile, Start, build_site_request, build_site_response, site_file::Content},
    error::{ErrorCode, Fault, FieldViolation},
    path,
    project_storage::{NewSiteFile, PublishSiteRequest, PublishSiteResponse, SiteFinding, SiteSettings, SiteSource},
};
use tonic::Status;

use crate::{
    app::App,
    build::{
        failure,
        source::{Access, Source},
    },
    error::{Failure, SERVICE},
    upstream::present,
};

/// Findings that a refusal shows.
const SHOWN_FINDINGS: usize = 20;
/// Files of a project that no browser needs.
const NOT_PUBLISHED: [&str; 8] =
    ["AGENTS.md", "bun.lock", "bun.lockb", "npm-shrinkwrap.json", "package-lock.json", "package.json", "pnpm-lock.yaml", "yarn.lock"];

type Sender = mpsc::Sender<PublishSiteRequest>;

/// Publishes a revision, or returns what an earlier request with the same key published.
///
/// # Errors
/// Those of project-storage and of compile; BUILD_FAILED with the errors of the files.
pub(crate) async fn publish(app: &App, context: &Context, settings: SiteSettings) -> Result<PublishSiteResponse, Failure> {
    let (project, base_path) = (settings.project_id.clone(), settings.base_path.clone());
    let (mut messages, stream) = mpsc::channel(1);
    // The channel has room for it.
    let first = PublishSiteRequest { settings: Some(settings), ..PublishSiteRequest::default() };
    send(&mut messages, first).await;
    let mut answers = app.upstream.project_streams().publish_site(context.stream_request(stream)).await?.into_inner();
    let answer = present(answers.message().await?)?;
    let Some(source) = answer.source else { return Ok(answer) };
    let mut files = Source::new(app, context.clone(), Access::Project(project), source.revision.clone());
    let findings = if source.compiled {
        build(app, context, (&source, base_path), &mut files, &mut messages).await?
    } else {
        copy(&mut files, &mut messages).await?;
        Vec::new()
    };
    let findings = findings.into_iter().map(site_finding).collect();
    send(&mut messages, PublishSiteRequest { complete: true, findings, ..PublishSiteRequest::default() }).await;
    present(answers.message().await.map_err(of_revision)?)
}

/// The caller names a revision, and no files.
fn of_revision(status: Status) -> Failure {
    let Failure(mut fault) = status.into();
    for violation in fault.violations.iter_mut().filter(|violation| violation.field.starts_with("file.")) {
        "revision".clone_into(&mut violation.field);
    }
    Failure(fault)
}

/// Sends the files of a project that needs no build.
async fn copy(files: &mut Source<'_>, messages: &mut Sender) -> Result<(), Failure> {
    for path in files.files().await?.iter().map(|file| &file.path).filter(|path| is_published(path)) {
        let file = NewSiteFile { path: path.clone(), source_path: path.clone(), ..NewSiteFile::default() };
        send(messages, PublishSiteRequest { file: Some(file), ..PublishSiteRequest::default() }).await;
    }
    Ok(())
}

/// Whether a file of a project without a build is a part of its site.
fn is_published(path: &str) -> bool {
    !NOT_PUBLISHED.contains(&path) && !path::is_hidden(path) && path.split('/').all(|part| part != "node_modules")
}

/// Lets compile build the site, and sends its files as they arrive. Returns the findings that do not stop it.
async fn build(
    app: &App,
    context: &Context,
    (of, base_path): (&SiteSource, String),
    source: &mut Source<'_>,
    messages: &mut Sender,
) -> Result<Vec<Finding>, Failure> {
    let person_id = context.user.as_ref().map(|user| user.id.to_string()).unwrap_or_default();
    let start = Start { tree_id: of.tree_id.clone(), base_path, mode: Mode::Production.into(), person_id };
    let (mut questions, stream) = mpsc::channel(1);
    // The channel has room for it.
    let _ = questions.send(BuildSiteRequest { part: Some(build_site_request::Part::Start(start)) }).await;
    // Compile knows no persons.
    let of_nobody = Context { user: None, ..context.clone() };
    let call = app.upstream.compiler().build_site(of_nobody.stream_request(stream)).await;
    let mut answers = call.map_err(|status| failure(&status))?.into_inner();
    let (mut site, mut findings) = (SiteFiles::default(), Vec::new());
    while let Some(answer) = answers.message().await.map_err(|status| failure(&status))? {
        match present(answer.part)? {
            build_site_response::Part::NeedTree(_) => source.send_tree(&mut questions).await?,
            build_site_response::Part::NeedContents(need) => source.send_contents(need.blob_ids, &mut questions).await?,
            build_site_response::Part::Findings(found) => findings = found.findings,
            build_site_response::Part::File(file) => {
                for message in site.messages(file) {
                    send(messages, message).await;
                }
            }
        }
    }
    if site.count == 0 { Err(refusal(&findings)) } else { Ok(findings) }
}

fn site_finding(finding: Finding) -> SiteFinding {
    let Finding { code, file, line, column, message, frame, help, is_warning } = finding;
    SiteFinding { code, file, line, column, message, frame, help, is_warning }
}

/// The parts of the files of a built site as messages to project-storage.
#[derive(Default)]
struct SiteFiles {
    /// The path of the file whose parts arrive.
    open: Option<String>,
    count: usize,
}

impl SiteFiles {
    fn messages(&mut self, file: SiteFile) -> impl Iterator<Item = PublishSiteRequest> + use<> {
        let is_new = self.open.as_deref() != Some(file.path.as_str());
        self.open = (!file.is_last).then(|| file.path.clone());
        self.count += usize::from(is_new);
        let (source_path, data) = match file.content {
            Some(Content::TreePath(path)) => (path, bytes::Bytes::new()),
            Some(Content::Data(data)) => (String::new(), data),
            None => (String::new(), bytes::Bytes::new()),
        };
        let new = NewSiteFile { path: file.path, source_path, size_bytes: file.size_bytes, hashed: file.hashed };
        let begin = is_new.then(|| PublishSiteRequest { file: Some(new), ..PublishSiteRequest::default() });
        let part = (!data.is_empty()).then(|| PublishSiteRequest { data, ..PublishSiteRequest::default() });
        begin.into_iter().chain(part)
    }
}

/// Sends a message. If the call has ended, its error arrives with the next answer.
async fn send(messages: &mut Sender, message: PublishSiteRequest) {
    let _ = messages.send(message).await;
}

/// The refusal of a revision whose files have errors.
fn refusal(findings: &[Finding]) -> Failure {
    let errors = || findings.iter().filter(|finding| !finding.is_warning);
    let place = |finding: &Finding| match (finding.file.as_str(), finding.line) {
        ("", _) => String::new(),
        (file, 0) => format!("{file}: "),
        (file, line) => format!("{file}:{line}:{}: ", finding.column),
    };
    let describe = |finding: &Finding| format!("{}{} ({})", place(finding), finding.message, finding.code);
    let first = errors().next().map_or_else(|| "the build has no files".to_owned(), describe);
    let count = errors().count();
    let more = if count > 1 { format!(", and {} more", count - 1) } else { String::new() };
    let violations =
        errors().take(SHOWN_FINDINGS).map(|error| FieldViolation { field: "revision".to_owned(), description: describe(error) });
    let text = format!("the revision has errors: {first}{more}");
    let mut fault = Fault::new(SERVICE, ErrorCode::InvalidArgument, "BUILD_FAILED", text);
    fault.violations = violations.collect();
    fault.into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_site_has_what_browsers_load() {
        for path in ["index.html", "js/app.js", "a.b/c", "docs/package.json", "README.md", "dist/x.js"] {
            assert!(is_published(path), "{path}");
        }
        for path in
            [".env", ".git/config", "a/.b/c", ".well-known/x", "node_modules/x/i.js", "a/node_modules/x", "package.json", "pnpm-lock.yaml"]
        {
            assert!(!is_published(path), "{path}");
        }
    }

    fn file(path: &str, content: Content, is_last: bool) -> SiteFile {
        SiteFile { path: path.into(), content: Some(content), is_last, size_bytes: 3, hashed: path.ends_with("-1.js") }
    }

    #[test]
    fn parts_of_a_file_follow_its_beginning() {
        let mut site = SiteFiles::default();
        let data = |text: &'static str| Content::Data(Bytes::from_static(text.as_bytes()));
        let mut shown = |file| {
            let messages = site.messages(file);
            let text = messages.map(|message| match &message.file {
                Some(file) => format!("{}<{} {} {}", file.path, file.source_path, file.size_bytes, file.hashed),
                None => format!("{} bytes", message.data.len()),
            });
            text.collect::<Vec<_>>().join("; ")
        };
        assert_eq!(shown(file("assets/a-1.js", data("ab"), false)), "assets/a-1.js< 3 true; 2 bytes");
        assert_eq!(shown(file("assets/a-1.js", data("c"), true)), "1 bytes");
        assert_eq!(shown(file("assets/b-1.js", data(""), true)), "assets/b-1.js< 3 true");
        let from_tree = Content::TreePath("public/assets/logo-12345678.png".into());
        let copied = "assets/logo-12345678.png<public/assets/logo-12345678.png 3 false";
        assert_eq!(shown(file("assets/logo-12345678.png", from_tree, true)), copied);
        assert_eq!(shown(file("index.html", data("<p>"), true)), "index.html< 3 false; 3 bytes");
        assert_eq!(site.count, 4);
    }

    #[test]
    fn a_refusal_names_the_errors() {
        let finding = |file: &str, is_warning| Finding {
            code: "SYNTAX".into(),
            file: file.into(),
            line: 3,
            column: 5,
            message: "Expected `}`".into(),
            is_warning,
            ..Finding::default()
        };
        let Failure(fault) = refusal(&[finding("w.ts", true), finding("a.ts", false), finding("b.ts", false)]);
        assert_eq!(fault.message, "the revision has errors: a.ts:3:5: Expected `}` (SYNTAX), and 1 more");
        assert_eq!(fault.violations.len(), 2);
        assert_eq!(refusal(&[]).0.message, "the revision has errors: the build has no files");
    }
}
