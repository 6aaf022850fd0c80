//! Request messages from path and query.

use std::collections::HashMap;

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use super::{
    diagnostics::{Source, field_fault},
    query_value::QueryValue,
};
use crate::error::{Failure, invalid};

/// Extracts a request message from the parameters of path and query.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let mut pairs = path_params(parts, state).await?;
        pairs.extend(query_pairs(parts.uri.query().unwrap_or_default())?);
        let source = serde::de::value::MapDeserializer::<_, serde::de::value::Error>::new(values(pairs)?.into_iter());
        serde_path_to_error::deserialize(source).map(Self).map_err(|e| field_fault(e.path(), &e.inner().to_string(), Source::Query).into())
    }
}

/// Extracts the only parameter of a path, next to a body.
pub(crate) struct PathParam(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for PathParam {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let first = path_params(parts, state).await?.into_iter().next();
        Ok(Self(first.map(|(_, value)| value).unwrap_or_default()))
    }
}

impl PathParam {
    /// Copies the parameter into a field of the message. A body with another value is refused.
    pub(crate) fn bind(self, field: &mut String, name: &str) -> Result<(), Failure> {
        if !field.is_empty() && *field != self.0 {
            return Err(invalid(name, "must be absent or the same as in the path"));
        }
        *field = self.0;
        Ok(())
    }
}

/// Extracts several parameters of a path, next to a body.
pub(crate) struct PathParams(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for PathParams {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        path_params(parts, state).await.map(Self)
    }
}

impl PathParams {
    /// Copies the parameter of that name into a field of the message, as [`PathParam::bind`] does.
    pub(crate) fn bind(&self, field: &mut String, name: &str) -> Result<(), Failure> {
        let value = self.0.iter().find(|(parameter, _)| parameter == name);
        PathParam(value.map(|(_, value)| value.clone()).unwrap_or_default()).bind(field, name)
    }
}

impl PathParams {
    /// Copies the parameter of that name into a numeric field of the message, as [`PathParam::bind`] does.
    pub(crate) fn bind_number(&self, field: &mut u32, name: &str) -> Result<(), Failure> {
        let mut text = if *field == 0 { String::new() } else { field.to_string() };
        self.bind(&mut text, name)?;
        *field = text.parse().map_err(|_| invalid(name, "must be a whole number"))?;
        Ok(())
    }
}

async fn path_params<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Vec<(String, String)>, Failure> {
    match RawPathParams::from_request_parts(parts, state).await {
        Ok(params) => Ok(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()),
        Err(axum::extract::rejection::RawPathParamsRejection::InvalidUtf8InPathParam(_)) => {
            Err(invalid("path", "must be UTF-8, percent-encoded"))
        }
        Err(_) => Ok(Vec::new()),
    }
}

/// The parameters with their values. A parameter that is given several times has a list of values; `name[key]=value` is an entry of a map.
fn values(pairs: Vec<(String, String)>) -> Result<Vec<(String, QueryValue)>, Failure> {
    let (mut values, mut places) = (Vec::<(String, QueryValue)>::new(), HashMap::new());
    for (name, text) in pairs {
        let (name, key) = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
            Some((name, key)) => (name.to_owned(), Some(key.to_owned())),
            None => (name, None),
        };
        // The generated code detects a repetition only if both names have the same spelling.
        let place = *places.entry(name.replace('_', "").to_ascii_lowercase()).or_insert(values.len());
        match values.get_mut(place) {
            None => values.push((name, QueryValue::new(key, text))),
            Some((known, value)) => {
                if *known != name || !value.add(key, &text) {
                    return Err(invalid(&name, "must be given once"));
                }
            }
        }
    }
    Ok(values)
}

fn query_pairs(query: &str) -> Result<Vec<(String, String)>, Failure> {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    // The parser replaces bytes that are not UTF-8, so a replacement character that the client did not send shows them.
    let replaced = |text: &str| text.contains('\u{fffd}');
    if !query.to_ascii_lowercase().contains("%ef%bf%bd")
        && let Some((name, _)) = pairs.iter().find(|(name, value)| replaced(name) || replaced(value))
    {
        return Err(invalid(name, "must be UTF-8, percent-encoded"));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use proto::{
        agent_streaming::{ListTurnsRequest, StreamTurnEventsRequest},
        error::Fault,
        project_storage::{ListMessagesRequest, ListRevisionsRequest, SearchFilesRequest},
    };

    use super::*;

    async fn params<T: DeserializeOwned>(uri: &str) -> Result<T, Fault> {
        let (mut parts, ()) = axum::http::Request::get(uri).body(()).unwrap().into_parts();
        Params::from_request_parts(&mut parts, &()).await.map(|p| p.0).map_err(|f| *f.0)
    }

    #[tokio::test]
    async fn a_message_comes_from_the_query() {
        let request = params::<ListMessagesRequest>("/x?projectId=p%201&pageSize=7&order=MESSAGE_ORDER_OLDEST_FIRST").await.unwrap();
        assert_eq!((request.project_id.as_str(), request.page_size, request.order), ("p 1", 7, 2));
        assert_eq!(params::<ListMessagesRequest>("/x?page_size=7").await.unwrap().page_size, 7);
    }

    #[tokio::test]
    async fn a_list_is_a_repeated_parameter() {
        let globs = async |query: &str| params::<SearchFilesRequest>(&format!("/x?{query}")).await.map(|request| request.include);
        assert_eq!(globs("query=a").await.unwrap(), Vec::<String>::new());
        assert_eq!(globs("include=*.ts").await.unwrap(), ["*.ts"]);
        assert_eq!(globs("include=*.ts&query=a&include=src%2F").await.unwrap(), ["*.ts", "src/"]);
        assert_eq!(globs("include[a]=*.ts").await.expect_err("an entry").violations[0].field, "include");
    }

    #[tokio::test]
    async fn an_invalid_query_names_the_parameter_the_value_and_what_is_expected() {
        let orders = "must be one of MESSAGE_ORDER_NEWEST_FIRST, MESSAGE_ORDER_OLDEST_FIRST";
        let whole = "must be a whole number from 0 to 2147483647";
        let rows = [
            ("pageSize=x", "pageSize", format!("{whole}; got \"x\"")),
            ("pageSize=1.5", "pageSize", format!("{whole}; got 1.5")),
            ("pageSize=", "pageSize", format!("{whole}; got \"\"")),
            ("pageSize=2147483648", "pageSize", format!("{whole}; got 2147483648")),
            ("pagesize=1", "pagesize", "is not a field of this request".to_owned()),
            ("order=NEWEST", "order", format!("{orders}; got \"NEWEST\"")),
            ("pageToken=%ff", "pageToken", "must be UTF-8, percent-encoded".to_owned()),
            ("pageSize=1&page_size=2", "page_size", "must be given once".to_owned()),
        ];
        for (query, field, description) in rows {
            let fault = params::<ListMessagesRequest>(&format!("/x?{query}")).await.expect_err(query);
            assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", field), "{query}");
            assert_eq!(fault.violations[0].description, description, "{query}");
        }
        let repeated = params::<ListMessagesRequest>("/x?pageSize=1&pageSize=2").await.expect_err("repeated");
        assert_eq!(
            (repeated.violations[0].field.as_str(), repeated.violations[0].description.as_str()),
            ("pageSize", "must be given once")
        );
        let keyed = params::<ListMessagesRequest>("/x?pageToken[a]=x").await.expect_err("an entry");
        assert_eq!((keyed.violations[0].field.as_str(), keyed.violations[0].description.as_str()), ("pageToken", "must have no key"));
        let time = "must be a time of RFC 3339, such as 2026-11-28T12:00:00Z";
        for text in ["seven", "", "2026-11-28", "2026-11-28T12:00:00", "2026-13-28T12:00:00Z", "2026-11-28T12:00:00Z1"] {
            let fault = params::<ListRevisionsRequest>(&format!("/x?startTime={text}")).await.expect_err(text);
            assert_eq!((fault.violations[0].field.as_str(), fault.violations[0].description.as_str()), ("startTime", time), "{text}");
        }
        let times =
            params::<ListRevisionsRequest>("/x?startTime=1970-01-01T00:00:01Z&end_time=1970-01-01T01:00:00.5%2B01:00").await.unwrap();
        let [start, end] = [times.start_time, times.end_time].map(|time| time.map(|time| (time.seconds, time.nanos)));
        assert_eq!((start, end), (Some((1, 0)), Some((0, 500_000_000))));
        for (query, message) in [
            ("after=-1", "after: must be a whole number from 0 to 4294967295; got -1"),
            ("after=4294967296", "after: must be a whole number from 0 to 4294967295; got 4294967296"),
            ("compact=1", "compact: must be true or false; got 1"),
            ("compact=a%20at%20line%201", "compact: must be true or false; got \"a at line 1\""),
            ("compact=yes", "compact: must be true or false; got \"yes\""),
        ] {
            let fault = params::<StreamTurnEventsRequest>(&format!("/x?{query}")).await.expect_err(query);
            assert_eq!(fault.message, message, "{query}");
        }
        let long = params::<ListTurnsRequest>(&format!("/x?openOnly={}", "x".repeat(3000))).await.expect_err("long");
        assert_eq!(long.message, format!("openOnly: must be true or false; got \"{}…\"", "x".repeat(40)));
    }

    #[test]
    fn a_body_may_not_contradict_the_path() {
        let mut field = String::new();
        PathParam("p1".into()).bind(&mut field, "project_id").unwrap();
        assert_eq!(field, "p1");
        PathParam("p1".into()).bind(&mut field, "project_id").unwrap();
        assert_eq!(PathParam("p2".into()).bind(&mut field, "project_id").unwrap_err().0.reason, "INVALID_FIELD");
    }
}
