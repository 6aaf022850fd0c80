//! Templates: publishing a revision, finding and using templates, reviews, reports, and what operators do.

use chassis::{identity::Caller, testing::eventually};
use futures::future::join_all;
use proto::{
    auth::Plan,
    error::{ErrorCode, Fault},
    project_storage::{
        Actor, DeleteProjectRequest, DeleteTemplateReviewRequest, FileContent, GetTemplateFileRequest, GetTemplateRequest,
        GetTemplateResponse, ListTemplateReportsRequest, ListTemplateReviewsRequest, ListTemplatesRequest, ModerateTemplateRequest,
        PublishTemplateRequest, PublishTemplateResponse, RateTemplateRequest, ReportTemplateRequest, Template, TemplateDifficulty,
        TemplateOrder, TemplateValue, TemplateVariable, UnpublishTemplateRequest, UseTemplateRequest, UseTemplateResponse,
        file_content::Data,
    },
};

use crate::harness::{Cluster, Person, Turn, answer, reason, without_user, write};

mod unpublished;

impl Person {
    async fn publish(&self, request: PublishTemplateRequest) -> Result<PublishTemplateResponse, Box<Fault>> {
        answer(self.client.clone().publish_template(self.request(request)).await)
    }

    async fn use_template(&self, request: UseTemplateRequest) -> Result<UseTemplateResponse, Box<Fault>> {
        answer(self.client.clone().use_template(self.request(request)).await)
    }

    async fn template(&self, id: &str, version: u32) -> Result<GetTemplateResponse, Box<Fault>> {
        let request = GetTemplateRequest { template_id: id.into(), version };
        answer(self.client.clone().get_template(self.request(request)).await)
    }

    async fn template_titles(&self, request: ListTemplatesRequest) -> Vec<String> {
        let listed = answer(self.client.clone().list_templates(self.request(request)).await).expect("templates");
        listed.templates.into_iter().map(|template| template.title).collect()
    }

    async fn unpublish(&self, id: &str) -> Result<(), Box<Fault>> {
        let request = UnpublishTemplateRequest { template_id: id.into() };
        answer(self.client.clone().unpublish_template(self.request(request)).await).map(drop)
    }

    async fn rate(&self, id: &str, stars: u32, text: &str) -> Result<(), Box<Fault>> {
        let request = RateTemplateRequest { template_id: id.into(), stars, text: text.into() };
        answer(self.client.clone().rate_template(self.request(request)).await).map(drop)
    }

    async fn delete_review(&self, id: &str) -> Result<(), Box<Fault>> {
        let request = DeleteTemplateReviewRequest { template_id: id.into() };
        answer(self.client.clone().delete_template_review(self.request(request)).await).map(drop)
    }

    /// A new template of a project with these files.
    async fn template_of(&self, title: &str, files: &[(&str, &str)]) -> Template {
        let project = self.project_of(files).await;
        let request = PublishTemplateRequest { variables: vec![variable("name", "you", "[a-z ]*", false)], ..publication(&project, title) };
        self.publish(request).await.expect("published").template.expect("a template")
    }

    async fn project_of(&self, files: &[(&str, &str)]) -> String {
        let project = self.create().await.id;
        self.save(&project, files.iter().map(|(path, text)| write(path, text)).collect()).await.expect("saved");
        project
    }
}

fn publication(project: &str, title: &str) -> PublishTemplateRequest {
    PublishTemplateRequest { project_id: project.into(), title: title.into(), ..PublishTemplateRequest::default() }
}

fn variable(name: &str, default: &str, pattern: &str, required: bool) -> TemplateVariable {
    TemplateVariable {
        name: name.into(),
        label: "A label".into(),
        description: String::new(),
        default_value: default.into(),
        pattern: pattern.into(),
        required,
    }
}

fn usage(template: &Template, values: &[(&str, &str)]) -> UseTemplateRequest {
    let value = |(name, value): &(&str, &str)| TemplateValue { name: (*name).into(), value: (*value).into() };
    UseTemplateRequest { template_id: template.id.clone(), values: values.iter().map(value).collect(), ..UseTemplateRequest::default() }
}

fn fields(fault: &Fault) -> Vec<&str> {
    fault.violations.iter().map(|violation| violation.field.as_str()).collect()
}

const FILES: &[(&str, &str)] =
    &[("index.html", "<h1>Hello %%name%%</h1> %%other%%"), ("src/app.js", "1"), ("src/deep/name.txt", "%%name%%"), ("copy.js", "1")];

#[tokio::test]
async fn a_template_is_a_copy_and_so_is_what_is_made_of_it() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let template = ann.template_of("A page", FILES).await;
    let source = ann.create().await.id;
    assert_eq!((template.version, template.use_count, template.title.as_str()), (1, 0, "A page"));

    let used = bob.use_template(usage(&template, &[("name", "bob")])).await.expect("used");
    let (project, revision) = (used.project.expect("a project"), used.revision.expect("a revision"));
    assert_eq!((project.display_name.as_str(), project.owner_id.as_str()), ("A page", bob.id.to_string().as_str()));
    assert_eq!((revision.message.as_str(), revision.actor(), revision.number), ("From template A page", Actor::Template, 1));
    assert_eq!(revision.diff_stat.map(|stat| stat.added), Some(4));
    let filled = ["copy.js=1", "index.html=<h1>Hello bob</h1> %%other%%", "src/app.js=1", "src/deep/name.txt=bob"];
    assert_eq!(bob.files(&project.id).await, filled);
    assert_eq!(reason(ann.load(&project.id).await), "PROJECT_NOT_FOUND");

    // The new project works as any other, also after the template and its source are gone.
    ann.save(&source, vec![write("x", "y")]).await.expect("saved");
    ann.unpublish(&template.id).await.expect("unpublished");
    assert_eq!(reason(bob.template(&template.id, 0).await), "TEMPLATE_NOT_FOUND");
    assert_eq!(reason(bob.use_template(usage(&template, &[])).await), "TEMPLATE_NOT_FOUND");
    let (uri, _replica) = cluster.replica().await;
    let elsewhere = Person { client: cluster.client_at(Caller::Gateway, &uri), ..bob.clone() };
    assert_eq!(elsewhere.files(&project.id).await, filled);
    bob.save(&project.id, vec![write("src/app.js", "2")]).await.expect("saved");
    let orphans = cluster.count("SELECT count(*) FROM objects o WHERE NOT EXISTS (SELECT 1 FROM stores s WHERE s.id = o.store_id)");
    assert_eq!(orphans.await, 0);
    let shared = cluster.count("SELECT count(*) FROM projects a JOIN projects b ON a.store_id = b.store_id AND a.id < b.id").await;
    assert_eq!(shared, 0);
}

#[tokio::test]
async fn a_template_outlives_its_project_and_has_versions() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.project_of(&[("a.svg", "<svg/>"), ("b", "1")]).await;
    let first = ann.load(&project).await.expect("loaded").revision.expect("a revision").id;
    ann.save(&project, vec![write("b", "2")]).await.expect("saved");
    let request = PublishTemplateRequest {
        revision: first,
        description: "Says hello".into(),
        category: "website".into(),
        tags: vec!["CSS".into(), "css".into(), "plain html".into()],
        difficulty: TemplateDifficulty::Advanced.into(),
        picture: "a.svg".into(),
        recommended_agent: "builder".into(),
        ..publication(&project, "One")
    };
    let template = ann.publish(request.clone()).await.expect("published").template.expect("a template");
    assert_eq!(
        (template.tags.as_slice(), template.difficulty()),
        (&["css".to_owned(), "plain html".into()][..], TemplateDifficulty::Advanced)
    );
    let next = PublishTemplateRequest { template_id: template.id.clone(), ..publication(&project, "Two") };
    assert_eq!(ann.publish(next.clone()).await.expect("published").template.expect("a template").version, 2);
    let delete = DeleteProjectRequest { project_id: project.clone(), purge: true, ..DeleteProjectRequest::default() };
    answer(ann.client.clone().delete_project(ann.request(delete)).await).expect("purged");

    let newest = bob.template(&template.id, 0).await.expect("a template");
    assert_eq!((newest.version, newest.template.expect("a template").title.as_str()), (2, "Two"));
    assert_eq!(newest.versions.iter().map(|v| (v.version, v.file_count, v.size_bytes)).collect::<Vec<_>>(), [(2, 2, 7), (1, 2, 7)]);
    assert_eq!(newest.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a.svg", "b"]);
    for (version, text) in [(0, "2"), (1, "1"), (2, "2")] {
        let request = GetTemplateFileRequest { template_id: template.id.clone(), path: "b".into(), version };
        let file = answer(bob.client.clone().get_template_file(bob.request(request)).await).expect("a file").file.expect("a file");
        assert_eq!(file.content, Some(FileContent { data: Some(Data::Text(text.into())) }), "{version}");
        let used = bob.use_template(UseTemplateRequest { version, ..usage(&template, &[]) }).await.expect("used");
        assert_eq!(bob.files(&used.project.expect("a project").id).await, ["a.svg=<svg/>".to_owned(), format!("b={text}")]);
    }
    assert_eq!(reason(bob.template(&template.id, 3).await), "TEMPLATE_NOT_FOUND");
    let request = GetTemplateFileRequest { template_id: template.id.clone(), path: "c".into(), version: 0 };
    assert_eq!(reason(answer(bob.client.clone().get_template_file(bob.request(request)).await)), "FILE_NOT_FOUND");
    assert_eq!(reason(ann.publish(next).await), "PROJECT_NOT_FOUND");
}

#[tokio::test]
async fn only_admins_publish_and_only_publishers_change() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let template = ann.template_of("A page", FILES).await;
    let project = ann.project_of(FILES).await;
    assert_eq!(reason(bob.publish(publication(&project, "Mine")).await), "PROJECT_NOT_FOUND");
    for (role, refused) in [(1, true), (2, true), (3, false)] {
        sqlx::query(
            "INSERT INTO members (project_id, user_id, role) VALUES ($1, $2, $3) ON CONFLICT (project_id, user_id) DO UPDATE SET role = $3",
        )
        .bind(project.parse::<uuid::Uuid>().expect("an id"))
        .bind(bob.id.0)
        .bind(role)
        .execute(&cluster.database.pool)
        .await
        .expect("a member");
        match bob.publish(publication(&project, "Mine")).await {
            Ok(_) => assert!(!refused, "{role}"),
            Err(fault) => assert!(refused && fault.reason == "ROLE_REQUIRED", "{role}: {fault}"),
        }
    }
    let foreign = PublishTemplateRequest { template_id: template.id.clone(), ..publication(&project, "Mine") };
    assert_eq!(reason(bob.publish(foreign).await), "PUBLISHER_REQUIRED");
    assert_eq!(reason(bob.unpublish(&template.id).await), "PUBLISHER_REQUIRED");
    let empty = ann.create().await.id;
    assert_eq!(reason(ann.publish(publication(&empty, "Empty")).await), "REVISION_NOT_FOUND");
    let unknown = PublishTemplateRequest { revision: "a".repeat(40), ..publication(&project, "x") };
    assert_eq!(reason(ann.publish(unknown).await), "REVISION_NOT_FOUND");
    let picture =
        ann.publish(PublishTemplateRequest { picture: "no.svg".into(), ..publication(&project, "x") }).await.expect_err("no file");
    assert_eq!((picture.reason.as_str(), fields(&picture)), ("FILE_NOT_FOUND", vec!["picture"]));
    ann.unpublish(&template.id).await.expect("unpublished");
    assert_eq!(reason(ann.unpublish(&template.id).await), "TEMPLATE_NOT_FOUND");
}

#[tokio::test]
async fn an_invalid_field_is_named() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.project_of(FILES).await;
    let good = publication(&project, "A page");
    let long = |n: usize| "a".repeat(n);
    for (request, field) in [
        (PublishTemplateRequest { title: " ".into(), ..good.clone() }, "title"),
        (PublishTemplateRequest { title: long(121), ..good.clone() }, "title"),
        (PublishTemplateRequest { description: long(2001), ..good.clone() }, "description"),
        (PublishTemplateRequest { description: "a\0".into(), ..good.clone() }, "description"),
        (PublishTemplateRequest { category: long(41), ..good.clone() }, "category"),
        (PublishTemplateRequest { tags: vec!["x".into(); 11], ..good.clone() }, "tags"),
        (PublishTemplateRequest { tags: vec!["x".into(), " ".into()], ..good.clone() }, "tags[1]"),
        (PublishTemplateRequest { difficulty: 9, ..good.clone() }, "difficulty"),
        (PublishTemplateRequest { picture: "../a".into(), ..good.clone() }, "picture"),
        (PublishTemplateRequest { recommended_agent: "A b".into(), ..good.clone() }, "recommended_agent"),
        (PublishTemplateRequest { variables: vec![variable("a b", "", "", false)], ..good.clone() }, "variables[0].name"),
        (PublishTemplateRequest { variables: vec![variable("a", "", "(", false)], ..good.clone() }, "variables[0].pattern"),
        (PublishTemplateRequest { variables: vec![variable("a", "x", "y", false)], ..good.clone() }, "variables[0].default_value"),
    ] {
        let fault = ann.publish(request).await.expect_err("invalid");
        assert_eq!((fault.reason.as_str(), fields(&fault)), ("INVALID_FIELD", vec![field]), "{fault}");
    }
    let variables = vec![variable("name", "you", "[a-z]*", false), variable("size", "", "[0-9]+", true)];
    let published = ann.publish(PublishTemplateRequest { variables, ..good }).await.expect("published");
    let template = published.template.expect("a template");
    for (values, field) in [
        (&[][..], "values"),
        (&[("size", "")], "values[0].value"),
        (&[("size", "1x")], "values[0].value"),
        (&[("size", "1"), ("name", "A")], "values[1].value"),
        (&[("size", "1"), ("colour", "A")], "values[1].name"),
        (&[("size", "1"), ("size", "1")], "values[1].name"),
    ] {
        let fault = ann.use_template(usage(&template, values)).await.expect_err("invalid");
        assert_eq!((fault.reason.as_str(), fields(&fault)), ("INVALID_FIELD", vec![field]), "{fault}");
    }
    assert_eq!(cluster.count("SELECT count(*) FROM projects").await, 1, "a refused use makes no project");
    assert_eq!(ann.template(&template.id, 0).await.expect("a template").template.expect("a template").use_count, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_idempotent_and_uses_are_counted_once() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.project_of(FILES).await;
    let request = PublishTemplateRequest { request_id: "p".into(), ..publication(&project, "A page") };
    let published = join_all((0..6).map(|_| ann.publish(request.clone()))).await;
    let published: Vec<_> = published.into_iter().map(|result| result.expect("published")).collect();
    assert_eq!(published.iter().filter(|result| !result.replayed).count(), 1);
    let template = published[0].template.clone().expect("a template");
    assert!(published.iter().all(|result| result.template.as_ref().is_some_and(|other| other.id == template.id)));
    assert_eq!(reason(ann.publish(PublishTemplateRequest { title: "B".into(), ..request }).await), "KEY_REUSED");

    let request = UseTemplateRequest { request_id: "u".into(), ..usage(&template, &[]) };
    let used = join_all((0..6).map(|_| bob.use_template(request.clone()))).await;
    let used: Vec<_> = used.into_iter().map(|result| result.expect("used")).collect();
    assert_eq!(used.iter().filter(|result| !result.replayed).count(), 1);
    let project = used[0].project.clone().expect("a project").id;
    assert!(used.iter().all(|result| result.project.as_ref().is_some_and(|other| other.id == project)));
    assert!(used.iter().all(|result| result.revision.as_ref().is_some_and(|revision| revision.number == 1)));
    assert_eq!(reason(bob.use_template(UseTemplateRequest { display_name: "B".into(), ..request }).await), "KEY_REUSED");
    join_all((0..4).map(|_| async { bob.use_template(usage(&template, &[])).await.expect("used") })).await;
    assert_eq!(ann.template(&template.id, 0).await.expect("a template").template.expect("a template").use_count, 5);
}

#[tokio::test]
async fn quotas_hold_for_publications_and_uses() {
    const SETTINGS: &[(&str, &str)] = &[("BACKLOT_ACCOUNT_PROJECTS", "2"), ("BACKLOT_ACCOUNT_BYTES", "6000")];
    let cluster = Cluster::with_settings(SETTINGS).await;
    let (ann, bob) = (cluster.person(), cluster.person());
    // The text cannot be compressed much.
    let text: String = (0..40_u32).map(|n| n.wrapping_mul(2_654_435_761).wrapping_pow(3).to_string()).collect();
    let project = ann.project_of(&[("a", &text), ("b", "1")]).await;
    let template = ann.publish(publication(&project, "One")).await.expect("published").template.expect("a template");
    let mut refused = None;
    for n in 0..40 {
        if let Err(fault) = ann.publish(publication(&project, &format!("Another {n}"))).await {
            refused = Some(fault);
            break;
        }
    }
    let refused = refused.expect("the account is full");
    assert_eq!((refused.code, refused.reason.as_str()), (ErrorCode::RateLimited, "ACCOUNT_TOO_LARGE"));
    for _ in 0..2 {
        bob.use_template(usage(&template, &[])).await.expect("used");
    }
    assert_eq!(reason(bob.use_template(usage(&template, &[])).await), "TOO_MANY_PROJECTS");
}

#[tokio::test]
async fn a_filled_file_is_within_the_limits_of_the_plan() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person_on(Plan::Enterprise), cluster.person());
    let template = ann.template_of("Many", &[("a", &"%%name%%".repeat(1000)), ("b", "1")]).await;
    let fault = bob.use_template(usage(&template, &[("name", &"x".repeat(100))])).await.expect_err("too large");
    assert_eq!((fault.reason.as_str(), fault.metadata["path"].as_str(), fields(&fault)), ("FILE_TOO_LARGE", "a", vec!["values"]));
    assert_eq!(cluster.count("SELECT count(*) FROM projects").await, 1);
    ann.use_template(usage(&template, &[("name", &"x".repeat(100))])).await.expect("within the limits of the plan");
    bob.use_template(usage(&template, &[("name", &"x".repeat(50))])).await.expect("within the limits of the plan");
    // A file that is larger than the plan of the user allows may stay.
    let large = ann.template_of("Large", &[("a", &format!("%%name%%{}", "y".repeat(90_000)))]).await;
    bob.use_template(usage(&large, &[])).await.expect("used");
}

#[tokio::test]
async fn templates_are_found_by_words_filters_and_order() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.project_of(FILES).await;
    let mut ids = Vec::new();
    for (title, description, category, tag, difficulty) in [
        ("Photo gallery", "Pictures in a grid", "website", "css", TemplateDifficulty::Beginner),
        ("Shop", "Sells photo prints and more", "store", "react", TemplateDifficulty::Advanced),
        ("Notes", "Writes notes", "app", "photo", TemplateDifficulty::Beginner),
    ] {
        let request = PublishTemplateRequest {
            description: description.into(),
            category: category.into(),
            tags: vec![tag.into()],
            difficulty: difficulty.into(),
            ..publication(&project, title)
        };
        ids.push(ann.publish(request).await.expect("published").template.expect("a template"));
    }
    bob.use_template(usage(&ids[1], &[])).await.expect("used");
    bob.rate(&ids[2].id, 5, "").await.expect("rated");
    bob.rate(&ids[0].id, 1, "").await.expect("rated");
    let all = ListTemplatesRequest { mine: false, order: TemplateOrder::Newest.into(), ..ListTemplatesRequest::default() };
    let query = |query: &str| ListTemplatesRequest { query: query.into(), ..all.clone() };
    for (request, titles) in [
        (all.clone(), &["Notes", "Shop", "Photo gallery"][..]),
        (query("photo"), &["Notes", "Shop", "Photo gallery"]),
        (query("PHOTO -shop"), &["Notes", "Photo gallery"]),
        (query("\"photo prints\""), &["Shop"]),
        (query("nothing here"), &[]),
        (query("'):*&|!<->("), &[]),
        (ListTemplatesRequest { category: "app".into(), ..all.clone() }, &["Notes"]),
        (ListTemplatesRequest { tag: "React".into(), ..all.clone() }, &["Shop"]),
        (ListTemplatesRequest { difficulty: TemplateDifficulty::Advanced.into(), ..all.clone() }, &["Shop"]),
        (ListTemplatesRequest { featured: true, ..all.clone() }, &[]),
        (ListTemplatesRequest { order: TemplateOrder::Rating.into(), ..all.clone() }, &["Notes", "Shop", "Photo gallery"]),
    ] {
        let found = bob.template_titles(request.clone()).await;
        let found: Vec<_> = found.iter().map(String::as_str).filter(|title| ["Notes", "Shop", "Photo gallery"].contains(title)).collect();
        assert_eq!(found, titles, "{request:?}");
    }
    let by_uses = bob.template_titles(ListTemplatesRequest { query: "photo".into(), ..ListTemplatesRequest::default() }).await;
    assert_eq!(by_uses[0], "Shop");
    assert_eq!(bob.template_titles(ListTemplatesRequest { mine: true, ..all.clone() }).await, Vec::<String>::new());
    pages(&ann, ListTemplatesRequest { mine: true, ..all }).await;
}

/// Reads a list in pages of one; a token of another query is refused.
async fn pages(person: &Person, request: ListTemplatesRequest) {
    for order in [TemplateOrder::Uses, TemplateOrder::Rating, TemplateOrder::Newest] {
        let whole = person.template_titles(ListTemplatesRequest { order: order.into(), ..request.clone() }).await;
        let (mut titles, mut token) = (Vec::new(), String::new());
        loop {
            let page = ListTemplatesRequest { order: order.into(), page_size: 1, page_token: token, ..request.clone() };
            let page = answer(person.client.clone().list_templates(person.request(page)).await).expect("a page");
            titles.extend(page.templates.into_iter().map(|template| template.title));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
            let other = ListTemplatesRequest { tag: "other".into(), order: order.into(), page_token: token.clone(), ..request.clone() };
            assert_eq!(reason(answer(person.client.clone().list_templates(person.request(other)).await)), "PAGE_TOKEN_INVALID");
        }
        assert_eq!((titles.len(), &titles), (3, &whole), "{order:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_person_has_one_review_and_one_report() {
    let cluster = Cluster::start().await;
    let (ann, bob, eve) = (cluster.person(), cluster.person(), cluster.person());
    let template = ann.template_of("A page", FILES).await;
    let rating = || async {
        let found = ann.template(&template.id, 0).await.expect("a template").template.expect("a template");
        (found.rating_count, found.average_rating_hundredths)
    };
    assert_eq!(reason(ann.rate(&template.id, 5, "").await), "OWN_TEMPLATE");
    for stars in [0, 6] {
        assert_eq!(fields(&bob.rate(&template.id, stars, "").await.expect_err("invalid")), ["stars"]);
    }
    assert_eq!(fields(&bob.rate(&template.id, 1, &"x".repeat(2001)).await.expect_err("long")), ["text"]);
    join_all((1..=5).map(|stars| bob.rate(&template.id, stars, "again"))).await;
    bob.rate(&template.id, 4, "Good").await.expect("rated");
    eve.rate(&template.id, 1, "").await.expect("rated");
    assert_eq!(rating().await, (2, 250));
    let request = ListTemplateReviewsRequest { template_id: template.id.clone(), page_size: 1, page_token: String::new() };
    let page = answer(bob.client.clone().list_template_reviews(bob.request(request.clone())).await).expect("reviews");
    assert_eq!((page.reviews[0].user_id.as_str(), page.reviews[0].stars), (eve.id.to_string().as_str(), 1));
    let request = ListTemplateReviewsRequest { page_token: page.next_page_token, ..request };
    let page = answer(bob.client.clone().list_template_reviews(bob.request(request)).await).expect("reviews");
    assert_eq!((page.reviews[0].text.as_str(), page.reviews[0].stars, page.next_page_token.as_str()), ("Good", 4, ""));
    eve.delete_review(&template.id).await.expect("deleted");
    assert_eq!(reason(eve.delete_review(&template.id).await), "REVIEW_NOT_FOUND");
    assert_eq!(rating().await, (1, 400));

    for text in ["spam", "it is spam"] {
        let request = ReportTemplateRequest { template_id: template.id.clone(), reason: text.into() };
        answer(bob.client.clone().report_template(bob.request(request)).await).expect("reported");
    }
    let operator = cluster.client(Caller::Operator);
    let request = || without_user(ListTemplateReportsRequest::default());
    let reports = answer(operator.clone().list_template_reports(request()).await).expect("reports").reports;
    assert_eq!(reports.iter().map(|report| report.reason.as_str()).collect::<Vec<_>>(), ["it is spam"]);
    let denied = answer(bob.client.clone().list_template_reports(bob.request(ListTemplateReportsRequest::default())).await);
    assert_eq!(reason(denied), "CALLER_DENIED");
}

#[tokio::test]
async fn an_operator_features_and_hides() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let template = ann.template_of("Zebra page", FILES).await;
    let operator = cluster.client(Caller::Operator);
    let moderate = |featured, hidden| {
        let request = ModerateTemplateRequest { template_id: template.id.clone(), featured, hidden };
        let mut operator = operator.clone();
        async move { answer(operator.moderate_template(without_user(request)).await).expect("changed").template.expect("a template") }
    };
    assert!(moderate(Some(true), None).await.featured);
    let mine = ListTemplatesRequest { query: "zebra".into(), featured: true, ..ListTemplatesRequest::default() };
    assert_eq!(bob.template_titles(mine.clone()).await, ["Zebra page"]);
    let hidden = moderate(None, Some(true)).await;
    assert!(hidden.featured && hidden.hidden);
    assert_eq!(bob.template_titles(mine.clone()).await, Vec::<String>::new());
    for refused in [
        reason(bob.template(&template.id, 0).await),
        reason(bob.use_template(usage(&template, &[])).await),
        reason(bob.rate(&template.id, 5, "").await),
        reason(bob.unpublish(&template.id).await),
    ] {
        assert_eq!(refused, "TEMPLATE_NOT_FOUND");
    }
    assert_eq!(ann.template_titles(ListTemplatesRequest { mine: true, ..mine }).await, ["Zebra page"]);
    moderate(None, Some(false)).await;
    bob.template(&template.id, 0).await.expect("a template");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_is_used_completely_or_not_at_all_while_it_is_unpublished() {
    let cluster = Cluster::start().await;
    let (ann, people) = (cluster.person(), [(); 4].map(|()| cluster.person()));
    for _ in 0..5 {
        let template = ann.template_of("A page", FILES).await;
        let uses = join_all(people.iter().map(|person| person.use_template(usage(&template, &[]))));
        let (uses, unpublished) = tokio::join!(uses, ann.unpublish(&template.id));
        unpublished.expect("unpublished");
        for (person, used) in people.iter().zip(uses) {
            match used {
                Ok(used) => assert_eq!(person.files(&used.project.expect("a project").id).await.len(), 4),
                Err(fault) => assert_eq!(fault.reason, "TEMPLATE_NOT_FOUND"),
            }
        }
    }
    cluster.delete_unused_stores().await;
    assert_eq!(
        cluster
            .count("SELECT count(*) FROM stores s WHERE id NOT IN (SELECT store_id FROM projects UNION SELECT store_id FROM templates)")
            .await,
        0
    );
}

#[tokio::test]
async fn the_commit_of_a_conflicted_turn_is_not_published() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.project_of(&[("a", "1")]).await;
    let base = ann.load(&project).await.expect("loaded").revision.expect("a revision").id;
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "change a").await.expect("begun");
    ann.save(&project, vec![write("a", "2")]).await.expect("saved");
    let committed = crate::harness::commit(&turn.agent, turn.result(&base, vec![write("a", "3")])).await.expect("committed");
    let revision = committed.revision.expect("a revision").id;
    assert_eq!(reason(ann.publish(PublishTemplateRequest { revision, ..publication(&project, "x") }).await), "REVISION_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starters_are_published_once_by_all_replicas() {
    let cluster = Cluster::start().await;
    let replicas = [cluster.replica().await, cluster.replica().await];
    let ann = cluster.person();
    let request = ListTemplatesRequest { featured: true, page_size: 200, ..ListTemplatesRequest::default() };
    let expected = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/templates")).expect("a folder");
    let expected = expected.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().join("template.json").is_file())).count();
    let found = eventually(std::time::Duration::from_secs(60), || async {
        let listed = answer(ann.client.clone().list_templates(ann.request(request.clone())).await).ok()?;
        (listed.templates.len() == expected).then_some(listed.templates)
    })
    .await;
    for template in found {
        assert_eq!((template.publisher_id.as_str(), template.version), ("00000000-0000-0000-0000-000000000000", 1));
        let used = ann.use_template(usage(&template, &[])).await.expect("used");
        let files = ann.files(&used.project.expect("a project").id).await;
        let variables = ann.template(&template.id, 0).await.expect("a template").variables;
        assert!(!files.is_empty() && variables.iter().all(|v| files.iter().all(|file| !file.contains(&format!("%%{}%%", v.name)))));
    }
    drop(replicas);
}
