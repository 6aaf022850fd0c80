//! For readers of a project's events: the JSON form of an event.

use crate::{
    event::kinds,
    project_storage::{ProjectEvent, project_event::Kind},
};

kinds! {
    RevisionCommitted => "revision.committed", HeadReset => "head.reset",
}

impl ProjectEvent {
    /// The event as one line of JSON: `{"seq":7,"projectId":…,"type":"revision.committed","data":{…}}`. A kind that this build does not know
    /// has the type `unknown` and no data.
    ///
    /// # Errors
    /// A message could not be serialised as JSON. No message of the contract causes this.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let (name, data) = match &self.kind {
            Some(kind) => (type_name(kind), data_json(kind)?),
            None => ("unknown", "{}".to_owned()),
        };
        let project = serde_json::to_string(&self.project_id)?;
        Ok(format!(r#"{{"seq":{},"projectId":{project},"type":"{name}","data":{data}}}"#, self.seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project_storage::{HeadReset, Revision, RevisionCommitted};

    #[test]
    fn an_event_is_one_line_of_json_with_a_dotted_type() {
        let event = |seq, kind| ProjectEvent { seq, project_id: "p".into(), kind }.to_json().expect("json");
        let revision = Revision { id: "abc".into(), number: 7, message: "a\nb\"".into(), ..Revision::default() };
        let committed = event(7, Some(Kind::RevisionCommitted(RevisionCommitted { revision: Some(revision) })));
        let head = r#"{"seq":7,"projectId":"p","type":"revision.committed","data":{"revision":{"id":"abc","number":7,"#;
        assert!(committed.starts_with(head) && !committed.contains('\n'), "{committed}");
        assert!(committed.contains(r#""message":"a\nb\"""#), "{committed}");
        let reset = event(0, Some(Kind::HeadReset(HeadReset::default())));
        assert_eq!(reset, r#"{"seq":0,"projectId":"p","type":"head.reset","data":{}}"#);
        assert_eq!(event(3, None), r#"{"seq":3,"projectId":"p","type":"unknown","data":{}}"#);
    }

    #[test]
    fn the_type_names_are_those_of_the_fields() {
        for name in TYPE_NAMES {
            assert!(name.matches('.').count() <= 1 && name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
        }
    }
}
