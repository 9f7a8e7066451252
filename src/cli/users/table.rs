//! Table of `sealjar users list`. On a terminal, long texts are shortened so that each line fits. In other output nothing is
//! shortened.
//!
//! The column of display names is the last one. A name may have wide characters, whose width is only estimated, and a wrong
//! estimate then moves no other column.

use std::io::{self, IsTerminal};

use crate::cli::output::{outln, visible};
use crate::store::records::Account;

const HEADINGS: [&str; 6] = ["LOGIN", "STATE", "CREATED", "EMAIL", "ROLES", "NAME"];
/// Number of spaces between two columns.
const GAP: usize = 2;
/// Indices of the columns that may be shortened: address, roles and display name. The other columns stay complete, so that they
/// can be copied and sorted.
const FLEXIBLE: [usize; 3] = [3, 4, 5];
/// Minimum width of a shortened column.
const MIN_WIDTH: usize = 8;

pub(super) fn print(accounts: &[Account]) {
    let width = if io::stdout().is_terminal() { terminal_width() } else { None };
    for line in lines(accounts, width) {
        outln!("{line}");
    }
}

fn terminal_width() -> Option<usize> {
    rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// Returns the state of an account as text.
pub(super) const fn state(account: &Account) -> &'static str {
    match (account.disabled, account.must_change) {
        (true, _) => "disabled",
        (false, true) => "must change",
        (false, false) => "enabled",
    }
}

/// Returns the lines of the table, with the headings. They fit `terminal`, the width of the terminal, if there is one.
fn lines(accounts: &[Account], terminal: Option<usize>) -> impl Iterator<Item = String> {
    let rows: Vec<[String; 6]> =
        std::iter::once(HEADINGS.map(str::to_owned)).chain(accounts.iter().map(cells)).collect();
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().map(columns).sum::<usize>().max(*width);
        }
    }
    if let Some(terminal) = terminal {
        fit(&mut widths, terminal);
    }
    rows.into_iter().map(move |row| line(&row, &widths))
}

fn cells(account: &Account) -> [String; 6] {
    let profile = &account.profile;
    [
        profile.login_name.to_string(),
        state(account).to_owned(),
        account.created_at.to_string(),
        profile.email.as_str().to_owned(),
        profile.roles.as_str().to_owned(),
        visible(profile.display_name.as_str()),
    ]
}

/// Narrows the widest flexible column step by step, until a line fits or every flexible column has its minimum width.
fn fit(widths: &mut [usize; 6], terminal: usize) {
    while widths.iter().sum::<usize>() + GAP * (widths.len() - 1) > terminal {
        let widest = FLEXIBLE.into_iter().max_by_key(|column| widths[*column]).expect("FLEXIBLE is not empty");
        if widths[widest] <= MIN_WIDTH {
            return;
        }
        widths[widest] -= 1;
    }
}

fn line(row: &[String; 6], widths: &[usize; 6]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        let cell = cut(cell, *width);
        let used: usize = cell.chars().map(columns).sum();
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(used) + GAP));
    }
    line.truncate(line.trim_end().len());
    line
}

/// Returns the text, or its beginning and an ellipsis if the text is wider than `width`.
fn cut(text: &str, width: usize) -> String {
    if text.chars().map(columns).sum::<usize>() <= width {
        return text.to_owned();
    }
    let mut used = 0;
    let beginning = text.chars().take_while(|c| {
        used += columns(*c);
        used < width
    });
    let mut cut: String = beginning.collect();
    cut.push('\u{2026}');
    cut
}

/// Returns the number of terminal columns that a character takes. This is an estimate from the largest Unicode blocks of wide and
/// of combining characters.
const fn columns(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' | '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Profile, Roles};
    use crate::clock::UnixTime;

    fn account(login: &str, name: &str, email: &str) -> Account {
        let roles = Roles::new(&["staff".to_owned(), "admin".to_owned()]).expect("two roles");
        let profile = Profile {
            login_name: login.parse().expect("a login name"),
            display_name: name.parse().expect("a display name"),
            email: email.parse().expect("an address"),
            roles,
        };
        Account::new(profile, String::new(), false, UnixTime(1_700_000_000))
    }

    fn width(line: &str) -> usize {
        line.chars().map(columns).sum()
    }

    #[test]
    fn shortens_lines_only_for_a_terminal() {
        let long = "An Exceedingly Long Name That No Terminal Shows Beside All Of The Other Columns";
        let address = "an.exceedingly.long.address.of.somebody@subdomain.example.com";
        let wide = "\u{5c71}\u{7530}\u{592a}\u{90ce}".repeat(12);
        let accounts =
            [account("alice", long, address), account("bob", &wide, "bob@example.com"), account("c", "", "")];
        for terminal in [80, 100, 120, 200] {
            let lines: Vec<String> = lines(&accounts, Some(terminal)).collect();
            assert_eq!(lines.len(), 4);
            assert!(lines.iter().all(|line| width(line) <= terminal), "{terminal}: {lines:#?}");
            let longest = lines.iter().map(|line| width(line)).max();
            // A character that takes two columns does not fit into the last column.
            assert!(longest >= Some(terminal - 1), "{terminal}: a text that fits is not shortened: {lines:#?}");
            let place = lines[0].find("EMAIL").expect("a heading");
            assert!(lines[1][place..].starts_with("an.exc") && lines[2][place..].starts_with("bob@"), "{lines:#?}");
        }
        let whole: Vec<String> = lines(&accounts, None).collect();
        assert!(whole[1].contains(long) && whole[1].contains(address) && whole[2].ends_with(&wide), "{whole:#?}");
        let narrow: Vec<String> = lines(&accounts, Some(10)).collect();
        assert!(narrow[1].starts_with("alice  enabled"), "login and state are never shortened: {narrow:#?}");
    }
}
