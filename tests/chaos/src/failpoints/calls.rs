//! Calls by the role that makes them: those of accounts, and those that have no failpoints, with the reason. Those of operators are apart.

use backlot::role::Role;

/// Calls of accounts, sessions and their credentials.
pub(super) const OF_ACCOUNTS: &[(Role, &[&str])] = &[
    (
        Role::Gateway,
        &[
            "ChangeEmail",
            "Check",
            "ConfirmEmailChange",
            "ConfirmPasswordReset",
            "ConfirmTotp",
            "CreatePasskey",
            "CreateRecoveryCodes",
            "CreateServiceAccount",
            "DecideDeviceSignIn",
            "DeletePasskey",
            "DeleteServiceAccount",
            "DeleteTotp",
            "ExchangeDeviceCode",
            "ExportAccount",
            "FinishProviderSignIn",
            "GetDeviceSignIn",
            "GetEmailChange",
            "GetFactors",
            "GetKeySet",
            "GetSession",
            "ListIdentities",
            "ListPasskeys",
            "ListProviders",
            "ListServiceAccounts",
            "RemoveNewFactor",
            "RenamePasskey",
            "RequestPasswordReset",
            "RevokeSession",
            "SendVerification",
            "SignInWithPasskey",
            "StartDeviceSignIn",
            "StartPasskeyCeremony",
            "StartProviderSignIn",
            "StartTotp",
            "UnlinkIdentity",
            "UpdateServiceAccount",
            "VerifyEmail",
            "VerifySignIn",
        ],
    ),
    (Role::Auth, &["Check"]),
    (Role::AgentStreaming, &["GetKeySet", "WatchRevocations"]),
    (Role::ProjectStorage, &["Check", "GetKeySet", "WatchRevocations"]),
];

/// Calls without failpoints. A call that a role may make is here, or has failpoints.
#[cfg(test)]
const UNCALLED: &[(Role, &[&str], &str)] = &[
    (
        Role::Gateway,
        &["ReadStagedContents"],
        "the gateway makes the call once for the page of a running turn, and not if compile has the files or the turn has ended",
    ),
    (Role::Gateway, &["GetLink"], "a page reads it before its form is shown; nothing is stored"),
    (Role::Gateway, &["CheckTree", "ListPolicies"], "the gateway may make the call, and does not"),
    (Role::AgentStreaming, &["BuildPage"], "agent-streaming may make the call, and does not"),
    (
        Role::AgentStreaming,
        &["GetProject", "ListFiles", "ListMessages", "ReadFiles"],
        "reads for a plan, for findings and for a key of a project; nothing is stored before or after it",
    ),
    (Role::AgentStreaming, &["ReadTurnFiles"], "runs only if a turn reads contents of files, which the worker then keeps"),
    (
        Role::Gateway,
        &["GetTurn", "ListTurns", "ListAgents", "GetAgent", "SelectAgent", "PlanTurn", "GetTokenUsage"],
        "reads; the gateway passes them on and keeps nothing",
    ),
    (
        Role::Gateway,
        &[
            "CreateProject",
            "ListProjects",
            "GetProject",
            "UpdateProject",
            "DeleteProject",
            "UndeleteProject",
            "GetUsage",
            "GetProjectUsage",
            "ForkProject",
            "MergeProject",
            "ListForks",
            "SaveProject",
            "LoadProject",
            "ListFiles",
            "GetFile",
            "SearchFiles",
            "ImportArchive",
            "ExportProject",
            "UploadFile",
            "DeleteFile",
            "DownloadFile",
            "ReadFiles",
            "ListRevisions",
            "GetRevision",
            "DiffRevisions",
            "ListFileRevisions",
            "BlameFile",
            "ListLabels",
            "SetLabel",
            "DeleteLabel",
            "RestoreRevision",
            "RevertRevision",
            "UndoRevision",
            "RedoRevision",
            "ListLocks",
            "SetLock",
            "DeleteLock",
            "ListMessages",
            "SearchMessages",
            "UpdateMessage",
            "DeleteMessage",
            "SetReaction",
            "DeleteReaction",
            "ListConflicts",
            "GetConflict",
            "ResolveConflict",
            "DeletePreview",
            "GetSite",
            "UnpublishSite",
            "ListDeployments",
            "ActivateDeployment",
            "ExportDeployment",
            "ReadSiteFile",
            "DownloadSiteFile",
            "PublishTemplate",
            "ListTemplates",
            "GetTemplate",
            "GetTemplateFile",
            "UseTemplate",
            "UnpublishTemplate",
            "ListTemplateReviews",
            "RateTemplate",
            "DeleteTemplateReview",
            "ReportTemplate",
            "DownloadPreviewFile",
            "ReadPreviewFile",
            "GetPreviewTree",
            "ReadPreviewContents",
        ],
        "the gateway passes them on and keeps nothing, so the failpoints of the statements of project-storage lose the same answers",
    ),
];

/// Calls of operators that the load makes. They have no failpoints, because an operator is no process of the cluster.
#[cfg(test)]
const OF_OPERATORS: &[&str] = &[
    "CreateInvite",
    "CreateUser",
    "DeleteUser",
    "DismissTemplateReports",
    "EndUserSessions",
    "FindUser",
    "ImpersonateUser",
    "ListAuditEvents",
    "ListInvites",
    "ListTemplateReports",
    "ListUserSessions",
    "ListUsers",
    "ModerateTemplate",
    "ReplaceSigningKey",
    "ResetSecondFactor",
    "RevokeInvite",
    "SetUserDisabled",
    "SetUserPlan",
];

/// Calls of operators that the load does not make.
#[cfg(test)]
const UNCALLED_OF_OPERATORS: &[(&[&str], &str)] = &[
    (&["Check", "GetKeySet", "SignUp"], "the gateway makes the same call, with failpoints"),
    (&["ListPolicies"], "reads the settings of the process; nothing is stored"),
    (&["ReplaySelection"], "reads; a test of the service does that"),
    (
        &["AddPackages", "ImportPackages", "ExportPackages", "ListBundles", "ListPackages"],
        "of packages that an operator keeps, which the run does not; tests of the service do that",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chassis::identity::Caller;

    use super::*;
    use crate::failpoints::called;

    /// The roles whose processes have failpoints.
    const CALLERS: [Role; 5] = [Role::Gateway, Role::Auth, Role::AgentStreaming, Role::ProjectStorage, Role::Compile];

    /// The name of the caller and that of the RPC.
    type Call = (&'static str, &'static str);

    fn names(calls: impl Iterator<Item = (Role, &'static str)>) -> BTreeSet<Call> {
        calls.map(|(role, rpc)| (role.name(), rpc)).collect()
    }

    #[test]
    fn every_call_of_an_access_table_has_failpoints_or_a_reason() {
        let rules = || Role::ALL.into_iter().flat_map(Role::rules);
        let may_call = |(role, rpc): &(Role, &'static str)| {
            rules().any(|rule| rule.rpc == *rpc && rule.callers.iter().any(|caller| caller.name() == role.name()))
        };
        let excluded = UNCALLED.iter().flat_map(|(role, calls, _)| calls.iter().map(move |call| (*role, *call)));
        let all = CALLERS.into_iter().flat_map(|role| rules().map(move |rule| (role, rule.rpc))).filter(may_call);
        let (with, without, all) = (names(called()), names(excluded), names(all));
        let listed: BTreeSet<Call> = with.union(&without).copied().collect();
        assert!(all.len() > 100, "{all:?}");
        assert_eq!(all.difference(&listed).collect::<Vec<_>>(), Vec::<&Call>::new(), "calls that no list has");
        assert_eq!(listed.difference(&all).collect::<Vec<_>>(), Vec::<&Call>::new(), "calls that no access table allows");
        assert_eq!(with.intersection(&without).collect::<Vec<_>>(), Vec::<&Call>::new(), "calls in both lists");
    }

    /// The name of the method of a client that makes the call.
    fn method(rpc: &str) -> String {
        rpc.chars().enumerate().fold(String::new(), |name, (at, letter)| {
            let separator = if at > 0 && letter.is_ascii_uppercase() { "_" } else { "" };
            format!("{name}{separator}{}", letter.to_ascii_lowercase())
        })
    }

    #[test]
    fn every_call_of_operators_is_made_or_has_a_reason() {
        let rules = Role::ALL.into_iter().flat_map(Role::rules);
        let all: BTreeSet<&str> = rules.filter(|rule| rule.callers.contains(&Caller::Operator)).map(|rule| rule.rpc).collect();
        let made: BTreeSet<&str> = OF_OPERATORS.iter().copied().collect();
        let not_made: BTreeSet<&str> = UNCALLED_OF_OPERATORS.iter().flat_map(|(calls, _)| calls.iter().copied()).collect();
        let listed: BTreeSet<&str> = made.union(&not_made).copied().collect();
        assert_eq!(all, listed, "the calls of the access tables, and those of the lists");
        assert_eq!(made.intersection(&not_made).collect::<Vec<_>>(), Vec::<&&str>::new(), "calls in both lists");
        let sources = [include_str!("../operator.rs"), include_str!("../moderator.rs")].concat();
        let missing: Vec<_> = made.iter().filter(|rpc| !sources.contains(&format!(".{}(", method(rpc)))).collect();
        assert_eq!(missing, Vec::<&&str>::new(), "calls that neither operator makes");
    }
}
