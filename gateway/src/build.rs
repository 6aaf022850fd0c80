//! Conversations with compile: it asks for the files and contents that it does not know.

pub(crate) mod source;
pub(crate) mod staged;

use proto::{
    compile::{BuildPageRequest, BuildSiteRequest, Content, Files, build_page_request, build_site_request},
    error::ErrorCode,
};
use tonic::Status;

use crate::error::{Failure, fault, fault_of};

/// A message to compile that answers a question.
pub(crate) trait Answer: Send {
    fn files(files: Files) -> Self;
    fn content(content: Content) -> Self;
}

macro_rules! answers {
    ($request:ident, $parts:ident) => {
        impl Answer for $request {
            fn files(files: Files) -> Self {
                Self { part: Some($parts::Part::Files(files)) }
            }

            fn content(content: Content) -> Self {
                Self { part: Some($parts::Part::Content(content)) }
            }
        }
    };
}

answers!(BuildPageRequest, build_page_request);
answers!(BuildSiteRequest, build_site_request);

/// The failure of a call of compile. Where its executable should be is not told to everybody.
pub(crate) fn failure(status: &Status) -> Failure {
    let mut fault = fault_of(status);
    if fault.reason == "COMPILER_MISSING" {
        tracing::warn!("{}", fault.message);
        "the compiler of this release is not installed".clone_into(&mut fault.message);
    }
    fault.into()
}

/// Compile has ended the stream before its result.
pub(crate) fn unfinished() -> Failure {
    fault(ErrorCode::Internal, "INTERNAL", "the compiler ended the stream without a result").into()
}
