//! Fast reading of the revocation log in SQLite. Speed matters, because a server reads the whole log when it starts.

use super::Store;
use crate::store::error::StoreError;
use crate::store::log::Row;
use crate::store::records::{Logged, Page, Undecoded};

impl Store {
    pub(crate) async fn read_log(&self, seq: i64, limit: i64) -> Result<Page, StoreError> {
        // All rows are returned as one JSON text, because this is much faster than returning single rows through sqlx. It is
        // one statement, so that rows and counters are from the same commit. `? + 0` instead of `?`: SQLite compiles a
        // statement again after each change of a parameter that is the whole LIMIT, but not if the parameter is in an
        // expression.
        let query = sqlx::query_as(
            "SELECT page.*, global_generation, pruned_through, needs, moved_to FROM state,
                 (SELECT count(*), max(seq), json_group_array(json_array(seq, hex(sid), sub, below, hex(kid), expires_at))
                  FROM (SELECT * FROM revocation WHERE seq >= ? ORDER BY seq LIMIT ? + 0)) AS page",
        );
        type Columns = (i64, Option<i64>, String, i64, i64, i64, Option<String>);
        let (count, last, text, generation, pruned, needs, moved_to): Columns =
            query.bind(seq).bind(limit).fetch_one(&mut *self.reading().await?.connection).await?;
        let count = usize::try_from(count).map_err(|_| StoreError::Corrupt("negative count"))?;
        let state = super::state((generation, pruned, needs, moved_to))?;
        Ok(Page { rows: Undecoded::Sqlite(text), count, last, state })
    }
}

/// Decodes rows of the log from a JSON array of arrays. Returns them in the order of their numbers.
pub(in crate::store) fn rows(text: &str) -> Result<Vec<Logged>, StoreError> {
    type Columns<'t> = (i64, &'t str, Option<String>, Option<i64>, &'t str, i64);
    let rows: Vec<Columns<'_>> =
        serde_json::from_str(text).map_err(|_| StoreError::Corrupt("invalid row of the log"))?;
    let logged = |(seq, sid, sub, below, kid, expires_at): Columns<'_>| {
        let sid = match sid.len() {
            0 => None,
            32 => u128::from_str_radix(sid, 16).ok().map(u128::to_be_bytes),
            _ => return Err(StoreError::Corrupt("session id of the wrong length")),
        };
        let kid = match kid.len() {
            0 => None,
            16 => u64::from_str_radix(kid, 16).ok().map(u64::to_be_bytes),
            _ => return Err(StoreError::Corrupt("key id of the wrong length")),
        };
        let sid = sid.as_ref().map(<[u8; 16]>::as_slice);
        let kid = kid.as_ref().map(<[u8; 8]>::as_slice);
        Ok(Logged { seq, entry: Row { sid, sub, below, kid, expires_at }.entry()?, age: None })
    };
    let mut rows = rows.into_iter().map(logged).collect::<Result<Vec<_>, StoreError>>()?;
    // SQLite returns the rows in order, but does not guarantee it.
    rows.sort_unstable_by_key(|row| row.seq);
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;
    use crate::id::{Kid, Sid};
    use crate::revocation::Entry;
    use crate::store::records::EmptyPolicy;

    #[tokio::test]
    async fn returns_the_entries_as_written_page_by_page() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("test.db");
        assert!(Store::create(&path).expect("a new file"));
        let store = Store::open(&path, EmptyPolicy::Filled).await.expect("an empty database");
        assert_eq!(store.read_log(0, 10).await.expect("read").rows().expect("decoded"), []);
        let sid = Sid::from_bytes(*b"\0\x01\x0a\xa0\xffABCDEFGHIJK");
        let sub = "\"a\\b\", \u{e9}, \u{1}".into();
        let session = Entry::Session { sid, expires_at: UnixTime(7) };
        let subject = Entry::Subject { sub, below: i64::MAX.unsigned_abs(), expires_at: UnixTime(i64::MAX as u64) };
        let key = Entry::Key { kid: Kid::from_bytes(*b"\0\x01\x0a\xa0\xffABC") };
        let entries = [session.clone(), subject, key];
        let mut writing = store.begin_unchecked().await.expect("begun");
        writing.add_entries(&entries).await.expect("written");
        writing.commit().await.expect("committed");
        for (from, limit, expected) in [(0, 10, 0..3), (0, 2, 0..2), (2, 2, 1..3), (3, 2, 2..3), (4, 2, 3..3)] {
            let page = store.read_log(from, limit).await.expect("read");
            let rows = page.rows().expect("decoded");
            let read: Vec<_> = rows.iter().map(|row| (row.seq, &row.entry)).collect();
            let written: Vec<_> = expected.map(|index| (index as i64 + 1, &entries[index])).collect();
            assert_eq!(read, written, "from {from}");
            let next = written.last().filter(|_| written.len() >= limit as usize).map(|(seq, _)| *seq);
            assert_eq!(page.next(limit), next, "from {from}");
        }
    }

    #[test]
    fn creates_no_database_next_to_the_log_of_a_removed_one() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("test.db");
        std::fs::write(home.path().join("test.db-wal"), "a log").expect("writes");
        assert!(matches!(Store::create(&path), Err(StoreError::LogWithoutDatabase(_))));
        std::fs::remove_file(home.path().join("test.db-wal")).expect("removes");
        assert!(Store::create(&path).expect("a new file"));
    }

    #[test]
    fn an_invalid_row_is_an_error() {
        for text in [
            "[[1,\"00\",null,null,\"\",1]]",
            "[[1,\"\",null,null,\"00\",1]]",
            "[[1,\"\",null,null,\"\",1]]",
            "[[1,\"\",\"a\",1,\"0001020304050607\",1]]",
            "[[1,\"\",\"a\",1,\"\",-1]]",
            "[[1]]",
            "",
        ] {
            assert!(matches!(rows(text), Err(StoreError::Corrupt(_))), "{text}");
        }
    }
}
