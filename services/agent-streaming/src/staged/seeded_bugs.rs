//! A seeded bug of staged files.

use chassis::seeded_bug;

use super::Staged;

impl Staged {
    /// Shows the files of the base revision.
    pub(super) fn for_a_preview(self) -> Self {
        if seeded_bug::is("preview-the-base") { Self { overlay: self.overlay.unchanged(), ..self } } else { self }
    }
}
