//! Templates: copies of revisions, with variables that are filled in when a project is made of one.

use proto::id::{TemplateId, UserId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{git::Oid, model::project::StoreId};

/// The publisher of the templates that ship with Backlot.
pub(crate) const BACKLOT: UserId = UserId(Uuid::nil());
/// Templates that an account may publish.
pub(crate) const MAX_TEMPLATES: u32 = 50;
/// Versions that a template may have.
pub(crate) const MAX_VERSIONS: u32 = 100;

/// The knowledge that a template expects. The database stores the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Difficulty {
    Beginner = 1,
    Intermediate = 2,
    Advanced = 3,
}

impl Difficulty {
    /// A difficulty by its number; an unknown one, which a later release may have written, is `Advanced`.
    pub(crate) fn of_number(number: i16) -> Self {
        [Self::Beginner, Self::Intermediate].into_iter().find(|difficulty| *difficulty as i16 == number).unwrap_or(Self::Advanced)
    }
}

/// What the publisher says about a template.
#[derive(Debug, Clone)]
pub(crate) struct Details {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) category: String,
    /// In lower case, each once.
    pub(crate) tags: Vec<String>,
    pub(crate) difficulty: Difficulty,
    /// The path of a file; empty for none.
    pub(crate) picture: String,
    pub(crate) recommended_agent: String,
}

/// A published template.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) id: TemplateId,
    pub(crate) store: StoreId,
    pub(crate) publisher: UserId,
    /// The newest version.
    pub(crate) version: u32,
    pub(crate) details: Details,
    pub(crate) featured: bool,
    pub(crate) hidden: bool,
    pub(crate) uses: i64,
    pub(crate) ratings: i64,
    /// The sum of all ratings.
    pub(crate) stars: i64,
    pub(crate) score: i64,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
}

impl Template {
    /// Whether a user may see the template.
    pub(crate) fn is_visible_to(&self, user: UserId) -> bool {
        !self.hidden || self.publisher == user
    }

    /// The key of the template in a list of this order.
    pub(crate) fn key(&self, order: Order) -> Key {
        let value = match order {
            Order::Uses => self.uses,
            Order::Rating => self.score,
            Order::Newest => micros(self.created_at),
        };
        (value, self.id.0)
    }
}

/// One version of a template.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) number: u32,
    pub(crate) tree: Oid,
    pub(crate) variables: Vec<Variable>,
    /// The paths of the files that have a placeholder.
    pub(crate) filled: Vec<String>,
}

/// A version in the list of all versions.
#[derive(Debug, Clone)]
pub(crate) struct VersionInfo {
    pub(crate) number: u32,
    pub(crate) files: u32,
    pub(crate) bytes: i64,
    pub(crate) created_at: OffsetDateTime,
}

/// A text to fill in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) label: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) default: String,
    /// A regular expression that a whole value has to match; empty for any.
    #[serde(default)]
    pub(crate) pattern: String,
    #[serde(default)]
    pub(crate) required: bool,
}

/// What one person says about a template.
#[derive(Debug, Clone)]
pub(crate) struct Review {
    pub(crate) user: UserId,
    pub(crate) stars: i16,
    pub(crate) text: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
}

/// What one person has against a template.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) template: TemplateId,
    pub(crate) user: UserId,
    pub(crate) reason: String,
    pub(crate) updated_at: OffsetDateTime,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Uses,
    Rating,
    Newest,
}

/// Which templates a list has.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    /// Words; empty for any.
    pub(crate) query: String,
    /// Empty for any.
    pub(crate) category: String,
    /// Empty for any.
    pub(crate) tag: String,
    pub(crate) difficulty: Option<Difficulty>,
    /// Only those that an operator recommends.
    pub(crate) featured: bool,
    /// Only those of this publisher, the hidden ones as well.
    pub(crate) publisher: Option<UserId>,
    pub(crate) order: Order,
}

/// A position in a list: a number or a time in microseconds since 1970, and an id.
pub(crate) type Key = (i64, Uuid);

/// Microseconds since 1970, as the database stores a time.
pub(crate) fn micros(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)
}

/// The time of [`micros`].
pub(crate) fn time_of(micros: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
