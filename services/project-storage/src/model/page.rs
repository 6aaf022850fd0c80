//! Pages of lists.

/// A page to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<K> {
    /// Rows of the page at most.
    pub(crate) size: i64,
    /// The last key of the previous page.
    pub(crate) after: Option<K>,
}

impl<K> Page<K> {
    /// Cuts rows that were read with a limit of `size + 1`. If the additional row is there, returns the key of the next page.
    pub(crate) fn cut<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> K) -> (Vec<T>, Option<K>) {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let has_next = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| has_next).map(key);
        (rows, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_additional_row_means_a_next_page() {
        let page = Page { size: 2, after: None };
        assert_eq!(page.cut(vec![1, 2, 3], |n| *n), (vec![1, 2], Some(2)));
        assert_eq!(page.cut(vec![1, 2], |n| *n), (vec![1, 2], None));
        assert_eq!(page.cut(Vec::<i32>::new(), |n| *n), (vec![], None));
    }
}
