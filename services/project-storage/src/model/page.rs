//! Pages of listings. Pure.

/// Which part of a listing is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<K> {
    /// Rows at most.
    pub(crate) size: i64,
    /// The last key of the page before.
    pub(crate) after: Option<K>,
}

impl<K> Page<K> {
    /// Takes the row too many away, which only said that there is a next page, and answers that page's key.
    pub(crate) fn cut<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> K) -> (Vec<T>, Option<K>) {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| more).map(key);
        (rows, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_whether_more_follows() {
        let page = Page { size: 2, after: None };
        assert_eq!(page.cut(vec![1, 2, 3], |n| *n), (vec![1, 2], Some(2)));
        assert_eq!(page.cut(vec![1, 2], |n| *n), (vec![1, 2], None));
        assert_eq!(page.cut(Vec::<i32>::new(), |n| *n), (vec![], None));
    }
}
