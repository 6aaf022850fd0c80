//! An account that leaves something in every service and is deleted then.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::json;
use test_support::canary::Stopwatch;
use tokio::time::sleep;

use super::{Addresses, Editor, PAUSE, POLL};
use crate::{
    client::ApiCall,
    deployment::timeline,
    prompt::{Task, VERB},
    record::{DeletedAccount, EndedCredential},
};

/// The accounts that are deleted after each other with one project.
const GUESTS: usize = 3;
/// The role of an editor.
const EDITOR: i16 = 2;

impl Editor {
    /// Invites a new account to a project. It uses that project and one of its own, and deletes itself during a turn.
    pub(super) async fn delete_account(&mut self, addresses: &Addresses) -> Option<()> {
        self.create_project().await?;
        let template = self.publish_template().await?;
        let template = format!("/api/templates/{}", self.text_at(&template, "/id")?);
        let mut guest = self.newcomer().await?;
        let mut account = guest.account();
        guest.store_key(addresses).await?;
        guest.rate_template(&template).await?;
        guest.leave_projects(&mut account).await?;
        guest.project.clone_from(&self.project);
        self.invite(addresses, &account.user).await?;
        guest.use_project_of_others(&mut account).await?;
        if guest.end_account().await? {
            self.client.record.deleted(account.clone());
            guest.wait_until_refused("the session of a deleted account").await?;
            self.wait_until_forgotten(&account).await?;
        }
        // The project stays: a purge would delete its turns, too.
        self.call_or_not_found("unpublish", Method::DELETE, &template, json!({})).await?;
        sleep(PAUSE).await;
        Some(())
    }

    /// Invites new accounts to a project. Each saves and deletes itself.
    pub(super) async fn delete_guests(&mut self, addresses: &Addresses) -> Option<()> {
        self.create_project().await?;
        for _ in 0..GUESTS {
            let mut guest = self.newcomer().await?;
            guest.project.clone_from(&self.project);
            let account = guest.account();
            self.invite(addresses, &account.user).await?;
            let text = guest.text("saved");
            guest.save(json!({ "projectId": guest.project }), &text).await?;
            if guest.end_account().await? {
                self.client.record.deleted(account);
            }
        }
        sleep(PAUSE).await;
        Some(())
    }

    /// The account of a newcomer.
    fn account(&self) -> DeletedAccount {
        DeletedAccount { user: self.client.people[0].user_id.clone(), turns: Vec::new() }
    }

    /// Makes a person an editor of the project. No call does that.
    async fn invite(&self, addresses: &Addresses, user: &str) -> Option<()> {
        let clock = Stopwatch::start();
        loop {
            match insert_member(addresses, &self.project, user).await {
                Ok(()) => return Some(()),
                // PostgreSQL is down.
                Err(_) if clock.elapsed() < self.client.turn_limit => sleep(POLL).await,
                Err(error) => return self.wrong(format!("nobody can be invited to project {}: {error:#}", self.project)),
            }
        }
    }

    async fn rate_template(&mut self, template: &str) -> Option<()> {
        self.send("review", Method::PUT, &format!("{template}/review"), json!({ "stars": 5, "text": "chaos" })).await?;
        self.send("report", Method::PUT, &format!("{template}/report"), json!({ "reason": "chaos" })).await.map(drop)
    }

    /// Leaves a template, a deleted project, and a fork with a turn, whose source is purged.
    async fn leave_projects(&mut self, account: &mut DeletedAccount) -> Option<()> {
        self.create_project().await?;
        self.publish_template().await?;
        let fork = self.fork_of(&self.project.clone()).await?;
        self.purge().await?;
        let deleted = self.fork_of(&fork).await?;
        self.project = deleted;
        self.delete().await?;
        self.project = fork;
        self.turn_of_project(Task::Write, account).await.map(drop)
    }

    /// Writes and rates messages in a project of somebody else, and leaves a turn that runs.
    async fn use_project_of_others(&mut self, account: &mut DeletedAccount) -> Option<()> {
        if self.turn_of_project(Task::Answer, account).await? != "turn.failed" {
            let listed = self.conversation().await?;
            let answer = format!("/api/projects/{}/messages/{}/reaction", self.project, self.text_at(&listed, "/1/id")?);
            self.send("react", Method::PUT, &answer, json!({ "kind": "REACTION_KIND_HELPFUL" })).await?;
        }
        let running = self.start(Task::SlowAnswer, json!({ "projectId": self.project })).await?;
        account.turns.push(running.turn.clone());
        self.wait_until_working(&running).await
    }

    /// Runs a turn to its end. Returns the type of its last event.
    async fn turn_of_project(&mut self, task: Task, account: &mut DeletedAccount) -> Option<String> {
        let mut turn = self.start(task, json!({ "projectId": self.project })).await?;
        account.turns.push(turn.turn.clone());
        self.follow_to_end(&mut turn).await
    }

    /// Deletes the account. Returns `false` if its sign-up is too long ago for that.
    async fn end_account(&mut self) -> Option<bool> {
        let body = json!({ "email": self.client.people[0].email });
        let delete = ApiCall { what: "delete an account", method: Method::POST, path: "/api/auth/account:delete", body, key: None };
        match self.client.call(delete).await? {
            // An earlier attempt without an answer has deleted it.
            Ok(_) | Err((StatusCode::UNAUTHORIZED, _)) => Some(true),
            Err((StatusCode::FORBIDDEN, problem)) if problem["reason"] == "STEP_UP_REQUIRED" => Some(false),
            Err(refused) => self.refused("delete an account", refused),
        }
    }

    /// Waits until no gateway accepts the credential any more, whose end was acknowledged now.
    pub(super) async fn wait_until_refused(&mut self, what: &str) -> Option<()> {
        let (clock, ended, mut refused) = (Stopwatch::start(), timeline::now(), 0);
        // A request goes to one of the gateways.
        while refused < 2 * self.client.urls.len() {
            let list =
                ApiCall { what: "list with an ended credential", method: Method::GET, path: "/api/projects", body: json!({}), key: None };
            match self.client.call(list).await? {
                Err((StatusCode::UNAUTHORIZED, _)) => refused += 1,
                Ok(_) if clock.elapsed() < self.client.turn_limit => {
                    refused = 0;
                    sleep(POLL).await;
                }
                Ok(_) => return self.wrong(format!("{what} is accepted")),
                Err(answer) => return self.refused("list with an ended credential", answer),
            }
        }
        let what = format!("{what} of account {}", self.client.people[0].user_id);
        let ended = EndedCredential { what, ended, refused: timeline::now() };
        self.client.record.credentials(|credentials| credentials.ended.push(ended));
        Some(())
    }

    /// Waits until the project of somebody else has neither the id of the account nor its prompts.
    async fn wait_until_forgotten(&mut self, account: &DeletedAccount) -> Option<()> {
        let clock = Stopwatch::start();
        loop {
            let messages = self.conversation().await?.to_string();
            if !messages.contains(&account.user) && !messages.contains(VERB) {
                return Some(());
            }
            if clock.elapsed() > self.client.turn_limit {
                return self.wrong(format!("project {} has messages of the deleted account {}: {messages}", self.project, account.user));
            }
            sleep(PAUSE).await;
        }
    }
}

async fn insert_member(addresses: &Addresses, project: &str, user: &str) -> Result<()> {
    let pool = test_support::cluster::pool(&addresses.database, "project-storage").await?;
    let insert = "INSERT INTO members (project_id, user_id, role) VALUES ($1::uuid, $2::uuid, $3) ON CONFLICT DO NOTHING";
    sqlx::query(insert).bind(project).bind(user).bind(EDITOR).execute(&pool).await?;
    pool.close().await;
    Ok(())
}
