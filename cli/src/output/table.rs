//! Tables for people.

use super::Out;
use crate::failure::Outcome;

/// Rows that are held back before the widths of columns are fixed: a long list is printed as it comes.
const HELD: usize = 500;

/// Columns of text, aligned.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    held: Vec<Vec<String>>,
    titled: bool,
}

#[derive(Debug)]
struct Column {
    title: &'static str,
    right: bool,
    width: usize,
}

impl Table {
    /// A table with these titles, after `<` for left or `>` for right. No row, no title.
    pub(crate) fn new(titles: &[&'static str]) -> Self {
        let column = |marked: &&'static str| {
            let title = marked.trim_start_matches(['<', '>']);
            Column { title, right: marked.starts_with('>'), width: title.len() }
        };
        Table { columns: titles.iter().map(column).collect(), held: Vec::new(), titled: false }
    }

    pub(crate) fn row<const N: usize>(&mut self, out: &mut Out, cells: [String; N]) -> Outcome {
        for (column, cell) in self.columns.iter_mut().zip(&cells) {
            // A format takes no greater width.
            column.width = column.width.max(cell.chars().count().min(usize::from(u16::MAX)));
        }
        self.held.push(cells.into());
        if self.held.len() < HELD { Ok(()) } else { self.end(out) }
    }

    /// Prints what is held back.
    pub(crate) fn end(&mut self, out: &mut Out) -> Outcome {
        if !self.titled && !self.held.is_empty() {
            self.titled = true;
            let titles: Vec<_> = self.columns.iter().map(|column| column.title.to_string()).collect();
            self.held.insert(0, titles);
        }
        for row in std::mem::take(&mut self.held) {
            let mut line = String::new();
            for (column, cell) in self.columns.iter().zip(&row) {
                let width = column.width;
                let cell = if column.right { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
                line.push_str(if line.is_empty() { "" } else { "  " });
                line.push_str(&cell);
            }
            out.line(line.trim_end())?;
        }
        Ok(())
    }
}
