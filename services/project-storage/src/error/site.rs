//! What is wrong with a request about a site.

use proto::error::ErrorCode;

/// Why a site cannot be published, read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteError {
    #[error("the slug `{slug}` is reserved; choose another one")]
    SlugReserved { slug: String },
    #[error("the slug `{slug}` is taken; choose another one")]
    SlugTaken { slug: String },
    #[error("the project has no site; publish it first")]
    NotFound,
    #[error("the site has no such deployment")]
    DeploymentNotFound,
}

impl SiteError {
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Self::SlugReserved { .. } => ErrorCode::InvalidArgument,
            Self::SlugTaken { .. } => ErrorCode::Conflict,
            Self::NotFound | Self::DeploymentNotFound => ErrorCode::NotFound,
        }
    }

    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::SlugReserved { .. } => "SLUG_RESERVED",
            Self::SlugTaken { .. } => "SLUG_TAKEN",
            Self::NotFound => "SITE_NOT_FOUND",
            Self::DeploymentNotFound => "DEPLOYMENT_NOT_FOUND",
        }
    }

    /// The slug that is refused.
    pub(super) fn slug(&self) -> Option<&str> {
        match self {
            Self::SlugReserved { slug } | Self::SlugTaken { slug } => Some(slug),
            Self::NotFound | Self::DeploymentNotFound => None,
        }
    }
}
