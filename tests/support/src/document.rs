//! Compares the answers of a cluster with its OpenAPI document. An undocumented refusal is an error.

use anyhow::{Context, Result, ensure};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::sync::OnceCell;

/// Reads the document of a cluster once. Only the address differs between clusters.
///
/// # Errors
/// If it cannot be read.
pub async fn of(url: &str) -> Result<&'static Value> {
    static DOCUMENT: OnceCell<Value> = OnceCell::const_new();
    let read = || async move { anyhow::Ok(reqwest::get(format!("{url}/openapi.json")).await?.json().await?) };
    DOCUMENT.get_or_try_init(read).await
}

/// Finds the template of a path and its operation. Returns `None` if the document does not describe it.
#[must_use]
pub fn operation<'a>(document: &'a Value, method: &str, path: &str) -> Option<(&'a str, &'a Value)> {
    let path = path.split('?').next().unwrap_or_default();
    let paths = document["paths"].as_object()?;
    let fits = paths.iter().filter(|(template, _)| matches(template, path));
    // The template with the fewest variables has precedence, as in routers.
    let (template, methods) = fits.min_by_key(|(template, _)| template.matches('{').count())?;
    Some((template, methods.get(method.to_ascii_lowercase())?))
}

fn matches(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            // The path of a file can have several segments.
            (Some("{path}"), Some(part)) => return !part.is_empty() && wanted.next().is_none(),
            (Some(one), Some(part)) if one == part || (one.starts_with('{') && !part.is_empty()) => {}
            _ => return false,
        }
    }
}

/// The documented answer.
#[must_use]
pub fn answer<'a>(document: &'a Value, operation: &'a Value, status: u16) -> Option<&'a Value> {
    let answer = operation["responses"].get(status.to_string())?;
    match answer["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')),
        None => Some(answer),
    }
}

/// Checks that the document lists the reason of this refusal, if it describes the route.
///
/// # Errors
/// If it does not list it.
pub async fn check(url: &str, (method, path): (&str, &str), status: StatusCode, problem: &Value) -> Result<()> {
    let document = of(url).await?;
    let Some((template, operation)) = operation(document, method, path) else { return Ok(()) };
    let at = format!("{method} {template} {status}");
    let answer = answer(document, operation, status.as_u16()).with_context(|| format!("{at} is not documented: {problem}"))?;
    ensure!(
        answer["x-reasons"].as_array().is_some_and(|reasons| reasons.contains(&problem["reason"])),
        "{at} {}: the reason is not documented",
        problem["reason"]
    );
    Ok(())
}
