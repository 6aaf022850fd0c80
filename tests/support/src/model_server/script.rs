//! Chooses the answer to a request.

use std::collections::VecDeque;

use super::{answer::Answer, request::Request};

/// Chooses the answer to each request.
pub struct Script(Box<Decide>);

/// Chooses an answer from the index and the request; `None` refuses it.
type Decide = dyn FnMut(usize, &Request) -> Option<Answer> + Send;

impl Script {
    /// One answer per request, in order. Further requests are refused with 400.
    pub fn queue(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut answers: VecDeque<Answer> = answers.into_iter().collect();
        Self(Box::new(move |_, _| answers.pop_front()))
    }

    /// The same answer to every request.
    #[must_use]
    pub fn always(answer: Answer) -> Self {
        Self(Box::new(move |_, _| Some(answer.clone())))
    }

    /// Calls `decide` with the index and the request.
    pub fn with(decide: impl FnMut(usize, &Request) -> Option<Answer> + Send + 'static) -> Self {
        Self(Box::new(decide))
    }

    pub(super) fn next(&mut self, index: usize, request: &Request) -> Option<Answer> {
        (self.0)(index, request)
    }
}
