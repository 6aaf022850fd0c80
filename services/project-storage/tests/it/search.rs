//! Searching the files of a project.

use proto::{
    error::Fault,
    project_storage::{
        FileChange, FileContent, SearchFilesRequest, SearchFilesResponse, SearchHit, file_change::Action, file_content::Data,
    },
};

use crate::harness::{Cluster, Person, Turn, answer, reason, write};

impl Person {
    async fn search(&self, request: SearchFilesRequest) -> Result<SearchFilesResponse, Box<Fault>> {
        answer(self.client.clone().search_files(self.request(request)).await)
    }
}

fn query(project: &str, query: &str) -> SearchFilesRequest {
    SearchFilesRequest { project_id: project.into(), query: query.into(), ..Default::default() }
}

/// A hit on one line: path, line, column, and the text with its matches in brackets.
fn line(hit: &SearchHit) -> String {
    let text: String = hit.parts.iter().map(|part| if part.r#match { format!("[{}]", part.text) } else { part.text.clone() }).collect();
    format!("{}:{}:{} {text}", hit.path, hit.line, hit.column)
}

fn lines(found: &SearchFilesResponse) -> Vec<String> {
    found.hits.iter().map(line).collect()
}

#[tokio::test]
async fn paths_and_lines_are_found() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let empty = ann.search(query(&project, "x")).await.expect("no hits");
    assert_eq!((empty.hits.len(), empty.revision.as_str(), empty.next_page_token.as_str()), (0, "", ""));
    let binary = FileContent { data: Some(Data::Binary(b"button\0button\n"[..].into())) };
    let binary = FileChange { path: "img/button.bin".into(), action: Some(Action::Write(binary)), ..Default::default() };
    let changes = vec![
        write("src/Button.tsx", "import x\n\nexport const Button = 1;\n// a button of Buttons\nend\n"),
        write("src/app.ts", "const a = button;\r\nlet b = a;\r\n"),
        write("readme.md", "nothing\n"),
        binary,
    ];
    let first = ann.save(&project, changes).await.expect("saved").revision.expect("a revision").id;
    let found = ann.search(query(&project, "button")).await.expect("hits");
    let expected = [
        "img/button.bin:0:5 img/[button].bin",
        "src/Button.tsx:0:5 src/[Button].tsx",
        "src/Button.tsx:3:14 export const [Button] = 1;",
        "src/Button.tsx:4:6 // a [button] of [Button]s",
        "src/app.ts:1:11 const a = [button];",
    ];
    assert_eq!((lines(&found), found.revision.as_str()), (expected.map(str::to_owned).to_vec(), first.as_str()));

    let request = SearchFilesRequest { case_sensitive: true, whole_word: true, context_lines: 1, ..query(&project, "button") };
    let found = ann.search(SearchFilesRequest { include: vec!["src/".into()], ..request }).await.expect("hits");
    assert_eq!(lines(&found), ["src/Button.tsx:4:6 // a [button] of Buttons", "src/app.ts:1:11 const a = [button];"]);
    assert_eq!(
        (&found.hits[0].before[..], &found.hits[0].after[..]),
        (&["export const Button = 1;".to_owned()][..], &["end".to_owned()][..])
    );
    assert_eq!(found.hits[1].after, ["let b = a;"]);

    let request = SearchFilesRequest { regex: true, exclude: vec!["*.tsx".into()], ..query(&project, "^(let|nothing)") };
    assert_eq!(lines(&ann.search(request).await.expect("hits")), ["readme.md:1:1 [nothing]", "src/app.ts:2:1 [let] b = a;"]);

    ann.save(&project, vec![write("src/app.ts", "button button\n")]).await.expect("saved");
    let old = SearchFilesRequest { revision: first, include: vec!["app.ts".into()], ..query(&project, "button") };
    assert_eq!(lines(&ann.search(old).await.expect("hits")), ["src/app.ts:1:11 const a = [button];"]);
}

#[tokio::test]
async fn pages_have_all_hits_of_one_revision() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let text = "a\nhit\nhit hit\n";
    ann.save(&project, (0..9).map(|n| write(&format!("d{}/hit{n}.txt", n % 2), text)).collect()).await.expect("saved");
    let whole = ann.search(query(&project, "hit")).await.expect("hits");
    assert_eq!((whole.hits.len(), whole.next_page_token.as_str()), (27, ""));
    for size in [1, 2, 3, 26] {
        let mut request = SearchFilesRequest { page_size: size, ..query(&project, "hit") };
        let (mut hits, mut pages) = (Vec::new(), 0);
        loop {
            let page = ann.search(request.clone()).await.expect("a page");
            hits.extend(page.hits);
            pages += 1;
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert!(hits == whole.hits, "pages of {size}");
        assert_eq!(pages, 27_usize.div_ceil(size.try_into().expect("a size")), "no empty page");
    }

    let first = ann.search(SearchFilesRequest { page_size: 20, ..query(&project, "hit") }).await.expect("a page");
    ann.save(&project, vec![write("d1/hit7.txt", "changed")]).await.expect("the head moves");
    let request = SearchFilesRequest { page_token: first.next_page_token, ..query(&project, "hit") };
    let second = ann.search(request).await.expect("a page");
    assert_eq!((&second.hits[..], second.revision), (&whole.hits[20..], whole.revision));
}

#[tokio::test]
async fn a_large_project_is_searched_in_pages_of_bytes() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    // 20 MB, so more than one page.
    for part in 0..4 {
        let text = |n: usize| format!("{part} {n}\n{}", "a line that is not found\n".repeat(2000));
        ann.save(&project, (0..100).map(|n| write(&format!("{part}/{n:03}.txt"), &text(n))).collect()).await.expect("saved");
    }
    let mut request = SearchFilesRequest { case_sensitive: true, ..query(&project, "3 99") };
    let (mut hits, mut pages) = (Vec::new(), 0);
    loop {
        let page = ann.search(request.clone()).await.expect("a page");
        hits.extend(lines(&page));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(hits, ["3/099.txt:1:1 [3 99]"]);
    assert!(pages > 1);
}

#[tokio::test]
async fn invalid_searches_are_refused() {
    let cluster = Cluster::start().await;
    let (ann, ben) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    ann.save(&project, vec![write("a", "x\nx\n")]).await.expect("saved");
    let field = async |request: SearchFilesRequest| ann.search(request).await.expect_err("invalid").violations[0].field.clone();
    assert_eq!(field(query(&project, "")).await, "query");
    assert_eq!(field(query(&project, "a\nb")).await, "query");
    assert_eq!(field(query(&project, &"a".repeat(501))).await, "query");
    let regex = |text: &str| SearchFilesRequest { regex: true, ..query(&project, text) };
    for text in ["(", r"\w{1000}", r"a(?=b)"] {
        assert_eq!(field(regex(text)).await, "query", "{text}");
    }
    assert_eq!(field(SearchFilesRequest { include: vec!["a".into(), "[".into()], ..query(&project, "a") }).await, "include[1]");
    assert_eq!(field(SearchFilesRequest { exclude: vec!["a".into(); 21], ..query(&project, "a") }).await, "exclude");
    assert_eq!(field(SearchFilesRequest { revision: "x".into(), ..query(&project, "a") }).await, "revision");

    let page = ann.search(SearchFilesRequest { page_size: 1, ..query(&project, "x") }).await.expect("a page");
    let other = SearchFilesRequest { page_token: page.next_page_token.clone(), ..query(&project, "X") };
    assert_eq!(reason(ann.search(other).await), "PAGE_TOKEN_INVALID", "a token of another query");
    let foreign = SearchFilesRequest { page_token: page.next_page_token, ..query(&project, "x") };
    assert_eq!(reason(ben.search(foreign).await), "PAGE_TOKEN_INVALID", "a token of another user");
    assert_eq!(reason(ben.search(query(&project, "x")).await), "PROJECT_NOT_FOUND");
    let missing = SearchFilesRequest { revision: "a".repeat(40), ..query(&project, "x") };
    assert_eq!(reason(ann.search(missing).await), "REVISION_NOT_FOUND");
}

#[tokio::test]
async fn a_revision_of_another_project_is_not_searched() {
    let cluster = Cluster::start().await;
    let (ann, ben) = (cluster.person(), cluster.person());
    let (mine, theirs) = (ann.create().await.id, ben.create().await.id);
    let secret = ben.save(&theirs, vec![write("a", "secret")]).await.expect("saved").revision.expect("a revision").id;
    let request = SearchFilesRequest { revision: secret, ..query(&mine, "secret") };
    assert_eq!(reason(ann.search(request).await), "REVISION_NOT_FOUND");
    // The id of a turn opens nothing either.
    let turn = Turn::new(&cluster);
    turn.begin(&ben, &theirs, "hello").await.expect("begun");
    assert_eq!(reason(ann.search(query(&theirs, "secret")).await), "PROJECT_NOT_FOUND");
}
