//! What stays of a template that is unpublished, the limits of templates, and what operators have marked.

use chassis::identity::Caller;
use proto::project_storage::{
    DismissTemplateReportsRequest, ListTemplateReportsRequest, ListTemplatesRequest, ModerateTemplateRequest, PublishTemplateRequest,
    ReportTemplateRequest, Template, UseTemplateRequest,
};
use uuid::Uuid;

use super::{FILES, publication, usage};
use crate::{
    files::{download, pattern, upload},
    harness::{Cluster, Person, answer, reason, without_user, write},
};

async fn moderate(cluster: &Cluster, template: &str, featured: Option<bool>, hidden: Option<bool>) -> Template {
    let request = ModerateTemplateRequest { template_id: template.into(), featured, hidden };
    let mut operator = cluster.client(Caller::Operator);
    answer(operator.moderate_template(without_user(request)).await).expect("changed").template.expect("a template")
}

async fn report(person: &Person, template: &str, text: &str) {
    let request = ReportTemplateRequest { template_id: template.into(), reason: text.into() };
    answer(person.client.clone().report_template(person.request(request)).await).expect("reported");
}

/// The templates that are reported, with the reasons.
async fn reports(cluster: &Cluster) -> Vec<(String, String)> {
    let mut operator = cluster.client(Caller::Operator);
    let listed = answer(operator.list_template_reports(without_user(ListTemplateReportsRequest::default())).await).expect("reports");
    listed.reports.into_iter().map(|report| (report.template_id, report.reason)).collect()
}

/// Deletes the reports of a template, or the one of a person, and returns their number.
async fn dismiss(cluster: &Cluster, template: &str, user: &str) -> u32 {
    let request = DismissTemplateReportsRequest { template_id: template.into(), user_id: user.into() };
    let mut operator = cluster.client(Caller::Operator);
    answer(operator.dismiss_template_reports(without_user(request)).await).expect("dismissed").dismissed
}

async fn published(person: &Person, request: PublishTemplateRequest) -> Template {
    person.publish(request).await.expect("published").template.expect("a template")
}

#[tokio::test]
async fn what_is_said_about_a_template_stays_when_it_is_published_again() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.project_of(FILES).await;
    let first = published(&ann, publication(&project, "A page")).await;
    report(&bob, &first.id, "spam").await;
    moderate(&cluster, &first.id, None, Some(true)).await;
    ann.unpublish(&first.id).await.expect("unpublished");
    let expected = [(first.id.clone(), "spam".to_owned())];
    assert_eq!(reports(&cluster).await, expected);
    assert_eq!(reason(ann.template(&first.id, 0).await), "TEMPLATE_NOT_FOUND");

    // A fork is the same project for this, and a publisher cannot get rid of the mark by publishing twice.
    let fork = ann.fork(&project, "").await.expect("forked").id;
    let again = published(&ann, publication(&fork, "Zebra page")).await;
    assert_eq!((again.id.as_str(), again.version, again.hidden), (first.id.as_str(), 1, true));
    let copy = published(&ann, publication(&project, "A copy")).await;
    assert!(copy.id != first.id && copy.hidden);
    assert_eq!(reports(&cluster).await, expected);
    assert_eq!(reason(bob.template(&again.id, 0).await), "TEMPLATE_NOT_FOUND");
    assert_eq!(bob.template_titles(ListTemplatesRequest { query: "zebra".into(), ..Default::default() }).await, Vec::<String>::new());

    // Other projects and other publishers are not concerned.
    let other = ann.project_of(FILES).await;
    let visible = published(&ann, publication(&other, "Other")).await;
    assert!(!visible.hidden);
    // Nor is the mark lost if the project becomes a version of a template that is not hidden.
    let next = |project: &str| PublishTemplateRequest { template_id: visible.id.clone(), ..publication(project, "Other") };
    assert!(!published(&ann, next(&other)).await.hidden);
    assert!(published(&ann, next(&project)).await.hidden);
    moderate(&cluster, &visible.id, None, Some(false)).await;
    assert!(!published(&ann, next(&project)).await.hidden, "an operator has seen it");
    let foreign = bob.project_of(FILES).await;
    assert!(!published(&bob, publication(&foreign, "Foreign")).await.hidden);

    // An operator ends it.
    for template in [&again, &copy] {
        moderate(&cluster, &template.id, None, Some(false)).await;
    }
    assert!(!published(&ann, publication(&project, "Third")).await.hidden);
}

#[tokio::test]
async fn a_reported_template_keeps_its_reports_and_is_not_hidden() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.project_of(FILES).await;
    let request = |key: &str| PublishTemplateRequest { request_id: key.into(), ..publication(&project, "A page") };
    let first = published(&ann, request("p")).await;
    report(&bob, &first.id, "ugly").await;
    bob.rate(&first.id, 1, "").await.expect("rated");
    ann.unpublish(&first.id).await.expect("unpublished");
    let again = published(&ann, request("q")).await;
    assert_eq!((again.id.as_str(), again.hidden, again.rating_count), (first.id.as_str(), false, 0));
    // A late repeat of the first request is not about the template that has its id now.
    assert_eq!(reason(ann.publish(request("p")).await), "TEMPLATE_NOT_FOUND");
    assert!(ann.publish(request("q")).await.expect("a repeat").replayed);
    assert_eq!(reports(&cluster).await, [(first.id.clone(), "ugly".to_owned())]);
    // Nothing is kept of a template that nobody has said anything about.
    let plain = ann.template_of("Plain", FILES).await;
    ann.unpublish(&plain.id).await.expect("unpublished");
    assert_eq!(cluster.count("SELECT count(*) FROM unpublished_templates").await, 0);
}

#[tokio::test]
async fn an_operator_dismisses_reports_of_published_and_unpublished_templates() {
    let cluster = Cluster::start().await;
    let (ann, bob, eve) = (cluster.person(), cluster.person(), cluster.person());
    let (kept, gone) = (ann.template_of("Kept", FILES).await.id, ann.template_of("Gone", FILES).await.id);
    for template in [&kept, &gone] {
        report(&bob, template, "spam").await;
        report(&eve, template, "ugly").await;
    }
    ann.unpublish(&gone).await.expect("unpublished");
    assert_eq!(dismiss(&cluster, &kept, &bob.id.to_string()).await, 1);
    assert_eq!(dismiss(&cluster, &kept, &bob.id.to_string()).await, 0);
    // The unpublished template is kept as long as it has reports.
    let kept_of_unpublished = "SELECT count(*) FROM unpublished_templates";
    assert_eq!((dismiss(&cluster, &gone, &bob.id.to_string()).await, cluster.count(kept_of_unpublished).await), (1, 1));
    assert_eq!((dismiss(&cluster, &gone, "").await, cluster.count(kept_of_unpublished).await), (1, 0));
    assert_eq!(reports(&cluster).await, [(kept.clone(), "ugly".to_owned())]);
    let mut operator = cluster.client(Caller::Operator);
    for (template_id, user_id) in [("x", ""), ("", ""), (kept.as_str(), "x")] {
        let request = DismissTemplateReportsRequest { template_id: template_id.into(), user_id: user_id.into() };
        assert_eq!(reason(answer(operator.dismiss_template_reports(without_user(request)).await)), "INVALID_FIELD");
    }
    let mine = ann.client.clone().dismiss_template_reports(ann.request(DismissTemplateReportsRequest::default())).await;
    assert_eq!(reason(answer(mine)), "CALLER_DENIED");
}

/// A replica of the release before deletes templates without the statements of this one.
#[tokio::test]
async fn what_is_said_stays_whoever_deletes_the_template() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.project_of(FILES).await;
    let request = PublishTemplateRequest { request_id: "p".into(), ..publication(&project, "A page") };
    let first = published(&ann, request.clone()).await;
    report(&bob, &first.id, "spam").await;
    moderate(&cluster, &first.id, None, Some(true)).await;
    let deleted = sqlx::query("DELETE FROM templates WHERE id = $1").bind(first.id.parse::<Uuid>().expect("an id"));
    deleted.execute(&cluster.database.pool).await.expect("deleted");
    assert_eq!(reason(ann.publish(request).await), "TEMPLATE_NOT_FOUND");
    let again = published(&ann, publication(&project, "A page")).await;
    assert_eq!((again.id.as_str(), again.hidden), (first.id.as_str(), true));
    assert_eq!(reports(&cluster).await, [(first.id, "spam".to_owned())]);

    // A template that is only reported.
    let other = ann.project_of(FILES).await;
    let reported = published(&ann, publication(&other, "Other")).await;
    report(&bob, &reported.id, "ugly").await;
    let deleted = sqlx::query("DELETE FROM templates WHERE id = $1").bind(reported.id.parse::<Uuid>().expect("an id"));
    deleted.execute(&cluster.database.pool).await.expect("deleted");
    let again = published(&ann, publication(&other, "Other")).await;
    assert_eq!((again.id, again.hidden), (reported.id, false));
}

#[tokio::test]
async fn a_late_repeat_does_not_publish_again() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.project_of(FILES).await;
    let request = PublishTemplateRequest { request_id: "p".into(), ..publication(&project, "A page") };
    let template = published(&ann, request.clone()).await;
    assert!(ann.publish(request.clone()).await.expect("a repeat").replayed);
    ann.unpublish(&template.id).await.expect("unpublished");
    assert_eq!(reason(ann.publish(request.clone()).await), "TEMPLATE_NOT_FOUND");
    assert_eq!(reason(ann.publish(PublishTemplateRequest { title: "B".into(), ..request.clone() }).await), "KEY_REUSED");
    let mine = ListTemplatesRequest { mine: true, ..ListTemplatesRequest::default() };
    assert_eq!(ann.template_titles(mine.clone()).await, Vec::<String>::new());
    published(&ann, PublishTemplateRequest { request_id: "q".into(), ..request }).await;
    assert_eq!(ann.template_titles(mine).await, ["A page"]);
}

#[tokio::test]
async fn a_next_version_stays_featured_and_hidden() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.project_of(FILES).await;
    let template = published(&ann, publication(&project, "A page")).await;
    moderate(&cluster, &template.id, Some(true), Some(true)).await;
    let next = PublishTemplateRequest { template_id: template.id.clone(), ..publication(&project, "A page") };
    let next = published(&ann, next).await;
    assert_eq!((next.version, next.featured, next.hidden), (2, true, true));
}

#[tokio::test]
async fn templates_and_versions_have_limits() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.project_of(FILES).await;
    let template = published(&ann, publication(&project, "A page")).await;
    let more = "WITH s AS (INSERT INTO stores (id) SELECT gen_random_uuid() FROM generate_series(1, $2) RETURNING id)
                INSERT INTO templates (id, store_id, publisher_id, version, title, description, category, tags, difficulty, picture,
                                       recommended_agent, words)
                SELECT gen_random_uuid(), s.id, publisher_id, version, title, description, category, tags, difficulty, picture,
                       recommended_agent, words
                FROM s, templates t WHERE t.id = $1";
    let id: Uuid = template.id.parse().expect("an id");
    let pool = &cluster.database.pool;
    sqlx::query(more).bind(id).bind(48).execute(pool).await.expect("48 more");
    let last = published(&ann, publication(&project, "The fiftieth")).await;
    let fault = ann.publish(publication(&project, "One too many")).await.expect_err("too many");
    assert_eq!((fault.reason.as_str(), fault.metadata["limit"].as_str()), ("TOO_MANY_TEMPLATES", "50"));

    let next = PublishTemplateRequest { template_id: template.id.clone(), ..publication(&project, "A page") };
    sqlx::query("UPDATE templates SET version = 99 WHERE id = $1").bind(id).execute(pool).await.expect("changed");
    assert_eq!(published(&ann, next.clone()).await.version, 100);
    let fault = ann.publish(next).await.expect_err("too many");
    assert_eq!((fault.reason.as_str(), fault.metadata["limit"].as_str()), ("TOO_MANY_VERSIONS", "100"));
    ann.unpublish(&last.id).await.expect("unpublished");
    published(&ann, publication(&project, "In its place")).await;
}

#[tokio::test]
async fn a_template_has_files_in_chunks() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.project_of(&[("a", "1")]).await;
    let large = pattern(700_001);
    upload(&ann, &project, "large.bin", &large).await.expect("uploaded");
    let template = published(&ann, publication(&project, "Large")).await;
    ann.remove(&project).await;
    let used = bob.use_template(usage(&template, &[])).await.expect("used").project.expect("a project").id;
    ann.unpublish(&template.id).await.expect("unpublished");
    cluster.delete_unused_stores().await;
    // A replica without a cache reads the copies of the chunks.
    let (uri, _replica) = cluster.replica().await;
    let elsewhere = Person { client: cluster.client_at(Caller::Gateway, &uri), ..bob.clone() };
    let (entry, data) = download(&elsewhere, &used, "large.bin").await.expect("downloaded");
    assert!(entry.size_bytes == 700_001 && data == large);
    assert_eq!(cluster.count("SELECT count(DISTINCT store_id) FROM chunks").await, 1);
}

#[tokio::test]
async fn an_answer_lists_a_thousand_files_of_a_template() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    let paths: Vec<String> = (0..1003).map(|n| format!("d{}/f{n:04}", n / 600)).collect();
    let files: Vec<(&str, &[u8])> = paths.iter().map(|path| (path.as_str(), &b"1"[..])).collect();
    cluster.write_first(&ann, &project, &files).await;
    let template = published(&ann, publication(&project, "Many")).await;
    let found = bob.template(&template.id, 0).await.expect("a template");
    assert_eq!((found.files.len(), found.file_count, found.files[999].path.as_str()), (1000, 1003, "d1/f0999"));
    let used = bob.use_template(UseTemplateRequest { version: 1, ..usage(&template, &[]) }).await.expect("used");
    assert_eq!(bob.load(&used.project.expect("a project").id).await.expect("loaded").files.len(), 1003);
    ann.save(&project, vec![write("z", "1")]).await.expect("saved");
}
