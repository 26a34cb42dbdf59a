//! Text output, aligned by tabs exactly as in the 0.x command line.
//!
//! ```text
//! name:<tabs>value        a cell is padded with tabs to the next tab stop that
//! NAME<tabs>STATUS …      leaves 8 columns after the longest cell of its column
//! ```
//!
//! Scripts split these lines at tabs, so the bytes are part of the contract.

use styx_protocol::{CursorInfo, LogInfo};

const TAB: usize = 8;
const PADDING: usize = 8;

/// The output of `logs create` and `logs get`.
pub(crate) fn log_info(info: &LogInfo) -> String {
    aligned(&info_rows(info))
}

/// The output of `logs get` if the server has an archive.
pub(crate) fn archived_log_info(info: &LogInfo, archived_position: u64) -> String {
    let mut rows = info_rows(info);
    rows.push(vec!["archived_position:".to_owned(), archived_position.to_string()]);
    aligned(&rows)
}

fn info_rows(info: &LogInfo) -> Vec<Vec<String>> {
    let labels =
        ["name:", "status:", "record_count:", "file_size:", "start_position:", "end_position:"];
    let pairs = labels.into_iter().zip(cells(info));
    pairs.map(|(label, value)| vec![label.to_owned(), value]).collect()
}

const LIST_HEADER: [&str; 6] =
    ["NAME", "STATUS", "RECORD COUNT", "FILE SIZE", "START POSITION", "END POSITION"];

/// The output of `logs list` if the server has an archive. A log that is not open has no archived
/// position.
pub(crate) fn archived_log_list(logs: &[(&LogInfo, Option<u64>)]) -> String {
    let header = LIST_HEADER.into_iter().chain(["ARCHIVED POSITION"]);
    let mut rows = vec![header.map(str::to_owned).collect::<Vec<_>>()];
    rows.extend(logs.iter().map(|(info, archived)| {
        let archived = archived.map_or("-".to_owned(), |position| position.to_string());
        cells(info).into_iter().chain([archived]).collect()
    }));
    aligned(&rows)
}

/// The output of `logs list`.
pub(crate) fn log_list(infos: &[LogInfo]) -> String {
    let mut rows = vec![LIST_HEADER.map(str::to_owned).to_vec()];
    rows.extend(infos.iter().map(|info| cells(info).to_vec()));
    aligned(&rows)
}

/// The output of `cursors get` and `cursors set`.
pub(crate) fn cursor(cursor: &CursorInfo) -> String {
    let labels = ["cursor:", "log_id:", "position:", "updated:", "version:"];
    let pairs = labels.into_iter().zip(cursor_cells(cursor));
    let rows: Vec<_> = pairs.map(|(label, value)| vec![label.to_owned(), value]).collect();
    aligned(&rows)
}

/// The output of `cursors list`.
pub(crate) fn cursor_list(cursors: &[CursorInfo]) -> String {
    let header = ["CURSOR", "LOG ID", "POSITION", "UPDATED", "VERSION"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(cursors.iter().map(|cursor| cursor_cells(cursor).to_vec()));
    aligned(&rows)
}

fn cursor_cells(cursor: &CursorInfo) -> [String; 5] {
    [
        cursor.cursor.clone(),
        cursor.log_id.to_string(),
        cursor.position.to_string(),
        cursor.updated.to_string(),
        cursor.version.to_string(),
    ]
}

fn cells(info: &LogInfo) -> [String; 6] {
    [
        info.name.clone(),
        info.status.to_string(),
        info.record_count.to_string(),
        info.file_size.to_string(),
        info.start_position.to_string(),
        info.end_position.to_string(),
    ]
}

/// The output of a list with a header.
pub(crate) fn rows(rows: &[Vec<String>]) -> String {
    aligned(rows)
}

/// Aligns rows with equal numbers of cells. The last cell of a row is not padded.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max())
        .map(|longest| (longest.unwrap_or(0) + PADDING).next_multiple_of(TAB))
        .collect();
    let mut out = String::new();
    for row in rows {
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            out.push_str(cell);
            if index + 1 < row.len() {
                let tabs = (width - cell.len()).div_ceil(TAB);
                out.extend(std::iter::repeat_n('\t', tabs));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use styx_protocol::LogStatus;

    fn info(name: &str, record_count: u64, file_size: u64) -> LogInfo {
        LogInfo {
            name: name.to_owned(),
            status: LogStatus::Ok,
            record_count,
            file_size,
            start_position: 0,
            end_position: record_count,
        }
    }

    /// Recorded from the 0.x command line.
    #[test]
    fn log_info_has_the_bytes_of_0_x() {
        let expected = "name:\t\t\tcli\nstatus:\t\t\tok\nrecord_count:\t\t5\nfile_size:\t\t53\n\
                        start_position:\t\t0\nend_position:\t\t5\n";
        assert_eq!(log_info(&info("cli", 5, 53)), expected);
    }

    /// Recorded from the 0.x command line.
    #[test]
    fn log_list_has_the_bytes_of_0_x() {
        let expected = "NAME\t\tSTATUS\t\tRECORD COUNT\t\tFILE SIZE\t\tSTART POSITION\t\tEND POSITION\n\
                        cap\t\tok\t\t13\t\t\t133\t\t\t0\t\t\t13\n\
                        cli\t\tok\t\t0\t\t\t0\t\t\t0\t\t\t0\n";
        assert_eq!(log_list(&[info("cap", 13, 133), info("cli", 0, 0)]), expected);
    }

    #[test]
    fn long_name_widens_its_column() {
        let list = log_list(&[info("a-name-of-20-letters", 1, 9), info("b", 0, 0)]);
        assert_eq!(
            list,
            "NAME\t\t\t\tSTATUS\t\tRECORD COUNT\t\tFILE SIZE\t\tSTART POSITION\t\tEND POSITION\n\
             a-name-of-20-letters\t\tok\t\t1\t\t\t9\t\t\t0\t\t\t1\n\
             b\t\t\t\tok\t\t0\t\t\t0\t\t\t0\t\t\t0\n"
        );
    }

    #[test]
    fn list_of_a_server_with_an_archive_has_one_more_column() {
        let (archived, closed) = (info("a", 4, 9), info("b", 0, 0));
        assert_eq!(
            archived_log_list(&[(&archived, Some(3)), (&closed, None)]),
            "NAME\t\tSTATUS\t\tRECORD COUNT\t\tFILE SIZE\t\tSTART POSITION\t\tEND POSITION\t\tARCHIVED POSITION\n\
             a\t\tok\t\t4\t\t\t9\t\t\t0\t\t\t4\t\t\t3\n\
             b\t\tok\t\t0\t\t\t0\t\t\t0\t\t\t0\t\t\t-\n"
        );
    }

    #[test]
    fn empty_list_is_only_the_header() {
        let header =
            "NAME\t\tSTATUS\t\tRECORD COUNT\t\tFILE SIZE\t\tSTART POSITION\t\tEND POSITION\n";
        assert_eq!(log_list(&[]), header);
    }
}
